"""The watcher's trigger with the sandbox, and a simulated state store."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Self

import pytest

from airflow_provider_buildpixel.sandbox import Plan, Sandbox, Variants

if TYPE_CHECKING:
    from collections.abc import Iterator

events = pytest.importorskip(
    "airflow_provider_buildpixel.triggers.events", reason="Airflow 2.11 has no asset watchers"
)

POLL_INTERVAL = 0.05
TIMEOUT = 60.0
"""Limit of each wait in seconds, long enough for a busy machine."""


class Store:
    """The state store of one asset; it outlives the trigger."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    async def aget(self, key: str, default: Any = None) -> Any:
        """Return a value."""
        return json.loads(self.values[key]) if key in self.values else default

    async def aset(self, key: str, value: Any) -> None:
        """Store a value as JSON."""
        self.values[key] = json.dumps(value)


class Stores:
    """The state stores of a trigger's assets, with the attributes of Airflow's accessor."""

    def __init__(self, *stores: Store) -> None:
        self._by_name = {f"asset-{n}": store for n, store in enumerate(stores)}
        self._by_uri: dict[str, Store] = {}


class Watcher:
    """A running trigger whose events are collected until it is stopped."""

    def __init__(self, *stores: Store, **kwargs: Any) -> None:
        self.trigger = events.BuildPixelBuildEventTrigger(poll_interval=POLL_INTERVAL, **kwargs)
        self.trigger.save_delay = 0.0  # there is no table in which an event must be stored first
        self.trigger.asset_state_store = Stores(*stores) if stores else None
        self.payloads: list[dict[str, Any]] = []
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        async with aclosing(self.trigger.run()) as stream:
            async for event in stream:
                async with self._changed:
                    self.payloads.append(event.payload)
                    self._changed.notify_all()

    @property
    def ids(self) -> list[str]:
        """The ids of the reported builds."""
        return [payload["build_id"] for payload in self.payloads]

    async def wait_for(self, count: int) -> list[str]:
        """Wait until it has reported this many builds; return their ids."""
        async with asyncio.timeout(TIMEOUT), self._changed:
            await self._changed.wait_for(lambda: len(self.payloads) >= count)
        return self.ids

    async def wait_for_start(self) -> None:
        """Wait until it has started, and its cursor is saved if there is a store."""
        async with asyncio.timeout(TIMEOUT):
            while self.trigger._saved is None:  # noqa: ASYNC110  # no event for it
                await asyncio.sleep(0.01)

    async def wait_for_polls(self, sandbox: Sandbox, count: int = 2) -> None:
        """Wait for this many further polls."""
        before = len(sandbox.requests_to("GET /builds"))
        async with asyncio.timeout(TIMEOUT):
            while len(sandbox.requests_to("GET /builds")) < before + count:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


@pytest.fixture(params=["newest", "oldest", "random", "ended-first"])
def order(request: pytest.FixtureRequest) -> str:
    """Each order that the list may have."""
    return str(request.param)


def _sandbox(monkeypatch: pytest.MonkeyPatch, **variants: Any) -> Sandbox:
    sandbox = Sandbox(default=Plan(outcome="stays_pending"), variants=Variants(**variants))
    sandbox.start()
    monkeypatch.setenv("AIRFLOW_CONN_BUILDPIXEL_DEFAULT", sandbox.connection_uri)
    return sandbox


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A sandbox in which builds end when the test sets their status."""
    running = _sandbox(monkeypatch)
    yield running
    running.stop()


def _push(sandbox: Sandbox, status: str | None = None, number: int = 0) -> str:
    setting = sandbox.settings("MyGame")[number]
    build_id = sandbox.push(setting["id"], branch=f"line-{len(sandbox.builds())}")
    if status is not None:
        sandbox.set_status(build_id, status)
    return build_id


async def test_every_build_is_reported_once(monkeypatch: pytest.MonkeyPatch, order: str) -> None:
    """Each build that ends is reported once, in any order of the list and of the ends."""
    sandbox = _sandbox(monkeypatch, builds_order=order)
    _push(sandbox, "complete")
    early = _push(sandbox)
    async with Watcher() as watcher:
        await watcher.wait_for_start()
        short = _push(sandbox, "complete")
        assert await watcher.wait_for(1) == [short]
        sandbox.set_status(early, "complete")
        assert await watcher.wait_for(2) == [short, early]
        await watcher.wait_for_polls(sandbox, 3)
        assert watcher.ids == [short, early]
        assert watcher.payloads[0]["type"] == "build.complete"
    sandbox.stop()


async def test_brief_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """If list items lack fields of the filter, the builds are read by id."""
    sandbox = _sandbox(monkeypatch, list_items="brief")
    async with Watcher(project="MyGame", branch="line-1") as watcher:
        await watcher.wait_for_start()
        _push(sandbox, "complete")
        wanted = _push(sandbox, "complete")
        assert await watcher.wait_for(1) == [wanted]
    sandbox.stop()


async def test_builds_that_end_during_a_downtime(sandbox: Sandbox) -> None:
    """Over restarts no build is missed or reported twice, whatever its status was at the stop."""
    store, live = Store(), _push(sandbox)
    async with Watcher(store) as watcher:
        await watcher.wait_for_start()
        reported = _push(sandbox, "complete")
        await watcher.wait_for(1)
        await watcher.wait_for_polls(sandbox)
    sandbox.set_status(live, "complete")
    newer = _push(sandbox, "complete")
    async with Watcher(store) as watcher:
        assert sorted(await watcher.wait_for(2)) == sorted([live, newer])
        await watcher.wait_for_polls(sandbox, 3)
        assert reported not in watcher.ids
    async with Watcher(store) as watcher:
        await watcher.wait_for_polls(sandbox, 5)
        assert watcher.ids == []


async def test_long_downtime(sandbox: Sandbox) -> None:
    """After a downtime with hundreds of builds all are reported, or the newest up to the limit."""
    all_builds, newest = Store(), Store()
    for store, limit in [(all_builds, 500), (newest, 30)]:
        async with Watcher(store, catch_up=limit) as watcher:
            await watcher.wait_for_start()
    pushed = [_push(sandbox, "complete") for _ in range(230)]
    async with Watcher(all_builds) as watcher:
        assert await watcher.wait_for(230) == pushed
    async with Watcher(newest, catch_up=30) as watcher:
        assert await watcher.wait_for(30) == pushed[-30:]


async def test_selection(sandbox: Sandbox) -> None:
    """Project, build setting and statuses select builds; names and mappings are resolved."""
    win64 = {"platform": "Win64", "buildType": "Shipping"}
    chosen = {"project": "MyGame", "build_setting": win64, "statuses": ["failed", "superseded"]}
    settings = sandbox.settings("MyGame")
    number = next(n for n, one in enumerate(settings) if win64.items() <= one.items())
    async with Watcher(**chosen) as watcher:
        await watcher.wait_for_start()
        _push(sandbox, "complete", number)
        _push(sandbox, "failed", number + 1)
        wanted = _push(sandbox, "failed", number)
        assert await watcher.wait_for(1) == [wanted]
        await watcher.wait_for_polls(sandbox)
        assert watcher.ids == [wanted]


@pytest.mark.parametrize("fault", ["500", "429", "html-200", "truncated-json", "reset"])
async def test_faults(sandbox: Sandbox, fault: str) -> None:
    """The watcher survives faults and then reports the builds that have ended."""
    params = {"retry_after": 1} if fault == "429" else {}
    async with Watcher(Store()) as watcher:
        await watcher.wait_for_start()
        sandbox.fault(fault, route="*", times=3, **params)
        wanted = _push(sandbox, "complete")
        assert await watcher.wait_for(1) == [wanted]


async def test_stale_lists(sandbox: Sandbox) -> None:
    """Stale lists delay reports, but no build is missed or reported twice."""
    async with Watcher(Store()) as watcher:
        await watcher.wait_for_start()
        sandbox.fault("stale", route="GET /builds", lag=0.7)
        pushed = {_push(sandbox, "complete") for _ in range(5)}
        assert set(await watcher.wait_for(5)) == pushed
        await watcher.wait_for_polls(sandbox, 3)
        assert len(watcher.ids) == 5


async def test_copies_of_the_cursor(sandbox: Sandbox) -> None:
    """With several assets the newest stored cursor is used: an old copy causes no second report."""
    first, second = Store(), Store()
    async with Watcher(first, second) as watcher:
        await watcher.wait_for_start()
        outdated = dict(second.values)
        _push(sandbox, "complete")
        await watcher.wait_for(1)
        await watcher.wait_for_polls(sandbox)
    second.values = outdated
    async with Watcher(second, first) as watcher:
        await watcher.wait_for_polls(sandbox, 5)
        assert watcher.ids == []


async def test_deleted_build(sandbox: Sandbox) -> None:
    """A deleted build is not read forever."""
    deleted = _push(sandbox)
    store = Store()
    async with Watcher(store) as watcher:
        await watcher.wait_for_start()
    del sandbox.world.builds[deleted]
    sandbox.world.build_ids.remove(deleted)
    async with Watcher(store) as watcher:
        await watcher.wait_for_polls(sandbox, events.MAX_NOT_FOUND + 5)
    reads = [one for one in sandbox.requests_to("GET /builds/:id") if deleted in one.path]
    assert len(reads) <= events.MAX_NOT_FOUND


@pytest.mark.parametrize("seen", ["live", "ended"])
async def test_build_not_found_for_a_while(sandbox: Sandbox, seen: str) -> None:
    """A build that answers 404 for a while, after a list contained it, is reported."""
    async with Watcher(Store()) as watcher:
        await watcher.wait_for_polls(sandbox, 5)
        wanted = _push(sandbox)
        if seen == "live":
            await watcher.wait_for_polls(sandbox, 2)
        not_found = sandbox.fault("404", "GET /builds/:id", times=events.MAX_NOT_FOUND - 1)
        sandbox.set_status(wanted, "complete")
        assert await watcher.wait_for(1) == [wanted]
        assert not_found.hits == events.MAX_NOT_FOUND - 1


async def test_new_token(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that is replaced in the connection is used without a restart."""
    async with Watcher(Store()) as watcher:
        await watcher.wait_for_start()
        uri = sandbox.connection_uri.replace(sandbox.token, sandbox.issue_token())
        sandbox.revoke(sandbox.token)
        monkeypatch.setenv("AIRFLOW_CONN_BUILDPIXEL_DEFAULT", uri)
        wanted = _push(sandbox, "complete")
        assert await watcher.wait_for(1) == [wanted]


async def test_cancelled_while_working(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A watcher that is cancelled while working closes its connections before it ends."""
    working, closed, close = asyncio.Event(), [], events._SharedPoll.close

    async def endless(_: Any) -> None:
        working.set()
        await asyncio.Event().wait()

    async def recorded(poll: Any) -> None:
        await close(poll)
        closed.append(poll)

    monkeypatch.setattr(events.BuildPixelBuildEventTrigger, "_resolve", endless)
    monkeypatch.setattr(events._SharedPoll, "close", recorded)
    async with Watcher(), asyncio.timeout(TIMEOUT):
        await working.wait()
    assert len(closed) == 1


def test_one_poll_for_all_watchers_of_a_connection() -> None:
    """Watchers of one connection share a key, whatever their filter; other connections do not."""
    trigger = events.BuildPixelBuildEventTrigger
    assert trigger(project="a").shared_stream_key() == trigger(branch="b").shared_stream_key()
    assert trigger().shared_stream_key() != trigger(buildpixel_conn_id="other").shared_stream_key()


async def test_shared_poll(sandbox: Sandbox) -> None:
    """With Airflow's shared stream, ten watchers cause the requests of one."""
    shared = pytest.importorskip("airflow.triggers.shared_stream")
    manager = shared.SharedStreamManager(log=events.log)
    watchers = [Watcher(Store(), branch=f"line-{n}") for n in range(10)]
    key = watchers[0].trigger.shared_stream_key()
    reported: list[str] = []

    async def consume(number: int, trigger: Any) -> None:
        stream = manager.subscribe(trigger_id=number, trigger=trigger, key=key)
        async with aclosing(trigger.filter_shared_stream(stream)) as filtered:
            async for event in filtered:
                reported.append(event.payload["build_id"])  # noqa: PERF401  # read while it grows

    tasks = [asyncio.create_task(consume(n, w.trigger)) for n, w in enumerate(watchers)]
    for watcher in watchers:
        await watcher.wait_for_start()
    before, started = len(sandbox.requests), time.monotonic()
    pushed = [_push(sandbox, "complete") for _ in range(10)]
    async with asyncio.timeout(TIMEOUT):
        while len(reported) < 10:  # noqa: ASYNC110  # filled by ten tasks
            await asyncio.sleep(0.01)
    assert sorted(reported) == sorted(pushed)
    lists = [one for one in sandbox.requests[before:] if one.route == "GET /builds"]
    details = [one for one in sandbox.requests[before:] if one.route == "GET /builds/:id"]
    assert len(details) == 10
    assert len(lists) <= 2 + (time.monotonic() - started) / (0.9 * POLL_INTERVAL)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await manager.stop_all()


@pytest.mark.parametrize(
    ("kwargs", "stored"),
    [
        ({}, {"buildpixel_conn_id": "buildpixel_default"}),
        (
            {"project": "p", "statuses": ("failed",), "buildpixel_conn_id": "c"},
            {"buildpixel_conn_id": "c", "project": "p", "statuses": ["failed"]},
        ),
    ],
)
def test_stored_kwargs(kwargs: dict[str, Any], stored: dict[str, Any]) -> None:
    """Stored arguments are plain JSON without defaults and restore the same trigger."""
    path, found = events.BuildPixelBuildEventTrigger(**kwargs).serialize()
    assert path == "airflow_provider_buildpixel.triggers.events.BuildPixelBuildEventTrigger"
    assert found == stored == json.loads(json.dumps(found))
    assert events.BuildPixelBuildEventTrigger(**found).serialize() == (path, found)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"statuses": ["running"]},
        {"statuses": []},
        {"statuses": "complete"},
        {"build_setting": {"platform": "Win64"}},
    ],
)
def test_invalid_arguments(kwargs: dict[str, Any]) -> None:
    """Invalid arguments raise an error while the Dag is parsed."""
    with pytest.raises(ValueError, match=r"statuses|project"):
        events.BuildPixelBuildEventTrigger(**kwargs)
