"""Runs all kill cases of one victim at once, kills the victim, and waits for the tasks to end."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import psutil

from tests.e2e.kill_cases import API_SERVER, BUILDPIXEL, TRIGGERER, WORKER, EventSent
from tests.e2e.kill_environment import RunningCase

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.kill_cases import Case
    from tests.e2e.kill_environment import KillEnvironment

TIMEOUT = 480.0
PAUSE = 0.2
MAX_STARTING = 4
"""Tasks that are on the way to their step at the same time: two cores cannot start more."""

OUTAGE_SECONDS = 5.0
DISCONNECT_SECONDS = 0.5
RESUME_DELAY_SECONDS = 11.5
"""Seconds from a deferral after which a trigger no longer delays its event."""


def run_cases(env: KillEnvironment, victim: str, cases: dict[int, Case]) -> dict[int, RunningCase]:
    """Run all cases of one victim at once; return them when they ended or timed out."""
    running = [RunningCase(env, case, number) for number, case in cases.items()]
    KILL[victim](env, running)
    _wait_until(lambda: _all_ended(env, running))
    return {each.number: each for each in running}


def _all_ended(env: KillEnvironment, running: list[RunningCase]) -> bool:
    env.restart_crashed()
    tasks = env.cached_tasks()
    return sum(each.has_ended(tasks) for each in running) == len(running)  # all() would stop early


def _all_at_step(running: list[RunningCase]) -> bool:
    """Start and advance the cases; return whether each has reached its step."""
    starting = 0
    for each in running:
        if not each.at_step and (each.started or starting < MAX_STARTING):
            if not each.started:
                each.start()
            each.at_step = each.advance()
            starting += not each.at_step
    return all(each.at_step for each in running)


def _wait_until(condition: Callable[[], bool], seconds: float = TIMEOUT) -> None:
    """Wait for a condition; if it stays false, the tests of the cases fail."""
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(PAUSE)


def _kill_workers(env: KillEnvironment, running: list[RunningCase]) -> None:
    """Kill each worker as soon as its task has reached its step."""

    def all_killed() -> bool:
        _all_at_step(running)
        for each in running:
            if each.killed_at is None and each.at_step:
                _kill_worker(env, each)
                each.release(cut=True)
        _all_ended(env, running)
        return all(each.killed_at for each in running)

    _wait_until(all_killed)


def _kill_worker(env: KillEnvironment, case: RunningCase) -> None:
    """Kill the supervisor of the task's process first: it would report the end of the process."""
    process = psutil.Process(env.proxy.worker(f"topic-{case.number}").pid)
    supervisor = process.parent()
    scheduler = env.airflow.components["scheduler"].pid
    assert supervisor is not None
    assert scheduler in {parent.pid for parent in supervisor.parents()}
    supervisor.kill()
    process.kill()
    time.sleep(DISCONNECT_SECONDS)  # else the held request continues, as if it was sent in time


def _wait_for_steps(env: KillEnvironment, running: list[RunningCase]) -> None:
    """Wait until every task has reached its step; then hold back events, if a case needs it."""
    _wait_until(lambda: _all_at_step(running))
    with_events = [each for each in running if isinstance(each.case.step.at, EventSent)]
    if with_events:
        _hold_events(env, with_events)


def _hold_events(env: KillEnvironment, running: list[RunningCase]) -> None:
    """Let triggers send their events while the triggerer's supervisor is stopped."""
    pid = env.airflow.components["triggerer"].pid
    assert pid is not None
    _wait_until(
        lambda: all(
            time.monotonic() > (each.waiting_since or 0) + RESUME_DELAY_SECONDS for each in running
        )
    )
    os.kill(pid, signal.SIGSTOP)
    seen = len(env.sandbox.requests)
    for each in running:
        each.end_build()
    paths = {f"/builds/{each.build_id}" for each in running}
    _wait_until(
        lambda: paths <= {one.path for one in env.sandbox.requests[seen:] if one.status}, 10.0
    )
    time.sleep(1.0)  # from the response to the event: this takes CPU time only


def _kill_triggerer(env: KillEnvironment, running: list[RunningCase]) -> None:
    _wait_for_steps(env, running)
    env.airflow.components["triggerer"].kill()
    _release(running)
    env.airflow.components["triggerer"].start()


def _kill_api_server(env: KillEnvironment, running: list[RunningCase]) -> None:
    _wait_for_steps(env, running)
    env.airflow.components["api-server"].kill()
    _release(running, cut=True)
    env.airflow.components["api-server"].start()
    _resume_triggerer(env)


def _kill_buildpixel(env: KillEnvironment, running: list[RunningCase]) -> None:
    """Cut all connections to BuildPixel and refuse new ones for a while; its builds continue."""
    _wait_for_steps(env, running)
    outage = env.sandbox.fault("refuse-connections")
    _release(running)
    _resume_triggerer(env)
    time.sleep(OUTAGE_SECONDS)
    outage.remove()


def _release(running: list[RunningCase], *, cut: bool = False) -> None:
    for each in running:
        each.release(cut=cut)


def _resume_triggerer(env: KillEnvironment) -> None:
    pid = env.airflow.components["triggerer"].pid
    if pid is not None:
        os.kill(pid, signal.SIGCONT)


KILL: dict[str, Callable[[KillEnvironment, list[RunningCase]], None]] = {
    WORKER: _kill_workers,
    TRIGGERER: _kill_triggerer,
    API_SERVER: _kill_api_server,
    BUILDPIXEL: _kill_buildpixel,
}
