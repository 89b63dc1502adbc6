"""A server that means harm: it speaks Engine.IO well enough to be let in, and then attacks."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from aiohttp import web

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
        self.transports: WeakSet[asyncio.Transport] = WeakSet()
        self.reads = self.connections = self.joined = self.attacked = 0

    async def serve_build(self, request: web.Request) -> web.StreamResponse:
        """Answer a read."""
        self._note(request)
        self.reads += 1
        body = self.build if isinstance(self.build, bytes) else json.dumps(self.build).encode()
        return web.Response(body=body, content_type="application/json")

    async def serve_socket(self, request: web.Request) -> web.StreamResponse:
        """Let a client in, and attack once it has joined a room; no polling is to be had."""
        self._note(request)
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

    def _note(self, request: web.Request) -> None:
        if request.transport is not None:
            self.transports.add(request.transport)

    async def abort(self) -> None:
        """Cut all connections, which else might outlive the loop, and let that take effect."""
        for transport in tuple(self.transports):
            transport.abort()
        await asyncio.sleep(0.01)

    async def _attack(self, socket: web.WebSocketResponse) -> None:
        if self.attack is not None:
            try:
                await self.attack(socket)
            finally:
                self.attacked += 1


@contextmanager
def hostile(context: ssl.SSLContext | None = None) -> Iterator[Hostile]:
    """Run such a server on a loop and a port of its own."""
    server, loop = Hostile(), asyncio.new_event_loop()
    app = web.Application()
    app.router.add_get("/builds", server.serve_build)
    app.router.add_get("/builds/{id}", server.serve_build)
    app.router.add_get("/socket.io/", server.serve_socket)
    runner = web.AppRunner(app, shutdown_timeout=0.1)

    async def start() -> None:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        host, port = runner.addresses[0][:2]
        server.url = f"{'https' if context else 'http'}://{host}:{port}"

    thread = threading.Thread(target=loop.run_forever, name="hostile")
    thread.start()
    asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        asyncio.run_coroutine_threadsafe(server.abort(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
