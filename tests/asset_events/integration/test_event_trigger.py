"""The watcher's trigger against the sandbox, with a store like Airflow's in place of its tables."""

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

QUICK = 0.05
SOON = 60.0
"""Seconds: nobody waits so long but on a machine that is very busy."""


class Store:
    """One asset's state store: what is set survives the triggerer."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    async def aget(self, key: str, default: Any = None) -> Any:
        """Return a value."""
        return json.loads(self.values[key]) if key in self.values else default

    async def aset(self, key: str, value: Any) -> None:
        """Store a value as JSON."""
        self.values[key] = json.dumps(value)


class Stores:
    """The stores of the assets that a trigger serves, kept as Airflow keeps them."""

    def __init__(self, *stores: Store) -> None:
        self._by_name = {f"asset-{n}": store for n, store in enumerate(stores)}
        self._by_uri: dict[str, Store] = {}


class Watcher:
    """A running trigger; what it fires is heard until it is stopped."""

    def __init__(self, *stores: Store, **kwargs: Any) -> None:
        self.trigger = events.BuildPixelBuildEventTrigger(poll_interval=QUICK, **kwargs)
        self.trigger.handover = 0.0  # there is no table into which an event must get first
        self.trigger.asset_state_store = Stores(*stores) if stores else None
        self.heard: list[dict[str, Any]] = []
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
                    self.heard.append(event.payload)
                    self._changed.notify_all()

    @property
    def ids(self) -> list[str]:
        """The builds that it told of."""
        return [told["build_id"] for told in self.heard]

    async def hears(self, count: int) -> list[str]:
        """Wait until it has told of so many builds."""
        async with asyncio.timeout(SOON), self._changed:
            await self._changed.wait_for(lambda: len(self.heard) >= count)
        return self.ids

    async def begun(self) -> None:
        """Wait until it has begun from now, and that is saved where there is a store."""
        async with asyncio.timeout(SOON):
            while self.trigger._saved is None:  # nothing tells of it
                await asyncio.sleep(0.01)

    async def looks(self, sandbox: Sandbox, count: int = 2) -> None:
        """Wait until it has looked so many times more."""
        before = len(sandbox.requests_to("GET /builds"))
        async with asyncio.timeout(SOON):
            while len(sandbox.requests_to("GET /builds")) < before + count:  # another thread's list
                await asyncio.sleep(0.01)


@pytest.fixture(params=["newest", "oldest", "random", "ended-first"])
def order(request: pytest.FixtureRequest) -> str:
    """Each order in which the list may come."""
    return str(request.param)


def _sandbox(monkeypatch: pytest.MonkeyPatch, **variants: Any) -> Sandbox:
    sandbox = Sandbox(default=Plan(outcome="stays_pending"), variants=Variants(**variants))
    sandbox.start()
    monkeypatch.setenv("AIRFLOW_CONN_BUILDPIXEL_DEFAULT", sandbox.connection_uri)
    return sandbox


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A sandbox in which builds end when they are told to."""
    running = _sandbox(monkeypatch)
    yield running
    running.stop()


def _push(sandbox: Sandbox, status: str | None = None, number: int = 0) -> str:
    setting = sandbox.settings("MyGame")[number]
    build_id = sandbox.push(setting["id"], branch=f"line-{len(sandbox.builds())}")
    if status is not None:
        sandbox.set_status(build_id, status)
    return build_id


async def test_every_build_is_told_once(monkeypatch: pytest.MonkeyPatch, order: str) -> None:
    """From now on each build is told once, in whatever order the list is and builds end."""
    sandbox = _sandbox(monkeypatch, builds_order=order)
    _push(sandbox, "complete")
    early = _push(sandbox)
    async with Watcher() as watcher:
        await watcher.begun()
        short = _push(sandbox, "complete")
        assert await watcher.hears(1) == [short]
        sandbox.set_status(early, "complete")
        assert await watcher.hears(2) == [short, early]
        await watcher.looks(sandbox, 3)
        assert watcher.ids == [short, early]
        assert watcher.heard[0]["type"] == "build.complete"
    sandbox.stop()


async def test_brief_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list without the fields that decide is completed by reading the builds."""
    sandbox = _sandbox(monkeypatch, list_items="brief")
    async with Watcher(project="MyGame", branch="line-1") as watcher:
        await watcher.begun()
        _push(sandbox, "complete")
        wanted = _push(sandbox, "complete")
        assert await watcher.hears(1) == [wanted]
    sandbox.stop()


async def test_what_ended_meanwhile_is_told_afterwards(sandbox: Sandbox) -> None:
    """Over restarts nothing is missed or doubled, however the builds stood when it went down."""
    store, one = Store(), _push(sandbox)
    async with Watcher(store) as watcher:
        await watcher.begun()
        told = _push(sandbox, "complete")
        await watcher.hears(1)
        await watcher.looks(sandbox)
    sandbox.set_status(one, "complete")
    two = _push(sandbox, "complete")
    async with Watcher(store) as watcher:
        assert sorted(await watcher.hears(2)) == sorted([one, two])
        await watcher.looks(sandbox, 3)
        assert told not in watcher.ids
    async with Watcher(store) as watcher:
        await watcher.looks(sandbox, 5)
        assert watcher.ids == []


async def test_long_absence(sandbox: Sandbox) -> None:
    """After an absence with hundreds of builds all are told, up to the limit only the newest."""
    generous, frugal = Store(), Store()
    for store, limit in [(generous, 500), (frugal, 30)]:
        async with Watcher(store, catch_up=limit) as watcher:
            await watcher.begun()
    pushed = [_push(sandbox, "complete") for _ in range(230)]
    async with Watcher(generous) as watcher:
        assert await watcher.hears(230) == pushed
    async with Watcher(frugal, catch_up=30) as watcher:
        assert await watcher.hears(30) == pushed[-30:]


async def test_selection(sandbox: Sandbox) -> None:
    """Project, setting, branch and statuses choose; names and selectors are resolved."""
    win64 = {"platform": "Win64", "buildType": "Shipping"}
    chosen = {"project": "MyGame", "build_setting": win64, "statuses": ["failed", "superseded"]}
    settings = sandbox.settings("MyGame")
    number = next(n for n, one in enumerate(settings) if win64.items() <= one.items())
    async with Watcher(**chosen) as watcher:
        await watcher.begun()
        _push(sandbox, "complete", number)
        _push(sandbox, "failed", number + 1)
        wanted = _push(sandbox, "failed", number)
        assert await watcher.hears(1) == [wanted]
        await watcher.looks(sandbox)
        assert watcher.ids == [wanted]


@pytest.mark.parametrize("fault", ["500", "429", "html-200", "truncated-json", "reset"])
async def test_trouble(sandbox: Sandbox, fault: str) -> None:
    """Trouble ends nothing: what ended meanwhile is told when it is over."""
    params = {"retry_after": 1} if fault == "429" else {}
    async with Watcher(Store()) as watcher:
        await watcher.begun()
        sandbox.fault(fault, route="*", times=3, **params)
        wanted = _push(sandbox, "complete")
        assert await watcher.hears(1) == [wanted]


async def test_stale_lists(sandbox: Sandbox) -> None:
    """Lists that lag behind delay what is told, and lose or double nothing."""
    async with Watcher(Store()) as watcher:
        await watcher.begun()
        sandbox.fault("stale", route="GET /builds", lag=0.7)
        pushed = {_push(sandbox, "complete") for _ in range(5)}
        assert set(await watcher.hears(5)) == pushed
        await watcher.looks(sandbox, 3)
        assert len(watcher.ids) == 5


async def test_copies_of_the_cursor(sandbox: Sandbox) -> None:
    """With several assets the newest copy counts: one that a crash left behind doubles nothing."""
    first, second = Store(), Store()
    async with Watcher(first, second) as watcher:
        await watcher.begun()
        behind = dict(second.values)
        _push(sandbox, "complete")
        await watcher.hears(1)
        await watcher.looks(sandbox)
    second.values = behind
    async with Watcher(second, first) as watcher:
        await watcher.looks(sandbox, 5)
        assert watcher.ids == []


async def test_deleted_build(sandbox: Sandbox) -> None:
    """A build that is gone is not asked for again and again."""
    gone = _push(sandbox)
    store = Store()
    async with Watcher(store) as watcher:
        await watcher.begun()
    del sandbox.world.builds[gone]
    sandbox.world.build_ids.remove(gone)
    async with Watcher(store) as watcher:
        await watcher.looks(sandbox, events.ABSENCES + 5)
    asked = [one for one in sandbox.requests_to("GET /builds/:id") if gone in one.path]
    assert len(asked) <= events.ABSENCES


@pytest.mark.parametrize("seen", ["under way", "ended"])
async def test_build_that_is_not_there_for_a_while(sandbox: Sandbox, seen: str) -> None:
    """A build that a list has shown and that answers 404 for a while is told all the same."""
    async with Watcher(Store()) as watcher:
        await watcher.looks(sandbox, 5)
        wanted = _push(sandbox)
        if seen == "under way":
            await watcher.looks(sandbox, 2)
        absence = sandbox.fault("404", "GET /builds/:id", times=events.ABSENCES - 1)
        sandbox.set_status(wanted, "complete")
        assert await watcher.hears(1) == [wanted]
        assert absence.hits == events.ABSENCES - 1


async def test_new_token(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that is replaced in the connection takes over without a restart."""
    async with Watcher(Store()) as watcher:
        await watcher.begun()
        uri = sandbox.connection_uri.replace(sandbox.token, sandbox.issue_token())
        sandbox.revoke(sandbox.token)
        monkeypatch.setenv("AIRFLOW_CONN_BUILDPIXEL_DEFAULT", uri)
        wanted = _push(sandbox, "complete")
        assert await watcher.hears(1) == [wanted]


async def test_cancelled_while_it_works(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A watcher that is cancelled at its work has closed its connections when it has ended."""
    working, closed, close = asyncio.Event(), [], events._Poll.close

    async def endless(_: Any) -> None:
        working.set()
        await asyncio.Event().wait()

    async def noted(poll: Any) -> None:
        await close(poll)
        closed.append(poll)

    monkeypatch.setattr(events.BuildPixelBuildEventTrigger, "_resolve", endless)
    monkeypatch.setattr(events._Poll, "close", noted)
    async with Watcher(), asyncio.timeout(SOON):
        await working.wait()
    assert len(closed) == 1


def test_one_poll_for_all_watchers_of_a_connection() -> None:
    """Watchers of one connection have one key, whatever they watch; others have another."""
    make = events.BuildPixelBuildEventTrigger
    assert make(project="a").shared_stream_key() == make(branch="b").shared_stream_key()
    assert make().shared_stream_key() != make(buildpixel_conn_id="other").shared_stream_key()


async def test_shared_poll(sandbox: Sandbox) -> None:
    """Airflow's own shared stream serves ten watchers with the requests of one."""
    shared = pytest.importorskip("airflow.triggers.shared_stream")
    manager = shared.SharedStreamManager(log=events.log)
    watchers = [Watcher(Store(), branch=f"line-{n}") for n in range(10)]
    key = watchers[0].trigger.shared_stream_key()
    heard: list[str] = []

    async def consume(number: int, trigger: Any) -> None:
        stream = manager.subscribe(trigger_id=number, trigger=trigger, key=key)
        async with aclosing(trigger.filter_shared_stream(stream)) as told:
            async for event in told:
                heard.extend([event.payload["build_id"]])

    tasks = [asyncio.create_task(consume(n, w.trigger)) for n, w in enumerate(watchers)]
    for watcher in watchers:
        await watcher.begun()
    before, started = len(sandbox.requests), time.monotonic()
    pushed = [_push(sandbox, "complete") for _ in range(10)]
    async with asyncio.timeout(SOON):
        while len(heard) < 10:  # what ten tasks hear
            await asyncio.sleep(0.01)
    assert sorted(heard) == sorted(pushed)
    lists = [one for one in sandbox.requests[before:] if one.route == "GET /builds"]
    details = [one for one in sandbox.requests[before:] if one.route == "GET /builds/:id"]
    assert len(details) == 10
    assert len(lists) <= 2 + (time.monotonic() - started) / (0.9 * QUICK)
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
    """What is stored is plain JSON without defaults, and makes the same trigger again."""
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
def test_mistakes_are_refused_while_the_dag_parses(kwargs: dict[str, Any]) -> None:
    """A Dag author who asks for what cannot be is told at once."""
    with pytest.raises(ValueError, match=r"statuses|project"):
        events.BuildPixelBuildEventTrigger(**kwargs)
