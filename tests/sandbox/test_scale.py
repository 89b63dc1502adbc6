"""Ten thousand builds at the same time."""

from __future__ import annotations

import threading
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from tests.sandbox.clients import until

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox import Sandbox

MANY = 10_000

MAX_GROWTH = 30
"""Limit of the cost of ten times as many builds; with quadratic cost it would be a hundred."""


def queue(sandbox: Sandbox, count: int) -> list[str]:
    """Queue builds that stay pending, each of a different branch."""
    sandbox.plan(times=count, outcome="stays_pending")
    setting = sandbox.settings("MyGame")[0]["id"]
    return [sandbox.push(setting, branch=f"{count}-{number}") for number in range(count)]


def follow(sandbox: Sandbox, make_client: Any, count: int) -> tuple[float, ...]:
    """Follow builds over one connection, and return the processor time of each step."""
    builds = queue(sandbox, count)
    client = make_client(sandbox).connect()
    received = {"build:status": 0, "build:log": 0}

    def count_event(event: str, _data: Any) -> None:
        received[event] += 1

    for event in received:
        client.sio.on(event, lambda data, event=event: count_event(event, data))
    times = [time.process_time()]
    for build in builds:
        client.sio.emit("join:build", {"buildId": build})
    until(lambda: sandbox.joined(builds[-1]), 60)
    times.append(time.process_time())
    for build in builds:
        sandbox.set_status(build, "running")
    until(lambda: received["build:status"] == count, 60)
    times.append(time.process_time())
    for build in builds:
        sandbox.log(build, "line")
    until(lambda: received["build:log"] == count, 60)
    times.append(time.process_time())
    return tuple(later - earlier for earlier, later in pairwise(times))


def test_ten_thousand_builds(
    sandbox: Sandbox, make_client: Any, record_testsuite_property: Any
) -> None:
    """The cost to join, change and log a build does not grow with the number of builds."""
    few = follow(sandbox, make_client, MANY // 10)
    many = follow(sandbox, make_client, MANY)
    for step, seconds in zip(("join", "statuses", "lines"), many, strict=True):
        record_testsuite_property(f"processor seconds for {step}", seconds)
    assert sum(many) < MAX_GROWTH * sum(few)


def run_build(sandbox: Sandbox, lines: int) -> float:
    """Run a build of two seconds with so many log lines, and return the processor time."""
    sandbox.plan(queue=0, run=2, lines=lines)
    build = sandbox.world.builds[sandbox.push(sandbox.settings("MyGame")[0]["id"])]
    started = time.process_time()
    sandbox.advance(3)
    assert build.finished_at == pytest.approx(build.created_at + 2, abs=1e-3)
    assert build.logs[-1].message == "BUILD SUCCESSFUL"
    return time.process_time() - started


def test_many_planned_lines(sandbox: Sandbox) -> None:
    """A build can write twenty thousand lines in two seconds, and still ends on time."""
    few = run_build(sandbox, 2_000)
    assert run_build(sandbox, 20_000) < MAX_GROWTH * few


def test_no_thread_or_timer_per_build(sandbox: Sandbox) -> None:
    """Pending builds need neither a thread nor an entry in the schedule."""
    threads = set(threading.enumerate())
    queue(sandbox, 1000)
    assert set(threading.enumerate()) <= threads
    assert sandbox.world.schedule.next_due is None


def test_pages_of_many(sandbox: Sandbox, api: Any, record_testsuite_property: Any) -> None:
    """All pages of ten thousand builds can be read."""
    queue(sandbox, MANY)
    page = api.get("/builds", limit=100)
    started = time.monotonic()
    pages = 1
    while page["nextCursor"]:
        page = api.get("/builds", limit=100, cursor=page["nextCursor"])
        pages += 1
    record_testsuite_property("seconds for all pages", time.monotonic() - started)
    assert pages == MANY // 100
