"""The measured implementations: this provider's trigger, lower limits, and dbt Cloud's trigger.

Each is a trigger whose ``run()`` is iterated, as in Airflow's triggerer.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import structlog
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_buildpixel.triggers.buildpixel import BuildPixelBuildTrigger
from tests.bench.dbt_cloud import use_plain_http

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

INTERVAL = 10.0
"""Seconds between two polls, for dbt Cloud's trigger and for this provider's."""

LINES = 0
"""Number of lines written to the logs of tasks."""


class CountingLogger:
    """A logger that counts lines instead of writing them; all implementations use it."""

    def msg(self, *_: Any, **__: Any) -> None:
        """Count a line."""
        global LINES  # noqa: PLW0603  # the logger is one for the process, as is the count
        LINES += 1

    log = debug = info = warning = warn = error = critical = exception = msg


def count_lines() -> None:
    """Count log lines instead of writing them: Airflow's logging is not to be measured."""
    structlog.configure(
        processors=[lambda *_: ((), {})],
        logger_factory=lambda *_: CountingLogger(),
        wrapper_class=structlog.make_filtering_bound_logger(20),
        cache_logger_on_first_use=True,
    )


class EventTrigger(BaseTrigger):
    """The minimal wait: one ``asyncio.Event``."""

    def __init__(self, build_id: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's
        self.event = asyncio.Event()
        self.build_id = build_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return nothing: the trigger is never stored."""
        return "", {}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait."""
        await self.event.wait()
        yield TriggerEvent({"build_id": self.build_id})  # type: ignore[no-untyped-call]  # Airflow's


class BareTrigger(BaseTrigger):
    """One Socket.IO client for all waits, without reconnects, reads, logs or deadlines."""

    client: Any = None
    connect_lock: asyncio.Lock
    futures: dict[str, asyncio.Future[str]]

    def __init__(self, build_id: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's
        self.build_id = build_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return nothing: the trigger is never stored."""
        return "", {}

    @classmethod
    async def connected_client(cls) -> Any:
        """Return the client, connected."""
        import socketio

        async with cls.connect_lock:
            if cls.client is None:
                client = socketio.AsyncClient(handle_sigint=False)
                client.on("build:status", cls.on_status)
                await client.connect(
                    os.environ["BENCH_URL"], auth={"token": "bp_bench"}, transports=["websocket"]
                )
                cls.client = client
        return cls.client

    @classmethod
    def on_status(cls, data: dict[str, Any]) -> None:
        """Handle a status event."""
        future = cls.futures.get(data["buildId"])
        if future is not None and data["status"] == "complete":
            future.set_result(data["status"])

    async def read(self) -> None:
        """Read nothing."""

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Join the room, and trust the events of the socket."""
        client = await self.connected_client()
        future = self.futures[self.build_id] = asyncio.get_running_loop().create_future()
        await client.emit("join:build", {"buildId": self.build_id})
        await self.read()
        status = await future
        await client.emit("leave:build", {"buildId": self.build_id})
        event = {"build_id": self.build_id, "status": status}
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]  # Airflow's


class ReadingTrigger(BareTrigger):
    """The same, with the read after the join that BuildPixel requires, over one shared session."""

    session: Any = None
    reads = 0

    async def read(self) -> None:
        """Read the build once."""
        import aiohttp

        cls = type(self)
        if cls.session is None:
            cls.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=8))
        url = f"{os.environ['BENCH_URL']}/builds/{self.build_id}"
        async with cls.session.get(url) as response:
            await response.json()
        cls.reads += 1


def dbt_cloud_trigger(build_id: str) -> BaseTrigger:
    """Return dbt Cloud's trigger for a run, without TLS, like the other measurements."""
    from airflow.providers.dbt.cloud.triggers.dbt import DbtCloudRunJobTrigger

    use_plain_http()
    trigger: BaseTrigger = DbtCloudRunJobTrigger(
        conn_id="dbt_bench",
        run_id=int(build_id[-8:]),
        end_time=4e9,
        poll_interval=INTERVAL,
        account_id=1,
    )
    return trigger


def buildpixel_trigger(build_id: str, channel: str = "socketio") -> BaseTrigger:
    """Return this provider's trigger, with all features."""
    return BuildPixelBuildTrigger(
        build_id=build_id,
        buildpixel_conn_id="bench",
        channel=None if channel == "socketio" else channel,
        poll_interval=30.0 if channel == "socketio" else INTERVAL,
        deadline=4e9,
    )


def trigger_for(name: str, build_id: str) -> BaseTrigger:
    """Return an implementation's trigger for a build."""
    match name:
        case "event":
            return EventTrigger(build_id)
        case "bare":
            return BareTrigger(build_id)
        case "reading":
            return ReadingTrigger(build_id)
        case "dbt":
            return dbt_cloud_trigger(build_id)
        case "polling":
            return buildpixel_trigger(build_id, "polling")
        case _:
            return buildpixel_trigger(build_id)
