"""A service that runs one job, as dbt Cloud and as Databricks, with the sandbox's own faults.

It answers the one route of each that its trigger reads. The trouble is the very code of the
sandbox, so that all triggers are struck alike.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Self

from aiohttp import web

from airflow_provider_buildpixel.sandbox import Plan, Variants
from airflow_provider_buildpixel.sandbox.answers import Answer
from airflow_provider_buildpixel.sandbox.background import LoopThread
from airflow_provider_buildpixel.sandbox.clock import Clock
from airflow_provider_buildpixel.sandbox.door import Door
from airflow_provider_buildpixel.sandbox.faults import Faults
from airflow_provider_buildpixel.sandbox.trouble import disturbed
from airflow_provider_buildpixel.sandbox.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.typedefs import Handler

    from airflow_provider_buildpixel.sandbox.faults import Fault

ROUTE = "GET /builds/:id"
"""The name under which faults are ordered here."""

SUCCESS, RUNNING = 10, 3


def dbt_cloud(*, done: bool) -> dict[str, object]:
    """Give a run as dbt Cloud does."""
    return {"data": {"id": 1, "status": SUCCESS if done else RUNNING}}


def databricks(*, done: bool) -> dict[str, object]:
    """Give a run as Databricks does."""
    if not done:
        return {"run_id": 1, "state": {"life_cycle_state": "RUNNING", "state_message": ""}}
    state = {"life_cycle_state": "TERMINATED", "result_state": "SUCCESS", "state_message": ""}
    return {"run_id": 1, "state": state, "tasks": []}


class Fake:
    """One run on one port."""

    def __init__(self) -> None:
        self.requests = 0
        self._done_at = float("inf")
        self._faults = Faults()
        self._world = World(Clock(), Variants(), Plan())
        self._thread = LoopThread("fake")
        self._door: Door

    def __enter__(self) -> Self:
        self._thread.start()
        self._thread.call(self._open())
        self._faults.on_change = lambda: self._thread.call(self._obey())
        return self

    def __exit__(self, *_: object) -> None:
        self._faults.on_change = lambda: None
        self._faults.heal()
        self._thread.call(self._close())
        self._thread.stop()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return "127.0.0.1", self._door.port

    @property
    def read_requested(self) -> bool:
        """Whether the wait has begun."""
        return self.requests > 0

    def finish(self) -> None:
        """Let the run end well."""
        self._done_at = time.monotonic()

    def fault(self, name: str, **params: object) -> Fault:
        """Order trouble."""
        return self._faults.add(name, ROUTE, **params)  # type: ignore[arg-type]

    async def _open(self) -> None:
        app = web.Application()
        app.router.add_get("/api/v2/accounts/{account}/runs/{run}/", self._serving(dbt_cloud))
        app.router.add_get("/api/{version}/jobs/runs/get", self._serving(databricks))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        self._door = Door(self._runner, "127.0.0.1", 0)
        await self._door.open()

    async def _close(self) -> None:
        await self._door.leave()
        await self._runner.cleanup()

    async def _obey(self) -> None:
        if self._faults.active("refuse-connections"):
            await self._door.shut()
        else:
            await self._door.open()

    def _serving(self, body: Callable[..., dict[str, object]]) -> Handler:
        return partial(self._serve, body)

    async def _serve(
        self, body: Callable[..., dict[str, object]], request: web.Request
    ) -> web.StreamResponse:
        self.requests += 1

        async def carry_out(lag: float) -> Answer:
            return Answer(200, body(done=time.monotonic() - lag >= self._done_at))

        async def proceed() -> web.StreamResponse:
            return _render(await carry_out(0.0))

        fault = self._faults.strike("http", ROUTE)
        return await disturbed(fault, request, carry_out, _render, proceed, self._world)


def _render(answer: Answer) -> web.Response:
    return web.json_response(answer.body, status=answer.status, headers=answer.headers)
