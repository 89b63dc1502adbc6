"""Ten thousand builds at a time."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox import Sandbox

MANY = 10_000


def queue(sandbox: Sandbox, count: int) -> list[str]:
    """Queue many builds that wait for ever, each of a branch of its own."""
    sandbox.plan(times=count, outcome="stays_pending")
    setting = sandbox.settings("MyGame")[0]["id"]
    return [sandbox.push(setting, branch=f"b{number}") for number in range(count)]


def test_ten_thousand_builds(
    sandbox: Sandbox, make_ear: Any, until: Any, record_testsuite_property: Any
) -> None:
    """Ten thousand builds over one connection, all joined, changed and logged, in seconds."""
    builds = queue(sandbox, MANY)
    ear = make_ear(sandbox).connect()
    heard = {"build:status": 0, "build:log": 0}

    def count(event: str, _data: Any) -> None:
        heard[event] += 1

    # On the thread that reads: the library would start a thread for each event.
    ear.client.eio._trigger_event = _inline(ear.client.eio)
    for event in heard:
        ear.client.on(event, lambda data, event=event: count(event, data))
    started = time.monotonic()
    for build in builds:
        ear.client.emit("join:build", {"buildId": build})
    until(lambda: sandbox.joined(builds[-1]), 30)
    joined = time.monotonic()
    for build in builds:
        sandbox.set_status(build, "running")
    until(lambda: heard["build:status"] == MANY, 30)
    changed = time.monotonic()
    for build in builds:
        sandbox.log(build, "line")
    until(lambda: heard["build:log"] == MANY, 30)
    logged = time.monotonic()
    record_testsuite_property("seconds to join", joined - started)
    record_testsuite_property("seconds for statuses", changed - joined)
    record_testsuite_property("seconds for lines", logged - changed)
    assert logged - started < 30


def test_many_planned_lines(sandbox: Sandbox, until: Any) -> None:
    """A build may write twenty thousand lines in two seconds, and ends when it should."""
    sandbox.plan(queue=0, run=2, lines=20_000)
    build = sandbox.push(sandbox.settings("MyGame")[0]["id"])
    until(lambda: sandbox.world.builds[build].finished_at)
    late = sandbox.world.clock.now() - (sandbox.world.builds[build].finished_at or 0)
    assert late < 0.5


def test_no_thread_or_timer_each(sandbox: Sandbox) -> None:
    """Builds that wait cost neither a thread nor an entry on the agenda."""
    threads = threading.active_count()
    queue(sandbox, 1000)
    assert threading.active_count() == threads
    assert sandbox.world.agenda.next_due is None


def test_pages_of_many(sandbox: Sandbox, api: Any, record_testsuite_property: Any) -> None:
    """A page near the end of ten thousand builds comes as fast as the first."""
    queue(sandbox, MANY)
    page = api.get("/builds", limit=100)
    started = time.monotonic()
    pages = 1
    while page["nextCursor"]:
        page = api.get("/builds", limit=100, cursor=page["nextCursor"])
        pages += 1
    record_testsuite_property("seconds for all pages", time.monotonic() - started)
    assert pages == MANY // 100


def _inline(engine: Any) -> Any:
    trigger = type(engine)._trigger_event

    def inline(event: str, *args: Any, **_: Any) -> Any:
        return trigger(engine, event, *args, run_async=False)

    return inline
