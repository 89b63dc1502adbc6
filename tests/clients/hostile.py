"""A server that means harm: it speaks Engine.IO well enough to be let in, and then attacks."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import web

from airflow_provider_buildpixel.sandbox.background import LoopThread
from airflow_provider_buildpixel.sandbox.door import Door

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Iterator

HANDSHAKE: dict[str, Any] = {
    "sid": "s",
    "upgrades": [],
    "pingInterval": 25_000,
    "pingTimeout": 20_000,
}


class Hostile:
    """What the server does; it may be changed while it runs.

    :param attack: is called with each websocket that has joined a room.
    """

    def __init__(self) -> None:
        self.url = ""
        self.handshake = "0" + json.dumps(HANDSHAKE)
        self.build: Any = {"id": "b", "status": "running"}
        self.attack: Callable[[web.WebSocketResponse], Awaitable[None]] | None = None
        self.reads = self.connections = self.joined = self.attacked = 0

    async def serve_build(self, _: web.Request) -> web.StreamResponse:
        """Answer a read."""
        self.reads += 1
        body = self.build if isinstance(self.build, bytes) else json.dumps(self.build).encode()
        return web.Response(body=body, content_type="application/json")

    async def serve_socket(self, request: web.Request) -> web.StreamResponse:
        """Let a client in, and attack once it has joined a room; no polling is to be had."""
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
def hostile(context: ssl.SSLContext | None = None) -> Iterator[Hostile]:
    """Run such a server on a loop and a port of its own."""
    server, thread = Hostile(), LoopThread("hostile")
    app = web.Application()
    app.router.add_get("/builds", server.serve_build)
    app.router.add_get("/builds/{id}", server.serve_build)
    app.router.add_get("/socket.io/", server.serve_socket)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    door = Door(runner, "127.0.0.1", 0, context)

    async def start() -> None:
        await runner.setup()
        await door.open()

    async def stop() -> None:
        await door.leave()
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
