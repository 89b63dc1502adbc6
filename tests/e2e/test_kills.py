"""Whatever is killed, and whenever: one build per task, and the task ends with the truth."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_buildpixel.sandbox import Plan, Sandbox
from airflow_provider_buildpixel.sandbox.connection import connection_uri
from airflow_provider_buildpixel.sandbox.demo.airflow import Airflow
from airflow_provider_buildpixel.sandbox.demo.api import SERVER_FAULT, AirflowRefused
from tests.e2e.conftest import PRELOADED, QUICK_TO_NOTICE
from tests.e2e.killing import play
from tests.e2e.stage import Stage
from tests.e2e.steps import CASES
from tests.e2e.turnstile import Turnstile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.stage import Play
    from tests.e2e.steps import Case

DAGS = ["killed_blocking", "killed_deferred", "retried_once"]
CLEARED, RETRIED = len(CASES), len(CASES) + 1  # the numbers after those of the cases

# All tasks of one victim stand still at once, each in a worker, and some of them in a call to the
# API server.
ROOM = {
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "5",
    "AIRFLOW__CORE__PARALLELISM": "40",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_SIZE": "60",
    "AIRFLOW__API__MAXIMUM_PAGE_LIMIT": "500",
    "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
}


@pytest.fixture(scope="module")
def stage(
    tmp_path_factory: pytest.TempPathFactory,
    record_testsuite_property: Callable[[str, Any], None],
) -> Iterator[Stage]:
    """An Airflow of its own, whose workers pass the turnstile; its builds end when told to."""
    folder = tmp_path_factory.mktemp("kill_dags")
    shutil.copy(Path(__file__).parent / "dags" / "kills.py", folder)
    with Sandbox(default=Plan(outcome="hangs", queue=0.0)) as sandbox, Turnstile() as turnstile:
        tokens = [sandbox.issue_token() for _ in range(RETRIED + 1)]
        environment = QUICK_TO_NOTICE | ROOM | PRELOADED | _connections(sandbox, tokens)
        environment["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] = f"{turnstile.url}/execution/"
        airflow = Airflow(folder, environment)
        turnstile.upstream = airflow.url
        with airflow:
            airflow.wait_for_dags(DAGS)
            stage = Stage(airflow, sandbox, turnstile, tokens)
            yield stage
            record_testsuite_property("ended by themselves", stage.crashes)


def _connections(sandbox: Sandbox, tokens: list[str]) -> dict[str, str]:
    """Give each case a token of its own, by which the sandbox tells their requests apart."""
    return {
        f"AIRFLOW_CONN_CELL_{number}": f"{connection_uri(sandbox.url, token)}&request_timeout=60"
        for number, token in enumerate(tokens)
    }


@pytest.fixture(scope="module")
def played(stage: Stage) -> Callable[[str], dict[int, Play]]:
    """Play all cases of a victim when the first of them is asked for."""
    done: dict[str, dict[int, Play]] = {}

    def of(victim: str) -> dict[int, Play]:
        if victim not in done:
            cases = {number: case for number, case in enumerate(CASES) if case.victim == victim}
            done[victim] = play(stage, victim, cases)
        return done[victim]

    return of


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("number", "case"), [pytest.param(*pair, id=pair[1].name) for pair in enumerate(CASES)]
)
def test_kill(
    stage: Stage,
    played: Callable[[str], dict[int, Play]],
    number: int,
    case: Case,
    record_testsuite_property: Callable[[str, Any], None],
) -> None:
    """One build was started, and the task ended as it did."""
    end = played(case.victim)[number]
    figures = {"tries": end.task.get("try_number"), "seconds": round(end.recovery, 1)}
    record_testsuite_property(f"from the kill to the end: {case.name}", figures)
    assert end.there, "it was killed before its step"
    assert end.task["state"] == case.state
    assert [build["status"] for build in end.builds] == [case.truth]
    facts = stage.airflow.api.xcom(end.task)
    told = (facts["build_id"], facts["status"]) if facts else None
    assert told == ((end.build_id, "complete") if case.truth == "complete" else None)
    assert stage.airflow.api.xcom(end.task, "build_id") == end.build_id


def test_clear_after_success(stage: Stage) -> None:
    """A task that is cleared after its success starts a new build."""
    branch = stage.start("killed_deferred", CLEARED)
    _end_build(stage, branch, 1, "complete")
    _wait_for(stage, branch, "success")
    _clear(stage, branch)
    newest = _end_build(stage, branch, 2, "complete")
    _wait_for(stage, branch, "success")
    assert stage.airflow.api.xcom(stage.tasks()[branch])["build_id"] == newest


def test_retry_after_failure(stage: Stage) -> None:
    """A retry after a failed build starts a new one, and ends as that does."""
    branch = stage.start("retried_once", RETRIED)
    _end_build(stage, branch, 1, "failed")
    newest = _end_build(stage, branch, 2, "complete")
    _wait_for(stage, branch, "success")
    assert stage.airflow.api.xcom(stage.tasks()[branch])["build_id"] == newest
    assert stage.tasks()[branch]["try_number"] == 2


def _end_build(stage: Stage, branch: str, count: int, status: str) -> str:
    """Wait until a branch has so many builds and the last is waited for, then let it end."""

    def waited_for() -> bool:
        builds = stage.builds(branch)
        return len(builds) == count and stage.sandbox.joined(builds[-1]["id"]) > 0

    stage.airflow.wait_until(waited_for, 180.0, f"build {count} of {branch} is waited for")
    build_id = str(stage.builds(branch)[-1]["id"])
    stage.end(build_id, status)
    return build_id


def _wait_for(stage: Stage, branch: str, state: str) -> None:
    what = f"{branch} is {state}"
    stage.airflow.wait_until(lambda: _state(stage, branch) == state, 180.0, what)


def _state(stage: Stage, branch: str) -> str | None:
    state: str | None = stage.tasks().get(branch, {}).get("state")
    return state


def _clear(stage: Stage, branch: str) -> None:
    """Clear the task of a run after its success; again after a fault, unless it is done.

    Airflow may take the run itself, if it is still about to end it, to have succeeded all the same.
    """
    run = "killed_deferred", branch
    stage.airflow.wait_until(
        lambda: stage.airflow.api.run(*run)["state"] == "success",
        180.0,
        f"the run of {branch} ends",
    )
    task = {"dry_run": False, "dag_run_id": branch, "task_ids": ["build"], "only_failed": False}

    def cleared() -> bool:
        if (state := _state(stage, branch)) != "success":
            return state is not None
        try:
            stage.airflow.api.call("POST", "/dags/killed_deferred/clearTaskInstances", task)
        except AirflowRefused as refused:
            if refused.status < SERVER_FAULT:
                raise
        return False

    stage.airflow.wait_until(cleared, 180.0, f"{branch} is cleared")
