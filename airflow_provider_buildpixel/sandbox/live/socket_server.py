"""The live channel: Socket.IO connections and the rooms of builds."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import socketio
from engineio.packet import MESSAGE, NOOP, Packet
from engineio.payload import Payload
from socketio.exceptions import ConnectionRefusedError as ConnectRefused
from socketio.packet import EVENT
from socketio.packet import Packet as EventPacket

from airflow_provider_buildpixel.sandbox.world.errors import ApiError
from airflow_provider_buildpixel.sandbox.world.payloads import build_without_log, status_event

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiohttp import web

    from airflow_provider_buildpixel.sandbox.faults.registry import FaultRegistry
    from airflow_provider_buildpixel.sandbox.world.model import StoredBuild, Token
    from airflow_provider_buildpixel.sandbox.world.world import World

# The library's default of 16 loses joins of a polling client that joins more rooms at once.
Payload.max_decode_packets = 100_000

_SILENT = logging.getLogger(f"{__name__}.quiet")
_SILENT.setLevel(logging.CRITICAL)


class SocketServer:
    """All Socket.IO connections; used in the server's event loop only."""

    def __init__(
        self, world: World, faults: FaultRegistry, ping_interval: float, ping_timeout: float
    ) -> None:
        self._world = world
        self._faults = faults
        self._tokens: dict[str, Token] = {}
        self._rooms: dict[str, dict[str, None]] = {}
        self._joined: dict[str, set[str]] = {}
        self._closing: set[asyncio.Future[None]] = set()
        # Without a task for each event, events are handled in the order in which they arrive.
        self.server = socketio.AsyncServer(
            async_mode="aiohttp",
            async_handlers=False,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            logger=_SILENT,
            engineio_logger=_SILENT,
        )
        self.server.on("connect", self._connect)
        self.server.on("disconnect", self._disconnect)
        self.server.on("join:build", self._join)
        self.server.on("leave:build", self._leave)

    def attach(self, app: web.Application) -> None:
        """Add the Socket.IO route to an application."""
        self.server.attach(app)

    def __len__(self) -> int:
        return len(self._tokens)

    def joined(self, build_id: str) -> int:
        """Return the number of connections in a build's room."""
        return len(self._rooms.get(build_id, ()))

    def send(self, build_id: str, event: str, arguments: Iterable[Any]) -> None:
        """Send an event to a build's room; it is encoded once and queued without a task."""
        room = self._rooms.get(build_id)
        if room:
            packets = encoded(event, arguments)
            for sid in room:
                self._queue(sid, packets)

    async def disconnect(self, token: Token | None = None) -> None:
        """Disconnect the namespace of all connections, or of those with one token."""
        for sid, owner in list(self._tokens.items()):
            if token in {None, owner}:
                await self.server.disconnect(sid)

    def drop_polling(self) -> None:
        """Close the polling connections, so that the next request of each is rejected."""
        for connection in list(self.server.eio.sockets.values()):
            if not connection.upgraded:
                task = asyncio.ensure_future(self._drop(connection))
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)

    async def _drop(self, connection: Any) -> None:
        await connection.close(wait=False, abort=True)
        self.unblock_poll(connection)

    def polling_connection(self, eio_sid: str) -> Any:
        """Return the connection with this Engine.IO id, None if there is none."""
        return self.server.eio.sockets.get(eio_sid)

    def unblock_poll(self, connection: Any) -> None:
        """Answer a long poll that is still open on a connection that the client has closed.

        The library answers only at the next ping; the reference server answers at once.
        """
        if connection is not None and connection.closed and not connection.upgraded:
            connection.queue.put_nowait(Packet(NOOP))

    def _queue(self, sid: str, packets: list[Packet]) -> None:
        connection = self._connection(sid)
        if connection is not None:
            for packet in packets:
                connection.queue.put_nowait(packet)

    def _connection(self, sid: str) -> Any:
        eio_sid = self.server.manager.eio_sid_from_sid(sid, "/")
        return self.server.eio.sockets.get(eio_sid)

    async def _connect(self, sid: str, _environ: Any, auth: Any = None) -> None:
        if fault := self._faults.apply("connect", "*"):
            await asyncio.sleep(fault.params.get("delay", 1.5))
        secret = auth.get("token") if isinstance(auth, dict) else None
        try:
            self._tokens[sid] = self._world.authenticate(secret if isinstance(secret, str) else "")
        except ApiError as error:
            raise ConnectRefused(error.code) from error
        self._joined[sid] = set()

    def _disconnect(self, sid: str, _reason: Any = None) -> None:
        self._tokens.pop(sid, None)
        for build_id in self._joined.pop(sid, ()):
            self._leave_room(sid, build_id)

    def _leave(self, sid: str, data: Any = None) -> Any:
        build_id = _build_id(data)
        if build_id in self._joined.get(sid, ()):
            self._joined[sid].discard(build_id)
            self._leave_room(sid, build_id)
        return self.server.not_handled

    def _leave_room(self, sid: str, build_id: str) -> None:
        room = self._rooms[build_id]
        room.pop(sid, None)
        if not room:
            del self._rooms[build_id]

    async def _join(self, sid: str, data: Any = None) -> Any:
        if self._faults.apply("join", "join:build"):
            return self.server.not_handled
        try:
            build = self._world.build_for(self._tokens[sid], _build_id(data))
        except ApiError as error:
            return await self._reject_join(sid, error)
        self._rooms.setdefault(build.id, {})[sid] = None
        self._joined[sid].add(build.id)
        if self._world.variants.join_status == "sent":
            # After the acknowledgement, which is sent when this method returns.
            asyncio.get_running_loop().call_soon(self._send_status, sid, build)
        return self._acknowledgement(build)

    def _send_status(self, sid: str, build: StoredBuild) -> None:
        at = self._world.now()
        payload = status_event(self._world.variants, build, at, build.status)
        self._queue(sid, encoded("build:status", [payload]))

    def _acknowledgement(self, build: StoredBuild) -> Any:
        acknowledgements = {
            "none": self.server.not_handled,
            "true": True,
            "ok": "ok",
            "object": {"ok": True, "buildId": build.id},
            "empty": None,
        }
        choice = self._world.variants.join_answer
        if choice == "build":
            return build_without_log(self._world.variants, build, self._world.now())
        return acknowledgements[choice]

    async def _reject_join(self, sid: str, error: ApiError) -> Any:
        details = {"error": error.code, "message": str(error)}
        match self._world.variants.join_refusal:
            case "ack":
                return {"ok": False, **details}
            case "ack-false":
                return False
            case "disconnect":
                await self.server.disconnect(sid)
            case "error" | "build:error" | "exception" as event:
                self._queue(sid, encoded(event, [details]))
        return self.server.not_handled


def encoded(event: str, arguments: Iterable[Any]) -> list[Packet]:
    """Return an event as packets; an event with binary data has more than one."""
    packed = EventPacket(EVENT, data=[event, *arguments]).encode()
    return [
        Packet(MESSAGE, data=part) for part in (packed if isinstance(packed, list) else [packed])
    ]


def _build_id(data: Any) -> str:
    build_id = data.get("buildId") if isinstance(data, dict) else None
    return build_id if isinstance(build_id, str) else ""
