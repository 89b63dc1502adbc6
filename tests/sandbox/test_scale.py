"""Ten thousand builds at a time."""

from __future__ import annotations

import threading
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox import Sandbox

MANY = 10_000


LINEAR = 30
"""How much more ten times as many may cost: what costs its square takes a hundred."""


def queue(sandbox: Sandbox, count: int) -> list[str]:
    """Queue many builds that wait for ever, each of a branch of its own."""
    sandbox.plan(times=count, outcome="stays_pending")
    setting = sandbox.settings("MyGame")[0]["id"]
    return [sandbox.push(setting, branch=f"{count}-{number}") for number in range(count)]


def followed(sandbox: Sandbox, make_ear: Any, until: Any, count: int) -> tuple[float, ...]:
    """Follow many builds over one connection; give the processor time of each step of it."""
    builds = queue(sandbox, count)
    ear = make_ear(sandbox).connect()
    heard = {"build:status": 0, "build:log": 0}

    def note(event: str, _data: Any) -> None:
        heard[event] += 1

    for event in heard:
        ear.client.on(event, lambda data, event=event: note(event, data))
    times = [time.process_time()]
    for build in builds:
        ear.client.emit("join:build", {"buildId": build})
    until(lambda: sandbox.joined(builds[-1]), 60)
    times.append(time.process_time())
    for build in builds:
        sandbox.set_status(build, "running")
    until(lambda: heard["build:status"] == count, 60)
    times.append(time.process_time())
    for build in builds:
        sandbox.log(build, "line")
    until(lambda: heard["build:log"] == count, 60)
    times.append(time.process_time())
    return tuple(later - earlier for earlier, later in pairwise(times))


def test_ten_thousand_builds(
    sandbox: Sandbox, make_ear: Any, until: Any, record_testsuite_property: Any
) -> None:
    """Ten thousand builds over one connection, joined, changed and logged, cost each as little."""
    few = followed(sandbox, make_ear, until, MANY // 10)
    many = followed(sandbox, make_ear, until, MANY)
    for step, seconds in zip(("join", "statuses", "lines"), many, strict=True):
        record_testsuite_property(f"processor seconds for {step}", seconds)
    assert sum(many) < LINEAR * sum(few)


def written(sandbox: Sandbox, lines: int) -> float:
    """Let a build write its lines in two seconds; give the processor time that it takes."""
    sandbox.plan(queue=0, run=2, lines=lines)
    build = sandbox.world.builds[sandbox.push(sandbox.settings("MyGame")[0]["id"])]
    began = time.process_time()
    sandbox.advance(3)
    assert build.finished_at == pytest.approx(build.created_at + 2, abs=1e-3)
    assert build.logs[-1].message == "BUILD SUCCESSFUL"
    return time.process_time() - began


def test_many_planned_lines(sandbox: Sandbox) -> None:
    """A build may write twenty thousand lines in two seconds, and ends when it should."""
    few = written(sandbox, 2_000)
    assert written(sandbox, 20_000) < LINEAR * few


def test_no_thread_or_timer_each(sandbox: Sandbox) -> None:
    """Builds that wait cost neither a thread nor an entry on the agenda."""
    threads = set(threading.enumerate())
    queue(sandbox, 1000)
    assert set(threading.enumerate()) <= threads
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
