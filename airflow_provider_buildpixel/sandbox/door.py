"""A listening socket that can really be closed and opened again on the same port."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

    from aiohttp import web

_BACKLOG = 1024

_TURNS = 4
"""Turns of the loop after which a connection that it has accepted is known; it takes three."""


class Door:
    """A port of the server; while it is shut, connections are refused and the port stays ours.

    :param runner: answers what comes in.
    :param host: the address to listen on.
    :param port: the port; 0 for any that is free.
    :param context: for TLS.
    """

    def __init__(
        self, runner: web.AppRunner, host: str, port: int, context: ssl.SSLContext | None = None
    ) -> None:
        """Take the port; `open` starts to listen on it."""
        self._runner = runner
        self._host = host
        self._context = context
        # Bound but never listening: nobody else gets the port while the door is shut.
        self.port = _free(host, port)
        self._keeper = _bound(host, self.port)
        self._open: tuple[asyncio.Server, socket.socket] | None = None

    async def open(self) -> None:
        """Accept connections."""
        if self._open is None:
            if self._runner.server is None:
                raise RuntimeError("the runner was not set up")
            loop = asyncio.get_running_loop()
            listening = _bound(self._host, self.port)
            listener = await loop.create_server(
                self._runner.server, sock=listening, backlog=_BACKLOG, ssl=self._context
            )
            self._open = listener, listening

    async def shut(self) -> None:
        """Refuse connections and cut those that there are, also one that is just coming."""
        if self._open is not None:
            (listener, listening), self._open = self._open, None
            # asyncio loses a connection that was accepted and is not yet made when its server
            # closes. So accept no more first, and let what was accepted become known.
            asyncio.get_running_loop().remove_reader(listening)
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            listener.close()
        self.cut()

    def cut(self) -> None:
        """Cut all connections."""
        server = self._runner.server
        for connection in list(server.connections if server else ()):
            if connection.transport is not None:
                connection.transport.abort()

    async def leave(self) -> None:
        """Give the port back."""
        await self.shut()
        self._keeper.close()


def _free(host: str, port: int) -> int:
    """Return the port, or a free one for 0; fails if someone has it, be it a sandbox."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        found: int = probe.getsockname()[1]
        return found


def _bound(host: str, port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound
