"""Kills what an Airflow on PostgreSQL and Celery is made of, under load: ``make cluster``.

    python -m tests.cluster [--quick] [--builds N] [--storm S] … [--write docs/cluster.md]

The exit status is 1 if a claim is not met.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import fields, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.sandbox import Sandbox
from tests.cluster.books import Books
from tests.cluster.course import Course
from tests.cluster.findings import Findings
from tests.cluster.fleet import SLOTS, Fleet
from tests.cluster.judging import Made, judge
from tests.cluster.report import report, write
from tests.cluster.script import Script
from tests.cluster.services import NotInstalled
from tests.cluster.storm import Keeper
from tests.cluster.tries import log_of, reason_of
from tests.cluster.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

QUICK = Course(builds=20, storm=120.0, outage=40.0, deaf=480.0)
TRIGGER = "POST trigger"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the course, print what was found, and tell whether it was right."""
    options = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _interrupt)
    course = QUICK if options.quick else Course()
    given = {each.name: getattr(options, each.name) for each in fields(Course)}
    course = replace(course, **{name: value for name, value in given.items() if value is not None})
    try:
        found = run(course, options.seed, keep=options.keep)
    except NotInstalled as missing:
        sys.stderr.write(f"{missing}\n")
        return 2
    sys.stdout.write(report(found))
    if options.write:
        write(options.write, found)
    return 0 if all(check.met for check in found.checks()) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    add = parser.add_argument
    for each in fields(Course):
        add(f"--{each.name}", type=int if each.name == "builds" else float)
    add("--quick", action="store_true", help="20 builds, two minutes of kills")
    add("--seed", type=int, default=1, help="of what is left to chance")
    add("--keep", action="store_true", help="leave the home with all logs where it is")
    add("--write", type=Path, help="the page that takes the figures")
    return parser


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def run(course: Course, seed: int, *, keep: bool) -> Findings:
    """Run a course with everything that it needs."""
    chance = random.Random(seed)  # a storm, no secret
    with ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox(speed=course.speed, seed=seed))
        clock = (time.time(), sandbox.now())
        fleet = Fleet({"AIRFLOW_CONN_BUILDPIXEL_DEFAULT": sandbox.connection_uri}, keep=keep)
        sys.stderr.write(f"Airflow starts in {fleet.path}\n")
        stack.enter_context(fleet)
        books = Books(fleet.services.database)
        stack.callback(books.close)
        watch = stack.enter_context(Watch(books, sandbox))
        keeper = stack.enter_context(Keeper(fleet, books, chance))
        script = Script(course, fleet, sandbox, books, keeper, watch, chance)
        script.play()
        return _findings(script, clock)


def _findings(script: Script, clock: tuple[float, float]) -> Findings:
    sandbox, books, keeper = script.sandbox, script.books, script.keeper
    made = [_made(build, clock, script.course.speed) for build in sandbox.builds()]
    told, posts = books.told(), sandbox.requests_to(TRIGGER)
    return Findings(
        course=script.course,
        spans=script.spans,
        told=told,
        made=made,
        judgement=judge(script.branches, told, made),
        kills=keeper.kills,
        restarts=keeper.restarts,
        recoveries=keeper.recoveries,
        samples=script.watch.samples,
        slots=sum(member.kind == "worker" for member in script.fleet.members) * SLOTS,
        posted=len(posts),
        accepted=sum(200 <= post.status < 300 for post in posts),
        reasons=_reasons(script),
        events=books.events(),
        left=sum(books.look().owners.values()),
        notes=script.notes,
    )


def _made(build: dict[str, Any], clock: tuple[float, float], speed: float) -> Made:
    """Read a build, and put its instants on the clock on the wall."""

    def real(instant: str | None) -> float | None:
        if instant is None:
            return None
        return clock[0] + (datetime.fromisoformat(instant).timestamp() - clock[1]) / speed

    finished = real(build.get("finishedAt"))
    created = real(build["createdAt"]) or 0.0
    return Made(build["id"], build["branch"], build["status"], created, finished)


def _reasons(script: Script) -> dict[str, int]:
    logs = script.fleet.home.path / "logs"
    tries = script.books.retried()
    return dict(Counter(reason_of(log_of(logs, *each)) for each in tries))


if __name__ == "__main__":
    sys.exit(main())
