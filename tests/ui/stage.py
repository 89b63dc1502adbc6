"""A real Airflow below a base path, with two API-server workers, and a BuildPixel with a past."""

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

# Long builds with a clock that the tests put forward: what is shown is like the real thing, and
# nobody waits for it.
LASTING = 1800.0
PAST = (1850, 1790, 1905, 2010, 600, 1980, 1875, 2050, 2120, 2080, 450, 1930, 1890, 1860)
PAST_FAILED = {4, 10}
MESSAGES = ("Tune gravity of the second level", "Fix the door of the third map", "Add four maps")

HOSTILE = (
    "<script>alert('a log line')</script>",
    "<img src=x onerror=\"alert('an image')\">",
    "</pre></div><svg onload=alert(1)>",
    "LogCook: Error: <b>Failed to cook</b> /Game/Maps/Level3\u202e",
)


class BelowPath(Airflow):
    """An Airflow that is reached below a path only."""

    def __init__(self, dags: Path, environment: dict[str, str]) -> None:
        super().__init__(dags, environment)
        self.url += BASE_PATH
        self.api = AirflowApi(self.url, self.user, self.password)

    def wait_until(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait for a condition, three times as long: nothing here is about speed."""
        super().wait_until(condition, 3 * seconds, what)

    def _component(self, name: str) -> Component:
        url = f"{self.home.url}{BASE_PATH}"
        self._environment |= {
            "AIRFLOW__API__BASE_URL": url,
            "AIRFLOW__API__WORKERS": "2",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        }
        return super()._component(name)


def live_through(sandbox: Sandbox) -> None:
    """Give a setting builds that ran before: fast, slow, and some that failed."""
    setting = sandbox.setting("MyGame", **WIN64)["id"]
    for n, run in enumerate(PAST):
        outcome = "failed" if n in PAST_FAILED else "complete"
        sandbox.plan(setting_id=setting, queue=20, run=float(run), outcome=outcome)
        sandbox.push(setting, message=MESSAGES[n % len(MESSAGES)])
        sandbox.advance(run + 3600)


class Stage:
    """The running Airflow, the sandbox, and the runs that the tests look at."""

    def __init__(self, airflow: Airflow, sandbox: Sandbox) -> None:
        self.airflow = airflow
        self.sandbox = sandbox
        self.runs: dict[str, str] = {}

    def secrets(self) -> set[str]:
        """Give what must never be shown: the token, and what opens signed URLs and webhooks."""
        queries = [request.query for request in self.sandbox.requests]
        signatures = {query["Signature"] for query in queries if "Signature" in query}
        return {self.sandbox.token, WEBHOOK_SECRET, *signatures}

    def start(self, dag_id: str, branch: str | None = None, **plan: Any) -> str:
        """Start a run, with a plan for its Win64 build."""
        fields = WIN64 if branch is None else {"platform": "Win64", "buildType": "Development"}
        setting = self.sandbox.setting("MyGame", **fields)
        self.sandbox.plan(setting_id=setting["id"], **plan)
        return self.airflow.api.start_run(dag_id, {"branch": branch} if branch else None)

    def build_id(self, dag_id: str, run_id: str, index: int = -1) -> str | None:
        """Give the build of a task as soon as it has one."""
        for task in self.airflow.api.tasks(dag_id, run_id):
            if task["task_id"] == "build" and task["map_index"] == index:
                found = self.airflow.api.xcom(task, "build_id")
                return None if found is None else str(found)
        return None

    def wait_for_build(self, dag_id: str, run_id: str, index: int = -1) -> str:
        """Wait until a task has its build."""
        what = f"{dag_id} has a build"
        self.airflow.wait_until(lambda: bool(self.build_id(dag_id, run_id, index)), 90, what)
        return self.build_id(dag_id, run_id, index) or ""

    def task_page(self, dag_id: str, run_id: str, index: int = -1) -> str:
        """Give the address of a task instance in Airflow's UI."""
        mapped = f"/mapped/{index}" if index >= 0 else ""
        run = quote(run_id, safe="")
        return f"{self.airflow.url}/dags/{dag_id}/runs/{run}/tasks/build{mapped}"


def connection_uri(sandbox: Sandbox) -> str:
    """Give a connection that names no dashboard: links then lead to the page in Airflow."""
    return f"buildpixel://:{sandbox.token}@{quote(sandbox.url, safe='')}"


@contextmanager
def staged(folder: Path) -> Iterator[Stage]:
    """Start everything.

    :param folder: for the Dags.
    """
    shutil.copytree(EXAMPLES, folder / "examples")
    shutil.copytree(HERE / "dags", folder / "ui")
    default = Plan(queue=20, run=LASTING, lines=200)
    with Sandbox(default=default) as sandbox:
        live_through(sandbox)
        connection = {"AIRFLOW_CONN_BUILDPIXEL_DEFAULT": connection_uri(sandbox)}
        with BelowPath(folder, connection) as airflow:
            airflow.wait_for_dags([DEMO, NIGHTLY])
            yield Stage(airflow, sandbox)
