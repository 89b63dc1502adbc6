"""The watcher's trigger with the sandbox: downtimes, faults, and the shared poll."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from tests.asset_events.integration.watching import (
    POLL_INTERVAL,
    TIMEOUT,
    Store,
    Watcher,
    events,
    push,
    started,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_buildpixel.sandbox import Sandbox

SharedPoll = pytest.importorskip("airflow_provider_buildpixel.triggers.shared_poll").SharedPoll


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A sandbox in which builds end when the test sets their status."""
    with started(monkeypatch) as sandbox:
        yield sandbox


async def test_builds_that_end_during_a_downtime(sandbox: Sandbox) -> None:
    """Over restarts no build is missed or reported twice, whatever its status was at the stop."""
    store, live = Store(), push(sandbox)
    async with Watcher(store) as watcher:
        await watcher.wait_for_start()
        reported = push(sandbox, "complete")
        await watcher.wait_for(1)
        await watcher.wait_for_polls(sandbox)
    sandbox.set_status(live, "complete")
    newer = push(sandbox, "complete")
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
    pushed = [push(sandbox, "complete") for _ in range(230)]
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
        push(sandbox, "complete", number)
        push(sandbox, "failed", number + 1)
        wanted = push(sandbox, "failed", number)
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
        wanted = push(sandbox, "complete")
        assert await watcher.wait_for(1) == [wanted]


async def test_stale_lists(sandbox: Sandbox) -> None:
    """Stale lists delay reports, but no build is missed or reported twice."""
    async with Watcher(Store()) as watcher:
        await watcher.wait_for_start()
        sandbox.fault("stale", route="GET /builds", lag=0.7)
        pushed = {push(sandbox, "complete") for _ in range(5)}
        assert set(await watcher.wait_for(5)) == pushed
        await watcher.wait_for_polls(sandbox, 3)
        assert len(watcher.ids) == 5


async def test_copies_of_the_cursor(sandbox: Sandbox) -> None:
    """With several assets the newest stored cursor is used: an old copy causes no second report."""
    first, second = Store(), Store()
    async with Watcher(first, second) as watcher:
        await watcher.wait_for_start()
        outdated = dict(second.values)
        push(sandbox, "complete")
        await watcher.wait_for(1)
        await watcher.wait_for_polls(sandbox)
    second.values = outdated
    async with Watcher(second, first) as watcher:
        await watcher.wait_for_polls(sandbox, 5)
        assert watcher.ids == []


async def test_deleted_build(sandbox: Sandbox) -> None:
    """A deleted build is not read forever."""
    deleted = push(sandbox)
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
        wanted = push(sandbox)
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
        wanted = push(sandbox, "complete")
        assert await watcher.wait_for(1) == [wanted]


async def test_cancelled_while_working(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A watcher that is cancelled while working closes its connections before it ends."""
    working, closed, close = asyncio.Event(), [], SharedPoll.close

    async def endless(_: Any) -> None:
        working.set()
        await asyncio.Event().wait()

    async def recorded(poll: Any) -> None:
        await close(poll)
        closed.append(poll)

    monkeypatch.setattr(events.BuildPixelBuildEventTrigger, "_resolve", endless)
    monkeypatch.setattr(SharedPoll, "close", recorded)
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
    pushed = [push(sandbox, "complete") for _ in range(10)]
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
