"""What is measured: our trigger, two floors, and dbt Cloud's trigger on the same work.

Each is a trigger whose ``run()`` is driven as Airflow's triggerer drives it.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import structlog
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_buildpixel.triggers.buildpixel import BuildPixelBuildTrigger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

INTERVAL = 10.0
"""Seconds between two polls, dbt Cloud's and ours alike."""

LINES = 0
"""Lines that went to the tasks' logs."""


class Counting:
    """A logger that counts lines instead of writing them; all contenders log to one."""

    def msg(self, *_: Any, **__: Any) -> None:
        """Count a line."""
        global LINES  # the logger is one for the process, as is the count
        LINES += 1

    log = debug = info = warning = warn = error = critical = exception = msg


def count_lines() -> None:
    """Let log lines be counted, so that what is measured is not Airflow's logging."""
    structlog.configure(
        processors=[lambda *_: ((), {})],
        logger_factory=lambda *_: Counting(),
        wrapper_class=structlog.make_filtering_bound_logger(20),
        cache_logger_on_first_use=True,
    )


class EventTrigger(BaseTrigger):
    """The least that a wait can be: one ``asyncio.Event``."""

    def __init__(self, build_id: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's
        self.event = asyncio.Event()
        self.build_id = build_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give nothing: it is never stored."""
        return "", {}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait."""
        await self.event.wait()
        yield TriggerEvent({"build_id": self.build_id})  # type: ignore[no-untyped-call]  # Airflow's


class BareTrigger(BaseTrigger):
    """One Socket.IO client for all, without a supervisor, a read, a log or a deadline."""

    client: Any = None
    opening: asyncio.Lock
    waiters: dict[str, asyncio.Future[str]]

    def __init__(self, build_id: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's
        self.build_id = build_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give nothing: it is never stored."""
        return "", {}

    @classmethod
    async def connected(cls) -> Any:
        """Give the client, connected."""
        import socketio

        async with cls.opening:
            if cls.client is None:
                client = socketio.AsyncClient(handle_sigint=False)
                client.on("build:status", cls.heard)
                await client.connect(
                    os.environ["BENCH_URL"], auth={"token": "bp_bench"}, transports=["websocket"]
                )
                cls.client = client
        return cls.client

    @classmethod
    def heard(cls, data: dict[str, Any]) -> None:
        """Take a status."""
        waiter = cls.waiters.get(data["buildId"])
        if waiter is not None and data["status"] == "complete":
            waiter.set_result(data["status"])

    async def read(self) -> None:
        """Read nothing."""

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Join, and believe what the socket says."""
        client = await self.connected()
        waiter = self.waiters[self.build_id] = asyncio.get_running_loop().create_future()
        await client.emit("join:build", {"buildId": self.build_id})
        await self.read()
        status = await waiter
        await client.emit("leave:build", {"buildId": self.build_id})
        event = {"build_id": self.build_id, "status": status}
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]  # Airflow's


class ReadingTrigger(BareTrigger):
    """The same with the read after the join that BuildPixel asks for, over one shared session."""

    session: Any = None
    reads = 0

    async def read(self) -> None:
        """Read the build once."""
        import aiohttp

        cls = type(self)
        if cls.session is None:
            cls.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=8))
        url = f"{os.environ['BENCH_URL']}/builds/{self.build_id}"
        async with cls.session.get(url) as answer:
            await answer.json()
        cls.reads += 1


def dbt(build_id: str) -> BaseTrigger:
    """Make dbt Cloud's trigger for a run; without TLS, as ours is measured without it."""
    from airflow.providers.dbt.cloud.hooks.dbt import DbtCloudHook
    from airflow.providers.dbt.cloud.triggers.dbt import DbtCloudRunJobTrigger

    def url(tenant: str, endpoint: str, *_: Any, **__: Any) -> tuple[str, dict[str, Any]]:
        return f"http://{tenant}/api/v2/accounts/{endpoint}", {}

    DbtCloudHook.get_request_url_params = staticmethod(url)  # its scheme is fixed to https
    trigger: BaseTrigger = DbtCloudRunJobTrigger(
        conn_id="dbt_bench",
        run_id=int(build_id[-8:]),
        end_time=4e9,
        poll_interval=INTERVAL,
        account_id=1,
    )
    return trigger


def ours(build_id: str, channel: str = "socketio") -> BaseTrigger:
    """Make our trigger, with everything on."""
    return BuildPixelBuildTrigger(
        build_id=build_id,
        buildpixel_conn_id="bench",
        channel=None if channel == "socketio" else channel,
        poll_interval=30.0 if channel == "socketio" else INTERVAL,
        deadline=4e9,
    )


def make(name: str, build_id: str) -> BaseTrigger:
    """Make a contender's trigger for a build."""
    match name:
        case "event":
            return EventTrigger(build_id)
        case "bare":
            return BareTrigger(build_id)
        case "reading":
            return ReadingTrigger(build_id)
        case "dbt":
            return dbt(build_id)
        case "polling":
            return ours(build_id, "polling")
        case _:
            return ours(build_id)
