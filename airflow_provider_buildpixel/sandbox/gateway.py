"""What stands before the sockets: their faults, their records, and the power to cut them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

from airflow_provider_buildpixel.sandbox.records import SOCKETS, recorded
from airflow_provider_buildpixel.sandbox.trouble import cut, linger

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler, Middleware

    from airflow_provider_buildpixel.sandbox.faults import Fault, Faults
    from airflow_provider_buildpixel.sandbox.records import Records
    from airflow_provider_buildpixel.sandbox.sockets import Sockets

PREFIX = "/socket.io/"


class Gateway:
    """Sees every request to the live channel before it does."""

    def __init__(self, faults: Faults, records: Records, sockets: Sockets) -> None:
        """Take the faults to obey and the sockets behind it."""
        self._faults, self._records, self._sockets = faults, records, sockets
        self._passing: dict[int, web.Request] = {}

    def middleware(self) -> Middleware:
        """Return this as a middleware of an application."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._guard(request, handler)

        return guard

    def drop(self) -> None:
        """Cut all connections of the live channel."""
        for request in list(self._passing.values()):
            cut(request)
        self._sockets.forget_polling()

    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.path.startswith(PREFIX):
            return await handler(request)
        place = self._records.open(recorded(request, SOCKETS))
        self._passing[place] = request
        connection = self._sockets.polling(request.query.get("sid", ""))
        try:
            response = await self._through(request, handler)
        finally:
            del self._passing[place]
            self._sockets.release(connection)
        self._records.close(place, response.status)
        return response

    async def _through(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        websocket = request.headers.get("Upgrade", "").lower() == "websocket"
        fault = self._strike(websocket=websocket, new="sid" not in request.query)
        if fault is None:
            return await handler(request)
        match fault.name:
            case "sockets-hang":
                return await _silence(request, fault, websocket=websocket)
            case "sockets-closed":
                return await _closed(request)
            case "sockets-dropped":
                self._drop_later(request, fault.params.get("delay", 0.1), websocket=websocket)
                return await handler(request)
            case _:
                return web.Response(status=fault.params.get("status", 403), text="Forbidden")

    def _strike(self, *, websocket: bool, new: bool) -> Fault | None:
        if websocket:
            return self._faults.strike("socket", "*")
        if self._faults.active("sockets-blocked-polling-ok"):
            return None
        if new or self._faults.active("sockets-refused"):
            return self._faults.strike("socket", "*")
        return None

    def _drop_later(self, request: web.Request, delay: float, *, websocket: bool) -> None:
        loop = asyncio.get_running_loop()
        if websocket:
            loop.call_later(delay, cut, request)
        else:
            loop.call_later(delay, self._sockets.forget_polling)


async def _silence(request: web.Request, fault: Fault, *, websocket: bool) -> web.StreamResponse:
    if not websocket:
        await linger(request, fault, None)
        return cut(request)
    response = web.WebSocketResponse()
    await response.prepare(request)
    await linger(request, fault, None)
    cut(request)
    return response


async def _closed(request: web.Request) -> web.StreamResponse:
    response = web.WebSocketResponse()
    await response.prepare(request)
    await response.close()
    return response
