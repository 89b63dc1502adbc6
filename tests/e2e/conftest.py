"""One real Airflow for a module of end-to-end tests, with the sandbox behind its connection."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import pytest

from airflow_provider_buildpixel.sandbox import Sandbox
from airflow_provider_buildpixel.sandbox.demo.airflow import Airflow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "example_dags"
PAUSE = 1.0

# A scheduler that was killed is forgotten after half a minute by default, a lost task after five.
# A heartbeat may come late on a busy machine, or get lost, and comes every 5 s at best.
QUICK_TO_NOTICE = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "20",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
}

# Airflow's default, at which the report of a deferral can come 5 s late and be taken for the end of
# the resumed task. The demo's Airflow has 1 s instead.
UNFORGIVING = {"AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "5"}

# Each task would else load what the scheduler can load once for all.
PRELOADED = {"PYTHONPATH": str(HERE / "preload")}

# How long each round of the scheduler took, which it tells at no other level.
TALKATIVE = {
    "AIRFLOW__LOGGING__NAMESPACE_LEVELS": (
        "airflow.jobs.scheduler_job_runner.SchedulerJobRunner=DEBUG"
    )
}


@pytest.fixture(scope="module")
def shared_sandbox() -> Iterator[Sandbox]:
    """A sandbox as old as the Airflow that is connected to it."""
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def dags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example Dags and those of these tests."""
    folder = tmp_path_factory.mktemp("dags")
    shutil.copytree(EXAMPLES, folder / "examples")
    shutil.copytree(HERE / "dags", folder / "e2e")
    return folder


@pytest.fixture(scope="module")
def airflow(shared_sandbox: Sandbox, dags: Path) -> Iterator[Airflow]:
    """A running Airflow that knows all Dags."""
    connection = {"AIRFLOW_CONN_BUILDPIXEL_DEFAULT": shared_sandbox.connection_uri}
    with Airflow(
        dags, connection | QUICK_TO_NOTICE | UNFORGIVING | TALKATIVE | PRELOADED
    ) as airflow:
        airflow.wait_for_dags(["buildpixel_release_pipeline", "many_short_builds"])
        yield airflow


class Run:
    """A run of one Dag, started now."""

    def __init__(self, airflow: Airflow, dag_id: str, conf: dict[str, Any] | None = None) -> None:
        self._airflow = airflow
        self._dag_id = dag_id
        self._run_id = airflow.api.start_run(dag_id, conf)

    def tasks(self, task_id: str) -> list[dict[str, Any]]:
        """Return the task instances of a task, by map index."""
        found = self._airflow.api.tasks(self._dag_id, self._run_id)
        mapped = [task for task in found if task["task_id"] == task_id]
        return sorted(mapped, key=lambda task: task["map_index"])

    def wait_for(self, task_id: str, *states: str, seconds: float = 180.0) -> None:
        """Wait until every task instance of a task is in one of these states."""

        def there() -> bool:
            found = self.tasks(task_id)
            return bool(found) and all(task["state"] in states for task in found)

        self._airflow.wait_until(there, seconds, f"{task_id} is {' or '.join(states)}")

    def end(self, seconds: float = 300.0) -> str:
        """Wait for the end of the run and return its state."""
        until = time.monotonic() + seconds
        while (state := self._state()) not in {"success", "failed"}:
            assert time.monotonic() < until, f"{self._dag_id} is {state} after {seconds} s"
            time.sleep(PAUSE)
        return state

    def _state(self) -> str:
        return str(self._airflow.api.run(self._dag_id, self._run_id)["state"])

    def stop(self) -> str:
        """Let the run fail as it is, and return its state."""
        path = f"/dags/{self._dag_id}/dagRuns/{quote(self._run_id)}"
        self._airflow.api.call("PATCH", path, {"state": "failed"}, again=True)
        return self._state()

    def events(self, event: str) -> int:
        """Count how often Airflow's audit log has an event of this run."""
        return int(self._logged(event=event)["total_entries"])

    def indexes_of(self, event: str) -> set[int]:
        """Return of which map indexes Airflow's audit log has an event of this run."""
        logged = self._logged(event=event, limit=100)["event_logs"]
        return {entry["map_index"] for entry in logged}

    def events_of(self, *task_ids: str) -> list[str]:
        """Return which of these tasks have begun to run."""
        logged = self._logged(event="running", limit=100)["event_logs"]
        return [entry["task_id"] for entry in logged if entry["task_id"] in task_ids]

    def _logged(self, **query: Any) -> Any:
        of = {"dag_id": self._dag_id, "run_id": self._run_id}
        return self._airflow.api.call("GET", f"/eventLogs?{urlencode(of | query)}")

    def xcom(self, task_id: str, key: str = "return_value", index: int = 0) -> Any:
        """Return what a task instance pushed."""
        return self._airflow.api.xcom(self.tasks(task_id)[index], key)

    def log(self, task_id: str, try_number: int = 1, index: int = 0) -> str:
        """Return what a task instance, and its trigger, logged in one try."""
        return self._airflow.api.log(self.tasks(task_id)[index], try_number)


@pytest.fixture
def run(airflow: Airflow, shared_sandbox: Sandbox) -> Iterator[Callable[..., Run]]:
    """Start runs; afterwards the sandbox has no faults and Airflow all its processes."""

    def start(dag_id: str, conf: dict[str, Any] | None = None) -> Run:
        return Run(airflow, dag_id, conf)

    yield start
    shared_sandbox.heal()
    for component in airflow.components.values():
        if not component.alive:
            component.start()
