"""A hostile server: it accepts an Engine.IO connection, and then attacks the client."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import web

from airflow_provider_buildpixel.sandbox.server.listener import Listener
from airflow_provider_buildpixel.sandbox.server.loop_thread import LoopThread

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Iterator

HANDSHAKE: dict[str, Any] = {
    "sid": "s",
    "upgrades": [],
    "pingInterval": 25_000,
    "pingTimeout": 20_000,
}


class HostileServer:
    """The behaviour and the counters of the server; both may change while it runs.

    ``attack`` is called with each websocket that has joined a room.
    """

    def __init__(self) -> None:
        self.url = ""
        self.handshake = "0" + json.dumps(HANDSHAKE)
        self.build: Any = {"id": "b", "status": "running"}
        self.attack: Callable[[web.WebSocketResponse], Awaitable[None]] | None = None
        self.reads = self.connections = self.joined = self.attacked = 0

    async def serve_build(self, _: web.Request) -> web.StreamResponse:
        """Answer a read over REST."""
        self.reads += 1
        body = self.build if isinstance(self.build, bytes) else json.dumps(self.build).encode()
        return web.Response(body=body, content_type="application/json")

    async def serve_socket(self, request: web.Request) -> web.StreamResponse:
        """Accept a websocket, and attack once it has joined a room; long-polling is refused."""
        socket = web.WebSocketResponse(max_msg_size=0)
        if not socket.can_prepare(request).ok:
            raise web.HTTPNotFound
        await socket.prepare(request)
        self.connections += 1
        await socket.send_str(self.handshake)
        async for message in socket:
            if str(message.data).startswith("40"):
                await socket.send_str('40{"sid":"x"}')
            elif str(message.data).startswith("42"):
                self.joined += 1
                await self._attack(socket)
        return socket

    async def _attack(self, socket: web.WebSocketResponse) -> None:
        if self.attack is not None:
            try:
                await self.attack(socket)
            finally:
                self.attacked += 1


@contextmanager
def hostile_server(context: ssl.SSLContext | None = None) -> Iterator[HostileServer]:
    """Run a hostile server on a free port, with its own event loop.

    :param context: for TLS.
    """
    server, thread = HostileServer(), LoopThread("hostile-server")
    app = web.Application()
    app.router.add_get("/builds", server.serve_build)
    app.router.add_get("/builds/{id}", server.serve_build)
    app.router.add_get("/socket.io/", server.serve_socket)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    door = Listener(runner, "127.0.0.1", 0, context)

    async def start() -> None:
        await runner.setup()
        await door.open()

    async def stop() -> None:
        await door.release_port()
        await runner.cleanup()

    server.url = f"{'https' if context else 'http'}://127.0.0.1:{door.port}"
    thread.start()
    try:
        thread.call(start())
        try:
            yield server
        finally:
            thread.call(stop())
    finally:
        thread.stop()
