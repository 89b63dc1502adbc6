"""The provider's app in this process, with Airflow's tables and a sandbox."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from airflow_provider_buildpixel.sandbox import Plan, Sandbox
from airflow_provider_buildpixel.sandbox.live.webhooks import sign

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    import httpx

SECRET = "whsec_in_the_test"
OLD_SECRET = "whsec_of_last_year"
EACH_BUILD = "each_build"

DAGS = """
from airflow.sdk import DAG, task
from airflow_provider_buildpixel.assets import build_asset

with DAG("{each_build}", schedule=None, max_active_runs=4):
    @task
    def note(): ...
    note()

with DAG("on_asset", schedule=[build_asset("{project}", "{setting}")]):
    @task
    def note_all(): ...
    note_all()
"""


@dataclass(frozen=True)
class WebhookSandbox:
    """A sandbox whose builds end immediately, and the deliveries of its webhooks."""

    sandbox: Sandbox
    setting: dict[str, Any]
    other_setting: dict[str, Any]

    def ended(self, status: str = "complete", setting: dict[str, Any] | None = None) -> str:
        """Return a build that has just ended with this status."""
        build_id = self.sandbox.push((setting or self.setting)["id"])
        self.sandbox.set_status(build_id, status)
        return build_id

    def body(self, build_id: str, kind: str = "build.complete", **more: Any) -> bytes:
        """Return the body of a delivery."""
        build = {"id": build_id, "status": kind.removeprefix("build.")} | more
        return json.dumps({"type": kind, "data": {"build": build}}).encode()

    def connection(self, secret: Any = SECRET, **extra: str) -> str:
        """Return a connection URI with a webhook secret."""
        secrets = secret if isinstance(secret, str) else json.dumps(secret)
        pairs = {"webhook_secret": secrets} | extra
        query = "&".join(f"{key}={quote(value, safe='')}" for key, value in pairs.items())
        host = quote(self.sandbox.url, safe="")
        return f"buildpixel://:{self.sandbox.token}@{host}/?{query}"


@pytest.fixture(scope="session")
def session_sandbox() -> Iterator[Sandbox]:
    """One sandbox for all tests: the Dags use its ids."""
    with Sandbox(default=Plan(outcome="stays_pending")) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def dags(airflow_database: Path, session_sandbox: Sandbox) -> None:
    """Store the Dags in Airflow's tables."""
    setting = session_sandbox.setting("MyGame", platform="Win64", buildType="Shipping")
    folder = airflow_database.parent / "dags"
    folder.mkdir(exist_ok=True)
    text = DAGS.format(each_build=EACH_BUILD, project=setting["projectId"], setting=setting["id"])
    (folder / "webhooks.py").write_text(text)
    command = [sys.executable, "-m", "airflow", "dags", "reserialize"]
    subprocess.run(command, check=True, capture_output=True)
    _unpause()


def _unpause() -> None:
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session
    from sqlalchemy import update

    with create_session() as session:
        session.execute(update(DagModel).values(is_paused=False))


@pytest.fixture
def webhooks(
    session_sandbox: Sandbox, dags: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[WebhookSandbox]:
    """The sandbox, with connections to it."""
    setting = session_sandbox.setting("MyGame", platform="Win64", buildType="Shipping")
    other = session_sandbox.setting("MyGame", platform="Linux", buildType="Shipping")
    found = WebhookSandbox(session_sandbox, setting, other)
    monkeypatch.setenv("AIRFLOW_CONN_BP", found.connection(run_per_build=EACH_BUILD))
    monkeypatch.setenv("AIRFLOW_CONN_ASSETS_ONLY", found.connection())
    monkeypatch.setenv("AIRFLOW_CONN_ROTATING", found.connection([SECRET, OLD_SECRET]))
    monkeypatch.setenv("AIRFLOW_CONN_SECRETLESS", found.connection(""))
    yield found
    session_sandbox.heal()


class Server:
    """The mounted app of one worker process, and an HTTP client for it."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def post(
        self, body: Any, conn_id: str = "bp", secret: str = SECRET, **headers: str
    ) -> httpx.Response:
        """Send a delivery and return the response."""
        signature = f"sha256={sign(secret, body)}" if isinstance(body, bytes) else "sha256="
        signed = {"content-type": "application/json", "x-buildpixel-signature": signature}
        return await self.client.post(
            f"/buildpixel/webhooks/{conn_id}", content=body, headers=signed | headers
        )


@pytest.fixture
def timeouts() -> list[dict[str, Any]]:
    """Changes of the default timeouts for each of two worker processes."""
    return [{}, {}]


@pytest.fixture
async def servers(timeouts: list[dict[str, Any]]) -> AsyncIterator[list[Server]]:
    """Two simulated worker processes that share only the tables."""
    import httpx
    from starlette.applications import Starlette
    from starlette.routing import Mount

    from airflow_provider_buildpixel.plugins.app import build_app
    from airflow_provider_buildpixel.plugins.receiver import Receiver

    defaults: dict[str, Any] = {
        "body_timeout": 0.3,
        "work_timeout": 60.0,
        "reread_pauses": (0.05, 0.1),
    }
    receivers = [Receiver(**defaults | changes) for changes in timeouts]
    apps = [Starlette(routes=[Mount("/buildpixel", build_app(one))]) for one in receivers]
    transports = [httpx.ASGITransport(app) for app in apps]
    clients = [httpx.AsyncClient(transport=one, base_url="http://airflow") for one in transports]
    yield [Server(client) for client in clients]
    for client in clients:
        await client.aclose()
    for receiver in receivers:
        await receiver.close()


@pytest.fixture
def server(servers: list[Server]) -> Server:
    """One of the two worker processes."""
    return servers[0]


@dataclass(frozen=True)
class StoredResults:
    """The asset events and runs in Airflow's tables."""

    def events(self, build_id: str) -> list[dict[str, Any]]:
        """Return the extras of the asset events of a build."""
        from airflow.models.asset import AssetEvent
        from airflow.utils.session import create_session
        from sqlalchemy import select

        with create_session() as session:
            extras = list(session.scalars(select(AssetEvent.extra)))
        return [extra for extra in extras if extra.get("build_id") == build_id]

    def runs(self, build_id: str) -> list[dict[str, Any]]:
        """Return the ``conf`` of each run of a build."""
        from airflow.models.dagrun import DagRun
        from airflow.utils.session import create_session
        from sqlalchemy import select

        with create_session() as session:
            query = select(DagRun).where(DagRun.run_id == f"buildpixel__{build_id}")
            return [(run.conf or {}) | {"dag": run.dag_id} for run in session.scalars(query)]


@pytest.fixture
def stored() -> StoredResults:
    """The asset events and runs in Airflow's tables."""
    return StoredResults()
