"""A listening socket that can really be closed and opened again on the same port."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import web

_BACKLOG = 1024


class Door:
    """A port of the server; while it is shut, connections are refused and the port stays ours."""

    def __init__(self, runner: web.AppRunner, host: str, port: int) -> None:
        """Take the port; `open` starts to listen on it."""
        self._runner = runner
        self._host = host
        # Bound but never listening: nobody else gets the port while the door is shut.
        self.port = _free(host, port)
        self._keeper = _bound(host, self.port)
        self._listener: asyncio.Server | None = None

    @property
    def is_open(self) -> bool:
        """Say whether connections are accepted."""
        return self._listener is not None

    async def open(self) -> None:
        """Accept connections."""
        if self._listener is None:
            if self._runner.server is None:
                raise RuntimeError("the runner was not set up")
            loop = asyncio.get_running_loop()
            listening = _bound(self._host, self.port)
            self._listener = await loop.create_server(
                self._runner.server, sock=listening, backlog=_BACKLOG
            )

    def shut(self) -> None:
        """Refuse connections and cut those that there are."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self.cut()

    def cut(self) -> None:
        """Cut all connections."""
        server = self._runner.server
        for connection in list(server.connections if server else ()):
            if connection.transport is not None:
                connection.transport.abort()

    def leave(self) -> None:
        """Give the port back."""
        self.shut()
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
