"""Kills the processes of an Airflow on PostgreSQL and Celery, under load: ``make cluster``.

    python -m tests.cluster [--quick] [--builds N] [--kills S] … [--write docs/cluster.md]

The exit status is 1 if a check fails.
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
from tests.bench import pages
from tests.cluster.airflow_cluster import SLOTS, AirflowCluster
from tests.cluster.airflow_database import AirflowDatabase
from tests.cluster.kill_loop import KillLoop
from tests.cluster.report import report
from tests.cluster.results import Results
from tests.cluster.sampler import Sampler
from tests.cluster.scenario import Scenario
from tests.cluster.scenario_runner import ScenarioRunner
from tests.cluster.services import NotInstalled
from tests.cluster.try_logs import log_of, reason_of
from tests.cluster.verification import BuildResult, verify

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

QUICK = Scenario(builds=20, kills=120.0, outage=40.0, no_sockets=480.0)
TRIGGER = "POST trigger"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the scenario and print the results; return the exit status."""
    options = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _interrupt)
    scenario = QUICK if options.quick else Scenario()
    values = {each.name: getattr(options, each.name) for each in fields(Scenario)}
    scenario = replace(
        scenario, **{name: value for name, value in values.items() if value is not None}
    )
    try:
        results = run(scenario, options.seed, keep=options.keep)
    except NotInstalled as missing:
        sys.stderr.write(f"{missing}\n")
        return 2
    sys.stdout.write(f"{report(results)}\n")
    if options.write:
        pages.write(options.write, report(results))
    return 0 if all(check.met for check in results.checks()) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    add = parser.add_argument
    for each in fields(Scenario):
        flag = f"--{each.name.replace('_', '-')}"
        add(flag, type=int if each.name == "builds" else float)
    add("--quick", action="store_true", help="20 builds, two minutes of kills")
    add("--seed", type=int, default=1, help="of the random choices")
    add("--keep", action="store_true", help="keep the folder with all logs")
    add("--write", type=Path, help="page to write the tables to")
    return parser


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def run(scenario: Scenario, seed: int, *, keep: bool) -> Results:
    """Start BuildPixel and Airflow, and run a scenario."""
    rng = random.Random(seed)  # noqa: S311  # a test, no secret
    with ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox(speed=scenario.speed, seed=seed))
        clock_start = (time.time(), sandbox.now())
        cluster = AirflowCluster(
            {"AIRFLOW_CONN_BUILDPIXEL_DEFAULT": sandbox.connection_uri}, keep=keep
        )
        sys.stderr.write(f"Airflow starts in {cluster.path}\n")
        stack.enter_context(cluster)
        database = AirflowDatabase(cluster.services.database)
        stack.callback(database.close)
        sampler = stack.enter_context(Sampler(database, sandbox))
        kill_loop = stack.enter_context(KillLoop(cluster, database, rng))
        runner = ScenarioRunner(scenario, cluster, sandbox, database, kill_loop, sampler, rng)
        runner.run()
        return _results(runner, clock_start)


def _results(runner: ScenarioRunner, clock_start: tuple[float, float]) -> Results:
    sandbox, database, kill_loop = runner.sandbox, runner.database, runner.kill_loop
    builds = [
        _build_result(build, clock_start, runner.scenario.speed) for build in sandbox.builds()
    ]
    tasks, requests = database.task_results(), sandbox.requests_to(TRIGGER)
    return Results(
        scenario=runner.scenario,
        spans=runner.spans,
        tasks=tasks,
        builds=builds,
        verification=verify(runner.branches, tasks, builds),
        kills=kill_loop.kills,
        restarts=kill_loop.restarts,
        recoveries=kill_loop.recoveries,
        samples=runner.sampler.samples,
        slots=sum(member.kind == "worker" for member in runner.cluster.members) * SLOTS,
        trigger_requests=len(requests),
        accepted_requests=sum(200 <= post.status < 300 for post in requests),
        reasons=_reasons(runner),
        events=database.events(),
        remaining_waits=sum(database.task_counts().owners.values()),
        notes=runner.notes,
    )


def _build_result(
    build: dict[str, Any], clock_start: tuple[float, float], speed: float
) -> BuildResult:
    """Return a build's record, with instants in real time instead of the sandbox's clock."""

    def to_real_time(instant: str | None) -> float | None:
        if instant is None:
            return None
        return (
            clock_start[0] + (datetime.fromisoformat(instant).timestamp() - clock_start[1]) / speed
        )

    finished = to_real_time(build.get("finishedAt"))
    created = to_real_time(build["createdAt"]) or 0.0
    return BuildResult(build["id"], build["branch"], build["status"], created, finished)


def _reasons(runner: ScenarioRunner) -> dict[str, int]:
    logs = runner.cluster.home.path / "logs"
    tries = runner.database.earlier_tries()
    return dict(Counter(reason_of(log_of(logs, *each)) for each in tries))


if __name__ == "__main__":
    sys.exit(main())
