"""A listening socket that can be closed and opened again on the same port."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

    from aiohttp import web

_BACKLOG = 1024

_LOOP_ITERATIONS = 4
"""Iterations of the event loop until an accepted connection is registered; it takes three."""


class Listener:
    """A port of the server; while it is closed, connections are refused and the port is kept.

    The port is reserved at once; `open` starts to listen on it.

    :param runner: serves the connections.
    :param host: the address to listen on.
    :param port: the port; 0 for a free one.
    :param context: for TLS.
    """

    def __init__(
        self, runner: web.AppRunner, host: str, port: int, context: ssl.SSLContext | None = None
    ) -> None:
        self._runner = runner
        self._host = host
        self._context = context
        # Bound but never listening: no other process gets the port while the listener is closed.
        self.port = _free_port(host, port)
        self._reservation = _bound_socket(host, self.port)
        self._open: tuple[asyncio.Server, socket.socket] | None = None

    async def open(self) -> None:
        """Accept connections."""
        if self._open is None:
            if self._runner.server is None:
                raise RuntimeError("the runner was not set up")
            loop = asyncio.get_running_loop()
            listening = _bound_socket(self._host, self.port)
            server = await loop.create_server(
                self._runner.server, sock=listening, backlog=_BACKLOG, ssl=self._context
            )
            self._open = server, listening

    async def close(self) -> None:
        """Refuse connections, and drop all that exist, including those being accepted."""
        if self._open is not None:
            (server, listening), self._open = self._open, None
            # asyncio loses a connection that was accepted but not yet registered when its server
            # closes. So first stop accepting, and let the accepted connections be registered.
            asyncio.get_running_loop().remove_reader(listening)
            for _ in range(_LOOP_ITERATIONS):
                await asyncio.sleep(0)
            server.close()
        self.drop_connections()

    def drop_connections(self) -> None:
        """Abort all connections."""
        server = self._runner.server
        for connection in list(server.connections if server else ()):
            if connection.transport is not None:
                connection.transport.abort()

    async def release_port(self) -> None:
        """Close the listener and give up the port."""
        await self.close()
        self._reservation.close()


def _free_port(host: str, port: int) -> int:
    """Return the port, or a free one for 0.

    :raises OSError: if the port is in use, even by another sandbox.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        found: int = probe.getsockname()[1]
        return found


def _bound_socket(host: str, port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound
