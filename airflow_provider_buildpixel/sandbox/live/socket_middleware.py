"""Handles requests to the live channel before Socket.IO does: log, faults, dropped connections."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

from airflow_provider_buildpixel.sandbox.faults.http_faults import (
    close_connection,
    wait_for_removal,
)
from airflow_provider_buildpixel.sandbox.request_log import SOCKETS, logged_request

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler, Middleware

    from airflow_provider_buildpixel.sandbox.faults.registry import Fault, FaultRegistry
    from airflow_provider_buildpixel.sandbox.live.socket_server import SocketServer
    from airflow_provider_buildpixel.sandbox.request_log import RequestLog

PREFIX = "/socket.io/"


class SocketMiddleware:
    """Logs each request to the live channel, and applies faults to it."""

    def __init__(self, faults: FaultRegistry, log: RequestLog, sockets: SocketServer) -> None:
        self._faults, self._log, self._sockets = faults, log, sockets
        self._in_progress: dict[int, web.Request] = {}

    def middleware(self) -> Middleware:
        """Return the middleware for an application."""

        @web.middleware
        async def handle(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._handle(request, handler)

        return handle

    def drop(self) -> None:
        """Drop all connections of the live channel."""
        for request in list(self._in_progress.values()):
            close_connection(request)
        self._sockets.drop_polling()

    async def _handle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.path.startswith(PREFIX):
            return await handler(request)
        number = self._log.add(logged_request(request, SOCKETS))
        self._in_progress[number] = request
        connection = self._sockets.polling_connection(request.query.get("sid", ""))
        try:
            response = await self._respond(request, handler)
        finally:
            del self._in_progress[number]
            self._sockets.unblock_poll(connection)
        self._log.set_status(number, response.status)
        return response

    async def _respond(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        websocket = request.headers.get("Upgrade", "").lower() == "websocket"
        fault = self._fault(websocket=websocket, new="sid" not in request.query)
        if fault is None:
            return await handler(request)
        match fault.name:
            case "sockets-hang":
                return await _hang(request, fault, websocket=websocket)
            case "sockets-closed":
                return await _close_websocket(request)
            case "sockets-dropped":
                self._drop_later(request, fault.params.get("delay", 0.1), websocket=websocket)
                return await handler(request)
            case _:
                return web.Response(status=fault.params.get("status", 403), text="Forbidden")

    def _fault(self, *, websocket: bool, new: bool) -> Fault | None:
        if websocket:
            return self._faults.apply("socket", "*")
        if self._faults.active("sockets-blocked-polling-ok"):
            return None
        if new or self._faults.active("sockets-refused"):
            return self._faults.apply("socket", "*")
        return None

    def _drop_later(self, request: web.Request, delay: float, *, websocket: bool) -> None:
        loop = asyncio.get_running_loop()
        if websocket:
            loop.call_later(delay, close_connection, request)
        else:
            loop.call_later(delay, self._sockets.drop_polling)


async def _hang(request: web.Request, fault: Fault, *, websocket: bool) -> web.StreamResponse:
    if not websocket:
        await wait_for_removal(request, fault, None)
        return close_connection(request)
    response = web.WebSocketResponse()
    await response.prepare(request)
    await wait_for_removal(request, fault, None)
    close_connection(request)
    return response


async def _close_websocket(request: web.Request) -> web.StreamResponse:
    response = web.WebSocketResponse()
    await response.prepare(request)
    await response.close()
    return response
