"""A real Airflow below a base path, with two API server workers, and a sandbox with old builds."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_provider_buildpixel.sandbox import Plan, Sandbox
from airflow_provider_buildpixel.sandbox.demo.airflow import Airflow
from airflow_provider_buildpixel.sandbox.demo.api import AirflowApi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_buildpixel.sandbox.demo.processes import Component

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "example_dags"
DEMO, NIGHTLY = "buildpixel_release_pipeline", "nightly_build"
BASE_PATH = "/af"
WEBHOOK_SECRET = "whsec_hush"
WIN64 = {"platform": "Win64", "buildType": "Shipping"}

# Builds with realistic durations; the tests advance the sandbox's clock, so they do not wait.
RUN_SECONDS = 1800.0
OLD_RUN_SECONDS = (1850, 1790, 1905, 2010, 600, 1980, 1875, 2050, 2120, 2080, 450, 1930, 1890, 1860)
OLD_FAILED = {4, 10}
MESSAGES = ("Tune gravity of the second level", "Fix the door of the third map", "Add four maps")

HOSTILE = (
    "<script>alert('a log line')</script>",
    "<img src=x onerror=\"alert('an image')\">",
    "</pre></div><svg onload=alert(1)>",
    "LogCook: Error: <b>Failed to cook</b> /Game/Maps/Level3\u202e",
)


class AirflowBelowPath(Airflow):
    """An Airflow below a base path."""

    def __init__(self, dags: Path, environment: dict[str, str]) -> None:
        super().__init__(dags, environment)
        self.url += BASE_PATH
        self.api = AirflowApi(self.url, self.user, self.password)

    def wait_until(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait for a condition, with three times the timeout: these tests do not measure speed."""
        super().wait_until(condition, 3 * seconds, what)

    def _component(self, name: str) -> Component:
        url = f"{self.home.url}{BASE_PATH}"
        self._environment |= {
            "AIRFLOW__API__BASE_URL": url,
            "AIRFLOW__API__WORKERS": "2",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        }
        return super()._component(name)


def add_old_builds(sandbox: Sandbox) -> None:
    """Add ended builds to a build setting: fast, slow and failed ones."""
    setting = sandbox.setting("MyGame", **WIN64)["id"]
    for n, run in enumerate(OLD_RUN_SECONDS):
        outcome = "failed" if n in OLD_FAILED else "complete"
        sandbox.plan(setting_id=setting, queue=20, run=float(run), outcome=outcome)
        sandbox.push(setting, message=MESSAGES[n % len(MESSAGES)])
        sandbox.advance(run + 3600)


class Stage:
    """The running Airflow, the sandbox, and the runs of the tests."""

    def __init__(self, airflow: Airflow, sandbox: Sandbox) -> None:
        self.airflow = airflow
        self.sandbox = sandbox
        self.runs: dict[str, str] = {}

    def secrets(self) -> set[str]:
        """Return the texts that must never be shown: token, webhook secret and URL signatures."""
        queries = [request.query for request in self.sandbox.requests]
        signatures = {query["Signature"] for query in queries if "Signature" in query}
        return {self.sandbox.token, WEBHOOK_SECRET, *signatures}

    def start(self, dag_id: str, branch: str | None = None, **plan: Any) -> str:
        """Start a Dag run, with a sandbox plan for its Win64 build."""
        fields = WIN64 if branch is None else {"platform": "Win64", "buildType": "Development"}
        setting = self.sandbox.setting("MyGame", **fields)
        self.sandbox.plan(setting_id=setting["id"], **plan)
        return self.airflow.api.start_run(dag_id, {"branch": branch} if branch else None)

    def build_id(self, dag_id: str, run_id: str, index: int = -1) -> str | None:
        """Return the build id of a task; None if it has no build yet."""
        for task in self.airflow.api.tasks(dag_id, run_id):
            if task["task_id"] == "build" and task["map_index"] == index:
                found = self.airflow.api.xcom(task, "build_id")
                return None if found is None else str(found)
        return None

    def wait_for_build(self, dag_id: str, run_id: str, index: int = -1) -> str:
        """Wait until a task has a build; return its id."""
        what = f"{dag_id} has a build"
        self.airflow.wait_until(lambda: bool(self.build_id(dag_id, run_id, index)), 90, what)
        return self.build_id(dag_id, run_id, index) or ""

    def task_page(self, dag_id: str, run_id: str, index: int = -1) -> str:
        """Return the URL of a task instance in Airflow's UI."""
        mapped = f"/mapped/{index}" if index >= 0 else ""
        run = quote(run_id, safe="")
        return f"{self.airflow.url}/dags/{dag_id}/runs/{run}/tasks/build{mapped}"


def connection_uri(sandbox: Sandbox) -> str:
    """Return a connection URI without a dashboard: links lead to the page in Airflow."""
    return f"buildpixel://:{sandbox.token}@{quote(sandbox.url, safe='')}"


@contextmanager
def start_stage(folder: Path) -> Iterator[Stage]:
    """Start Airflow and the sandbox.

    :param folder: directory for the Dags.
    """
    shutil.copytree(EXAMPLES, folder / "examples")
    shutil.copytree(HERE / "dags", folder / "ui")
    default = Plan(queue=20, run=RUN_SECONDS, lines=200)
    with Sandbox(default=default) as sandbox:
        add_old_builds(sandbox)
        connection = {"AIRFLOW_CONN_BUILDPIXEL_DEFAULT": connection_uri(sandbox)}
        with AirflowBelowPath(folder, connection) as airflow:
            airflow.wait_for_dags([DEMO, NIGHTLY])
            yield Stage(airflow, sandbox)
