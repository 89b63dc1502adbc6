"""The python-socketio client of the asyncio channel: what it changes, and how it is closed."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, NoReturn

import aiohttp
import engineio
import socketio
from engineio import packet

from airflow_provider_buildpixel.channel.socketio_options import (
    CLOSE_POST,
    CLOSE_TIMEOUT,
    CONNECT_ERRORS,
    KEEPALIVE,
    MAX_PINGS,
    ConnectResult,
    clamp_ping_times,
    release_client,
)

ERRORS = (*CONNECT_ERRORS, aiohttp.ClientError)

YIELD_EVERY_PACKETS = 50
"""Packets handled before the event loop may run other tasks: a server may send without a pause."""


class AsyncConnectResult(ConnectResult):
    """Stores the websocket of the attempt, too."""

    websocket: aiohttp.ClientWebSocketResponse | None = None

    def open_websocket(self, *args: Any, **kwargs: Any) -> aiohttp.ClientWebSocketResponse:
        """Return the websocket; called in place of aiohttp's own class."""
        self.websocket = aiohttp.ClientWebSocketResponse(*args, **kwargs)
        connection = self.websocket.get_extra_info("socket")
        for option in KEEPALIVE if connection is not None else ():
            with suppress(OSError):  # the connection has just been lost
                connection.setsockopt(*option)
        return self.websocket


class _AsyncEngine(engineio.AsyncClient):  # type: ignore[misc]  # it has no types
    """Yields to other tasks of the event loop while packets keep coming."""

    _packets = 0

    async def _receive_packet(self, pkt: packet.Packet) -> None:
        self._packets += 1
        if self._packets % YIELD_EVERY_PACKETS == 0:
            await asyncio.sleep(0)
        if pkt.packet_type == packet.PING and self.queue.qsize() > MAX_PINGS:
            await self.queue.put(None)  # as the library itself ends a connection
            return
        await super()._receive_packet(pkt)

    async def _trigger_event(self, event: str, *args: Any, **kwargs: Any) -> Any:
        if event == "connect":
            clamp_ping_times(self)
        return await super()._trigger_event(event, *args, **kwargs)


class AsyncSocketClient(socketio.AsyncClient):  # type: ignore[misc]
    """A Socket.IO client that uses our Engine.IO client."""

    def _engineio_client_class(self) -> type[engineio.AsyncClient]:
        return _AsyncEngine


async def close_client(
    client: socketio.AsyncClient, websocket: aiohttp.ClientWebSocketResponse | None
) -> None:
    """Close a connection in any state, whatever the peer does, and its session.

    :param websocket: of the attempt; the library forgets it when its handshake fails.
    """
    session = client.eio.http
    try:
        with suppress(*ERRORS):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                if client.eio.state == "connected" and client.eio.current_transport == "polling":
                    await _send_close_packet(client.eio)
                await client.disconnect()
                if websocket is not None:
                    await websocket.close()
    finally:
        release_client(client.eio)
        client.eio.http = _CLOSED_SESSION
        if session is not None and not session.closed:
            await session.close()


async def _refuse_request(*_: Any, **__: Any) -> NoReturn:
    raise aiohttp.ClientConnectionError("the connection was closed")


_CLOSED_SESSION = SimpleNamespace(
    closed=False, get=_refuse_request, post=_refuse_request, ws_connect=_refuse_request
)
"""Replaces a closed session: the library would open one of its own for a late packet."""


async def _send_close_packet(engine: Any) -> None:
    """End a long-polling connection: at the end of a loop the library's own tasks cannot."""
    async with engine.http.post(engine.base_url, **CLOSE_POST):
        pass
