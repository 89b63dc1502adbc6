"""Kills any process at any step: a task has one build, and ends in the state of that build."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_buildpixel.sandbox import Plan, Sandbox
from airflow_provider_buildpixel.sandbox.connection import connection_uri
from airflow_provider_buildpixel.sandbox.demo.airflow import Airflow
from airflow_provider_buildpixel.sandbox.demo.api import SERVER_ERROR, AirflowRefused
from tests.e2e.conftest import PRELOADED, SHORT_TIMEOUTS
from tests.e2e.execution_api_proxy import ExecutionApiProxy
from tests.e2e.kill_cases import CASES
from tests.e2e.kill_environment import KillEnvironment
from tests.e2e.kill_runner import run_cases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.kill_cases import Case
    from tests.e2e.kill_environment import RunningCase

DAGS = ["killed_blocking", "killed_deferred", "retried_once"]
CLEARED, RETRIED = len(CASES), len(CASES) + 1  # numbers after those of the cases

# All tasks of one victim are paused at the same time, each in a worker, and some of them in a call
# to the API server.
CAPACITY = {
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "5",
    "AIRFLOW__CORE__PARALLELISM": "40",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_SIZE": "60",
    "AIRFLOW__API__MAXIMUM_PAGE_LIMIT": "500",
    "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
}


@pytest.fixture(scope="module")
def env(
    tmp_path_factory: pytest.TempPathFactory,
    record_testsuite_property: Callable[[str, Any], None],
) -> Iterator[KillEnvironment]:
    """A separate Airflow whose workers use the proxy, and builds that end only on request."""
    folder = tmp_path_factory.mktemp("kill_dags")
    shutil.copy(Path(__file__).parent / "dags" / "kills.py", folder)
    with (
        Sandbox(default=Plan(outcome="hangs", queue=0.0)) as sandbox,
        ExecutionApiProxy() as proxy,
    ):
        tokens = [sandbox.issue_token() for _ in range(RETRIED + 1)]
        environment = SHORT_TIMEOUTS | CAPACITY | PRELOADED | _connections(sandbox, tokens)
        environment["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] = f"{proxy.url}/execution/"
        airflow = Airflow(folder, environment)
        proxy.upstream = airflow.url
        with airflow:
            airflow.wait_for_dags(DAGS)
            env = KillEnvironment(airflow, sandbox, proxy, tokens)
            yield env
            record_testsuite_property("ended by themselves", env.crashes)


def _connections(sandbox: Sandbox, tokens: list[str]) -> dict[str, str]:
    """Return a connection with its own token for each case: the sandbox holds requests by token."""
    return {
        f"AIRFLOW_CONN_CELL_{number}": f"{connection_uri(sandbox.url, token)}&request_timeout=60"
        for number, token in enumerate(tokens)
    }


@pytest.fixture(scope="module")
def run_victim(env: KillEnvironment) -> Callable[[str], dict[int, RunningCase]]:
    """Run all cases of a victim when the first of them is requested."""
    done: dict[str, dict[int, RunningCase]] = {}

    def of(victim: str) -> dict[int, RunningCase]:
        if victim not in done:
            cases = {number: case for number, case in enumerate(CASES) if case.victim == victim}
            done[victim] = run_cases(env, victim, cases)
        return done[victim]

    return of


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("number", "case"), [pytest.param(*pair, id=pair[1].name) for pair in enumerate(CASES)]
)
def test_kill(
    env: KillEnvironment,
    run_victim: Callable[[str], dict[int, RunningCase]],
    number: int,
    case: Case,
    record_testsuite_property: Callable[[str, Any], None],
) -> None:
    """The task started one build, and ended in its state."""
    ended = run_victim(case.victim)[number]
    figures = {"tries": ended.task.get("try_number"), "seconds": round(ended.recovery, 1)}
    record_testsuite_property(f"from the kill to the end: {case.name}", figures)
    assert ended.at_step, "it was killed before its step"
    assert ended.task["state"] == case.state
    assert [build["status"] for build in ended.builds] == [case.outcome]
    facts = env.airflow.api.xcom(ended.task)
    returned = (facts["build_id"], facts["status"]) if facts else None
    assert returned == ((ended.build_id, "complete") if case.outcome == "complete" else None)
    assert env.airflow.api.xcom(ended.task, "build_id") == ended.build_id


def test_clear_after_success(env: KillEnvironment) -> None:
    """A task that is cleared after its success starts a new build."""
    branch = env.start("killed_deferred", CLEARED)
    _end_build(env, branch, 1, "complete")
    _wait_for(env, branch, "success")
    _clear(env, branch)
    newest = _end_build(env, branch, 2, "complete")
    _wait_for(env, branch, "success")
    assert env.airflow.api.xcom(env.tasks()[branch])["build_id"] == newest


def test_retry_after_failure(env: KillEnvironment) -> None:
    """A retry after a failed build starts a new one, and ends in its state."""
    branch = env.start("retried_once", RETRIED)
    _end_build(env, branch, 1, "failed")
    newest = _end_build(env, branch, 2, "complete")
    _wait_for(env, branch, "success")
    assert env.airflow.api.xcom(env.tasks()[branch])["build_id"] == newest
    assert env.tasks()[branch]["try_number"] == 2


def _end_build(env: KillEnvironment, branch: str, count: int, status: str) -> str:
    """Wait until a branch has so many builds and a wait follows the last, then end that build."""

    def is_followed() -> bool:
        builds = env.builds(branch)
        return len(builds) == count and env.sandbox.joined(builds[-1]["id"]) > 0

    env.airflow.wait_until(is_followed, 180.0, f"a wait follows build {count} of {branch}")
    build_id = str(env.builds(branch)[-1]["id"])
    env.end(build_id, status)
    return build_id


def _wait_for(env: KillEnvironment, branch: str, state: str) -> None:
    what = f"{branch} is {state}"
    env.airflow.wait_until(lambda: _state(env, branch) == state, 180.0, what)


def _state(env: KillEnvironment, branch: str) -> str | None:
    state: str | None = env.tasks().get(branch, {}).get("state")
    return state


def _clear(env: KillEnvironment, branch: str) -> None:
    """Clear the task of a run after its success; repeat after a server error, unless it is done.

    This waits for the end of the run first: if Airflow ends the run after the clear, the run
    stays in success.
    """
    run = "killed_deferred", branch
    env.airflow.wait_until(
        lambda: env.airflow.api.run(*run)["state"] == "success",
        180.0,
        f"the run of {branch} ends",
    )
    task = {"dry_run": False, "dag_run_id": branch, "task_ids": ["build"], "only_failed": False}

    def cleared() -> bool:
        if (state := _state(env, branch)) != "success":
            return state is not None
        try:
            env.airflow.api.call("POST", "/dags/killed_deferred/clearTaskInstances", task)
        except AirflowRefused as refused:
            if refused.status < SERVER_ERROR:
                raise
        return False

    env.airflow.wait_until(cleared, 180.0, f"{branch} is cleared")
