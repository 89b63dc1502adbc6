"""A service with one run, in the formats of dbt Cloud and Databricks, with the sandbox's faults.

It has the one route of each that the trigger reads. The faults are the sandbox's own code, so all
triggers meet the same faults.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Self

from aiohttp import web

from airflow_provider_buildpixel.sandbox import Plan, Variants
from airflow_provider_buildpixel.sandbox.faults.http_faults import respond_with_fault
from airflow_provider_buildpixel.sandbox.faults.registry import FaultRegistry
from airflow_provider_buildpixel.sandbox.rest.messages import ApiResponse
from airflow_provider_buildpixel.sandbox.server.listener import Listener
from airflow_provider_buildpixel.sandbox.server.loop_thread import LoopThread
from airflow_provider_buildpixel.sandbox.world.clock import Clock
from airflow_provider_buildpixel.sandbox.world.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.typedefs import Handler

    from airflow_provider_buildpixel.sandbox.faults.registry import Fault

ROUTE = "GET /builds/:id"
"""The route name under which faults are injected."""

SUCCESS, RUNNING = 10, 3


def dbt_cloud_run(*, done: bool) -> dict[str, object]:
    """Return a run in the format of dbt Cloud."""
    return {"data": {"id": 1, "status": SUCCESS if done else RUNNING}}


def databricks_run(*, done: bool) -> dict[str, object]:
    """Return a run in the format of Databricks."""
    if not done:
        return {"run_id": 1, "state": {"life_cycle_state": "RUNNING", "state_message": ""}}
    state = {"life_cycle_state": "TERMINATED", "result_state": "SUCCESS", "state_message": ""}
    return {"run_id": 1, "state": state, "tasks": []}


class FakeService:
    """One run on one port."""

    def __init__(self) -> None:
        self.requests = 0
        self._done_at = float("inf")
        self._faults = FaultRegistry()
        self._world = World(Clock(), Variants(), Plan())
        self._thread = LoopThread("fake-service")
        self._listener: Listener

    def __enter__(self) -> Self:
        self._thread.start()
        self._thread.call(self._open())
        self._faults.on_change = lambda: self._thread.call(self._apply_outage())
        return self

    def __exit__(self, *_: object) -> None:
        self._faults.on_change = lambda: None
        self._faults.heal()
        self._thread.call(self._close())
        self._thread.stop()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return "127.0.0.1", self._listener.port

    @property
    def read_requested(self) -> bool:
        """Whether a client has sent its first request."""
        return self.requests > 0

    def finish(self) -> None:
        """End the run successfully."""
        self._done_at = time.monotonic()

    def fault(self, name: str, **params: object) -> Fault:
        """Inject a fault."""
        return self._faults.add(name, ROUTE, **params)  # type: ignore[arg-type]

    async def _open(self) -> None:
        app = web.Application()
        app.router.add_get("/api/v2/accounts/{account}/runs/{run}/", self._handler(dbt_cloud_run))
        app.router.add_get("/api/{version}/jobs/runs/get", self._handler(databricks_run))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        self._listener = Listener(self._runner, "127.0.0.1", 0)
        await self._listener.open()

    async def _close(self) -> None:
        await self._listener.release_port()
        await self._runner.cleanup()

    async def _apply_outage(self) -> None:
        if self._faults.active("refuse-connections"):
            await self._listener.close()
        else:
            await self._listener.open()

    def _handler(self, body: Callable[..., dict[str, object]]) -> Handler:
        return partial(self._serve, body)

    async def _serve(
        self, body: Callable[..., dict[str, object]], request: web.Request
    ) -> web.StreamResponse:
        self.requests += 1

        async def carry_out(lag: float) -> ApiResponse:
            return ApiResponse(200, body(done=time.monotonic() - lag >= self._done_at))

        async def proceed() -> web.StreamResponse:
            return _web_response(await carry_out(0.0))

        fault = self._faults.apply("http", ROUTE)
        return await respond_with_fault(
            fault, request, carry_out, _web_response, proceed, self._world
        )


def _web_response(response: ApiResponse) -> web.Response:
    return web.json_response(response.body, status=response.status, headers=response.headers)
