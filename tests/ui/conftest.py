"""The provider's app in this process, with Airflow's tables and auth manager, and a sandbox."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import uuid4

import pytest

from airflow_provider_buildpixel.api.model import Build
from airflow_provider_buildpixel.operators.buildpixel import BuildPixelTriggerBuildOperator
from airflow_provider_buildpixel.page.record import RECORD_KEY, BuildRecord, TaskInstanceKey
from airflow_provider_buildpixel.sandbox import Plan, Sandbox
from tests.tasks.stage import WIN64, TaskInstance, context_of, task_in_dag

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    import httpx

DAGS = """
from airflow.sdk import DAG
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow_provider_buildpixel.operators.buildpixel import BuildPixelTriggerBuildOperator

for dag_id in ("ours", "theirs"):
    with DAG(dag_id, schedule=None):
        BuildPixelTriggerBuildOperator(task_id="build", project="MyGame", build_setting="x")
        EmptyOperator(task_id="other")
        BuildPixelTriggerBuildOperator.partial(
            task_id="mapped", project="MyGame"
        ).expand(build_setting=["x", "y"])
"""


@pytest.fixture(scope="session")
def auth_manager() -> Iterator[Any]:
    """An auth manager with users who may read only some Dags."""
    from airflow.api_fastapi.app import init_auth_manager

    changed = {
        "AIRFLOW__CORE__AUTH_MANAGER": "tests.ui.auth_manager.PerDagAuthManager",
        "AIRFLOW__API_AUTH__JWT_SECRET": "only in the tests, and long enough for a signature " * 2,
    }
    os.environ |= changed
    yield init_auth_manager()
    for name in changed:
        del os.environ[name]


@pytest.fixture(scope="session")
def ui_dags(airflow_database: Path) -> None:
    """Store the Dags in Airflow's tables."""
    folder = airflow_database.parent / "dags"
    folder.mkdir(exist_ok=True)
    (folder / "ui.py").write_text(DAGS)
    command = [sys.executable, "-m", "airflow", "dags", "reserialize"]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A sandbox in which tests set the status of builds; its connection is ``bp``."""
    with Sandbox(default=Plan(outcome="stays_pending")) as running:
        monkeypatch.setenv("AIRFLOW_CONN_BP", connection(running))
        yield running


def connection(sandbox: Sandbox, token: str | None = None) -> str:
    """Return a connection URI without a dashboard."""
    return f"buildpixel://:{token or sandbox.token}@{quote(sandbox.url, safe='')}"


def published(**ti: Any) -> dict[str, Any]:
    """Start a build with the operator and return the XComs of the task."""
    instance = TaskInstance(**ti)
    task = task_in_dag(
        BuildPixelTriggerBuildOperator,
        project="MyGame",
        build_setting=WIN64,
        buildpixel_conn_id="bp",
        wait_for_completion=False,
    )
    task.execute(context_of(instance))
    return instance.xcoms


@pytest.fixture
def runs(ui_dags: None) -> Callable[[str], str]:
    """Return a function that starts a run of a Dag; its tasks are not executed."""
    from airflow.api.common.trigger_dag import trigger_dag
    from airflow.utils.types import DagRunTriggeredByType

    def start(dag_id: str) -> str:
        run_id = f"run-{uuid4()}"
        trigger_dag(dag_id, triggered_by=DagRunTriggeredByType.REST_API, run_id=run_id)
        return run_id

    return start


@dataclass(frozen=True)
class Tasks:
    """Creates task instances with builds."""

    sandbox: Sandbox
    runs: Callable[[str], str]

    def push(self, **more: Any) -> str:
        """Return a new build that no task has."""
        setting = self.sandbox.setting("MyGame", platform="Win64", buildType="Shipping")
        return self.sandbox.push(setting["id"], **more)

    def with_build(
        self, dag_id: str, build_id: str | None = None, task_id: str = "build"
    ) -> TaskInstanceKey:
        """Return a new task instance, with the record of a build if one is given."""
        ti_key = TaskInstanceKey(dag_id, self.runs(dag_id), task_id)
        if build_id is not None:
            self.push_xcom(ti_key, self.record(ti_key, build_id).to_json())
        return ti_key

    def record(self, ti_key: TaskInstanceKey, build_id: str, conn_id: str = "bp") -> BuildRecord:
        """Return the record of a task instance's build."""
        build = Build.from_json(self.sandbox.build(build_id))
        return BuildRecord.create(ti_key, conn_id, build, self.sandbox.token)

    def push_xcom(self, ti_key: TaskInstanceKey, value: Any) -> None:
        """Store a build record as an XCom, as a task does through the API server."""
        from airflow.models.dagrun import DagRun
        from airflow.models.xcom import XComModel
        from airflow.utils.session import create_session
        from sqlalchemy import select

        with create_session() as session:
            conditions = (DagRun.dag_id == ti_key.dag_id, DagRun.run_id == ti_key.run_id)
            [run_id] = session.scalars(select(DagRun.id).where(*conditions))
            xcom = XComModel(**vars(ti_key), dag_run_id=run_id, key=RECORD_KEY, value=value)
            session.merge(xcom)

    def end(self, ti_key: TaskInstanceKey, state: str) -> None:
        """Set the final state of a task instance."""
        from airflow.models.taskinstance import TaskInstance
        from airflow.utils.session import create_session
        from sqlalchemy import update

        conditions = [getattr(TaskInstance, name) == value for name, value in vars(ti_key).items()]
        with create_session() as session:
            session.execute(update(TaskInstance).where(*conditions).values(state=state))


@pytest.fixture
def tasks(sandbox: Sandbox, runs: Callable[[str], str]) -> Tasks:
    """Creates task instances with builds."""
    return Tasks(sandbox, runs)


class Server:
    """The mounted app of one worker process, and an HTTP client for it."""

    def __init__(self, client: httpx.AsyncClient, auth_manager: Any) -> None:
        self.client = client
        self._auth_manager = auth_manager

    def cookies(self, user: Any) -> dict[str, str]:
        """Return the cookie header of a logged-in user."""
        token = self._auth_manager.generate_jwt(user)
        return {"cookie": f"_token={token}"}

    async def get(self, path: str, user: Any = None, **headers: str) -> httpx.Response:
        """Send a GET request, as a user or not logged in."""
        cookies = self.cookies(user) if user else {}
        return await self.client.get(f"/buildpixel/{path}", headers=cookies | headers)

    async def post(self, path: str, user: Any = None) -> httpx.Response:
        """Send a POST request, as a user or not logged in."""
        cookies = self.cookies(user) if user else {}
        return await self.client.post(f"/buildpixel/{path}", headers=cookies)


@pytest.fixture
async def server(auth_manager: Any, ui_dags: None) -> AsyncIterator[Server]:
    """A worker process of the API server."""
    import httpx
    from starlette.applications import Starlette
    from starlette.routing import Mount

    from airflow_provider_buildpixel.plugins.app import build_app
    from airflow_provider_buildpixel.plugins.build_reader import PageReader
    from airflow_provider_buildpixel.plugins.receiver import Receiver

    receiver, reader = Receiver(), PageReader()
    app = Starlette(routes=[Mount("/buildpixel", build_app(receiver, reader))])
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://airflow"
    ) as client:
        yield Server(client, auth_manager)
    await receiver.close()
    await reader.close()
