"""One real Airflow for a module of end-to-end tests, connected to the sandbox."""

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

FOLDER = Path(__file__).parent
EXAMPLES = FOLDER.parents[1] / "example_dags"
PAUSE = 1.0

# By default Airflow detects a killed scheduler after half a minute, a lost task after five minutes.
# A heartbeat is sent every 5 s at best, and may be late or get lost on a busy machine.
SHORT_TIMEOUTS = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "20",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
}

# Airflow's default, with which the report of a deferral can be 5 s late and be mistaken for the end
# of the resumed task. The Airflow of the demo has 1 s instead.
DEFAULT_HEARTBEAT = {"AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "5"}

# The scheduler loads modules once, which otherwise each task would load.
PRELOADED = {"PYTHONPATH": str(FOLDER / "preload")}

# The duration of each scheduler loop, which is logged at this level only.
LOG_LOOP_TIMES = {
    "AIRFLOW__LOGGING__NAMESPACE_LEVELS": (
        "airflow.jobs.scheduler_job_runner.SchedulerJobRunner=DEBUG"
    )
}


@pytest.fixture(scope="module")
def shared_sandbox() -> Iterator[Sandbox]:
    """A sandbox with the lifetime of the Airflow that is connected to it."""
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def dags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example Dags and the Dags of these tests."""
    folder = tmp_path_factory.mktemp("dags")
    shutil.copytree(EXAMPLES, folder / "examples")
    shutil.copytree(FOLDER / "dags", folder / "e2e")
    return folder


@pytest.fixture(scope="module")
def airflow(shared_sandbox: Sandbox, dags: Path) -> Iterator[Airflow]:
    """A running Airflow that has parsed all Dags."""
    connection = {"AIRFLOW_CONN_BUILDPIXEL_DEFAULT": shared_sandbox.connection_uri}
    with Airflow(
        dags, connection | SHORT_TIMEOUTS | DEFAULT_HEARTBEAT | LOG_LOOP_TIMES | PRELOADED
    ) as airflow:
        airflow.wait_for_dags(["buildpixel_release_pipeline", "many_short_builds"])
        yield airflow


class Run:
    """A new run of one Dag."""

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

        def in_states() -> bool:
            found = self.tasks(task_id)
            return bool(found) and all(task["state"] in states for task in found)

        self._airflow.wait_until(in_states, seconds, f"{task_id} is {' or '.join(states)}")

    def end(self, seconds: float = 300.0) -> str:
        """Wait for the end of the run and return its state."""
        until = time.monotonic() + seconds
        while (state := self._state()) not in {"success", "failed"}:
            assert time.monotonic() < until, f"{self._dag_id} is {state} after {seconds} s"
            time.sleep(PAUSE)
        return state

    def _state(self) -> str:
        return str(self._airflow.api.run(self._dag_id, self._run_id)["state"])

    def fail(self) -> str:
        """Set the run to failed, and return its state."""
        path = f"/dags/{self._dag_id}/dagRuns/{quote(self._run_id)}"
        self._airflow.api.call("PATCH", path, {"state": "failed"}, idempotent=True)
        return self._state()

    def event_count(self, event: str) -> int:
        """Return how often Airflow's audit log has an event of this run."""
        return int(self._event_logs(event=event)["total_entries"])

    def indexes_of(self, event: str) -> set[int]:
        """Return the map indexes with an event of this run in Airflow's audit log."""
        logged = self._event_logs(event=event, limit=100)["event_logs"]
        return {entry["map_index"] for entry in logged}

    def started_tasks(self, *task_ids: str) -> list[str]:
        """Return which of these tasks were started."""
        logged = self._event_logs(event="running", limit=100)["event_logs"]
        return [entry["task_id"] for entry in logged if entry["task_id"] in task_ids]

    def _event_logs(self, **query: Any) -> Any:
        this_run = {"dag_id": self._dag_id, "run_id": self._run_id}
        return self._airflow.api.call("GET", f"/eventLogs?{urlencode(this_run | query)}")

    def xcom(self, task_id: str, key: str = "return_value", index: int = 0) -> Any:
        """Return what a task instance pushed."""
        return self._airflow.api.xcom(self.tasks(task_id)[index], key)

    def log(self, task_id: str, try_number: int = 1, index: int = 0) -> str:
        """Return the log of one try of a task instance, including its trigger's lines."""
        return self._airflow.api.log(self.tasks(task_id)[index], try_number)


@pytest.fixture
def run(airflow: Airflow, shared_sandbox: Sandbox) -> Iterator[Callable[..., Run]]:
    """Start runs; afterwards remove all faults and restart killed components."""

    def start(dag_id: str, conf: dict[str, Any] | None = None) -> Run:
        return Run(airflow, dag_id, conf)

    yield start
    shared_sandbox.heal()
    for component in airflow.components.values():
        if not component.alive:
            component.start()
