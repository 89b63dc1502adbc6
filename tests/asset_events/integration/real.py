"""Dags for a real Airflow with webhooks and a watcher, and many valid and invalid senders."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import psutil

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox.demo.airflow import Airflow

SECRET = "whsec_of_the_real_one"
TIMEOUT = 300.0

DAGS = """
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset, AssetWatcher
from airflow_provider_buildpixel.assets import build_asset
from airflow_provider_buildpixel.triggers.events import BuildPixelBuildEventTrigger

with DAG("each_build", schedule=None, max_active_runs=64):
    EmptyOperator(task_id="task")

with DAG("on_asset", schedule=[build_asset("{project}", "{setting}")]):
    EmptyOperator(task_id="task")

trigger = BuildPixelBuildEventTrigger(
    buildpixel_conn_id="bp", project="MyGame",
    build_setting={{"platform": "Linux", "buildType": "Shipping"}},
    statuses=("complete", "failed"), poll_interval=1.0,
)
watched = Asset("linux builds", watchers=[AssetWatcher(name="linux", trigger=trigger)])

with DAG("on_watch", schedule=[watched]):
    EmptyOperator(task_id="task")
"""


def envelope(build_id: str, status: str, **more: Any) -> bytes:
    """Return the body of a delivery."""
    build = {"id": build_id, "status": status} | more
    return json.dumps({"type": f"build.{status}", "data": {"build": build}}).encode()


def signature(body: bytes, secret: str = SECRET) -> str:
    """Return the signature header of a body."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


@dataclass
class Senders:
    """Senders of webhooks that run at the same time; valid ones retry like BuildPixel."""

    url: str
    statuses: list[int] = field(default_factory=list)

    async def run(self, senders: list[Any], concurrency: int = 40) -> None:
        """Run all senders in random order."""
        random.Random(7).shuffle(senders)  # noqa: S311  # the same order in each test run
        semaphore = asyncio.Semaphore(concurrency)
        timeout = aiohttp.ClientTimeout(total=60)
        async with aiohttp.ClientSession(timeout=timeout) as session:

            async def one(sender: Any) -> None:
                async with semaphore:
                    await sender(session)

            await asyncio.gather(*(one(sender) for sender in senders))

    def valid(self, build_id: str, status: str = "complete", attempts: int = 60) -> Any:
        """Return a sender that retries until the answer is 2xx."""
        body = envelope(build_id, status)

        async def send(session: aiohttp.ClientSession) -> None:
            for attempt in range(attempts):
                if await self._post(session, body, signature(body)) in range(200, 300):
                    return
                await asyncio.sleep(0.5 * 2 ** min(attempt, 3))

        return send

    def once(self, body: Any, signed: str) -> Any:
        """Return a sender that sends a body once.

        :param body: the body, or a function that returns it.
        """

        async def send(session: aiohttp.ClientSession) -> None:
            await self._post(session, body() if callable(body) else body, signed)

        return send

    async def _post(self, session: aiohttp.ClientSession, body: Any, signed: str) -> int:
        headers = {"Content-Type": "application/json", "X-BuildPixel-Signature": signed}
        try:
            async with session.post(self.url, data=body, headers=headers) as answer:
                status = answer.status
        except (aiohttp.ClientError, OSError, TimeoutError):
            status = 0
        self.statuses.append(status)
        return status


async def slow_body() -> Any:
    """Yield a body more slowly than the receiver waits."""
    for _ in range(30):
        yield b"{"
        await asyncio.sleep(0.5)


def memories(airflow: Airflow) -> dict[int, int]:
    """Return the memory of the API server and its workers in bytes, by process id."""
    leader = psutil.Process(airflow.components["api-server"].pid)
    processes = [leader, *leader.children(recursive=True)]
    return {one.pid: one.memory_info().rss for one in processes}


def memory(airflow: Airflow) -> int:
    """Return the total memory of the API server in bytes."""
    return sum(memories(airflow).values())


def build_runs(airflow: Airflow) -> list[dict[str, Any]]:
    """Return all runs of the Dag that has one run per build."""
    found: list[dict[str, Any]] = []
    while True:
        path = f"/dags/each_build/dagRuns?limit=100&offset={len(found)}&order_by=id"
        page = airflow.api.call("GET", path)["dag_runs"]
        found += page
        if not page:
            return found


def reported_builds(airflow: Airflow, name: str) -> list[str]:
    """Return the build id of each event of an asset, with repetitions."""
    pattern = f"/assets?limit=100&name_pattern={name.replace(' ', '%20')}"
    [asset] = airflow.api.call("GET", pattern)["assets"]
    path = f"/assets/events?asset_id={asset['id']}&limit=100"
    extras = [event["extra"] for event in airflow.api.call("GET", path)["asset_events"]]
    return [str(extra.get("payload", extra)["build_id"]) for extra in extras]
