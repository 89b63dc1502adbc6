"""Kills what the cases of one victim say, and watches how they end."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import psutil

from tests.e2e.stage import Play
from tests.e2e.steps import API_SERVER, BUILDPIXEL, TRIGGERER, WORKER, Yielded

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.stage import Stage
    from tests.e2e.steps import Case

PATIENCE = 480.0
PAUSE = 0.2
MOVING = 4
"""Tasks that are on their way to their step at the same time: two cores start no more."""

OUTAGE = 5.0
NOTICED = 0.5
HELD_BACK = 11.5
"""Seconds from a deferral after which a trigger no longer holds its event back."""


def play(stage: Stage, victim: str, cases: dict[int, Case]) -> dict[int, Play]:
    """Play all cases of one victim at once, and give them as they ended, or did not in time."""
    plays = [Play(stage, case, number) for number, case in cases.items()]
    KILL[victim](stage, plays)
    _until(lambda: _all_over(stage, plays))
    return {each.number: each for each in plays}


def _all_over(stage: Stage, plays: list[Play]) -> bool:
    stage.revive()
    tasks = stage.glance()
    return sum(each.over(tasks) for each in plays) == len(plays)  # all() would stop at the first


def _all_there(plays: list[Play]) -> bool:
    """Start what may start, push everything on, and tell whether all are at their step."""
    moving = 0
    for each in plays:
        if not each.there and (each.started or moving < MOVING):
            if not each.started:
                each.start()
            each.there = each.arrived()
            moving += not each.there
    return all(each.there for each in plays)


def _until(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait for a condition; what did not come true shows in the cases."""
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(PAUSE)


def _kill_workers(stage: Stage, plays: list[Play]) -> None:
    """Kill each worker as soon as its task is at its step."""

    def all_killed() -> bool:
        _all_there(plays)
        for each in plays:
            if each.killed_at is None and each.there:
                _kill_worker(stage, each)
                each.release(cut=True)
        _all_over(stage, plays)
        return all(each.killed_at for each in plays)

    _until(all_killed)


def _kill_worker(stage: Stage, play: Play) -> None:
    """Kill the task's process and, before it can tell, the one that supervises it."""
    process = psutil.Process(stage.turnstile.worker(f"topic-{play.number}").pid)
    supervisor = process.parent()
    scheduler = stage.airflow.components["scheduler"].pid
    assert supervisor is not None
    assert scheduler in {parent.pid for parent in supervisor.parents()}
    supervisor.kill()
    process.kill()
    time.sleep(NOTICED)  # else what is held goes on, as if it had been sent just in time


def _gather(stage: Stage, plays: list[Play]) -> None:
    """Wait until every task is at its step; then stop events, if there are such cases."""
    _until(lambda: _all_there(plays))
    yielding = [each for each in plays if isinstance(each.case.step.at, Yielded)]
    if yielding:
        _stop_events(stage, yielding)


def _stop_events(stage: Stage, plays: list[Play]) -> None:
    """Let triggers send their events while the triggerer's supervisor takes none."""
    pid = stage.airflow.components["triggerer"].pid
    assert pid is not None
    _until(lambda: all(time.monotonic() > (each.waiting_since or 0) + HELD_BACK for each in plays))
    os.kill(pid, signal.SIGSTOP)
    seen = len(stage.sandbox.requests)
    for each in plays:
        each.end_build()
    paths = {f"/builds/{each.build_id}" for each in plays}
    _until(lambda: paths <= {one.path for one in stage.sandbox.requests[seen:] if one.status}, 10.0)
    time.sleep(1.0)  # from the answer to the event; it is computed, not waited for


def _kill_triggerer(stage: Stage, plays: list[Play]) -> None:
    _gather(stage, plays)
    stage.airflow.components["triggerer"].kill()
    _release(plays)
    stage.airflow.components["triggerer"].start()


def _kill_api_server(stage: Stage, plays: list[Play]) -> None:
    _gather(stage, plays)
    stage.airflow.components["api-server"].kill()
    _release(plays, cut=True)
    stage.airflow.components["api-server"].start()
    _deliver_events(stage)


def _kill_buildpixel(stage: Stage, plays: list[Play]) -> None:
    """Cut all its connections and refuse new ones for a while; its builds go on."""
    _gather(stage, plays)
    outage = stage.sandbox.fault("refuse-connections")
    _release(plays)
    _deliver_events(stage)
    time.sleep(OUTAGE)
    outage.remove()


def _release(plays: list[Play], *, cut: bool = False) -> None:
    for each in plays:
        each.release(cut=cut)


def _deliver_events(stage: Stage) -> None:
    pid = stage.airflow.components["triggerer"].pid
    if pid is not None:
        os.kill(pid, signal.SIGCONT)


KILL: dict[str, Callable[[Stage, list[Play]], None]] = {
    WORKER: _kill_workers,
    TRIGGERER: _kill_triggerer,
    API_SERVER: _kill_api_server,
    BUILDPIXEL: _kill_buildpixel,
}
