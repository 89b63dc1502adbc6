"""The live channel of one event loop: many builds over one socket."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import aiohttp
import engineio
import socketio
from engineio import packet

from airflow_provider_buildpixel.api.aio import create_detached_task, new_session, ssl_context
from airflow_provider_buildpixel.channel import events, reconnect
from airflow_provider_buildpixel.channel.socketio_options import (
    CLOSE_TIMEOUT,
    CONNECT_ERRORS,
    CONNECT_TIMEOUT,
    KEEPALIVE,
    MAX_MESSAGE,
    MAX_PINGS,
    OPTIONS,
    PLAIN_TEXT,
    ConnectResult,
    clamp_ping_times,
    release_client,
    socketio_path,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.api.settings import Settings
    from airflow_provider_buildpixel.channel.metrics import Metrics


ERRORS = (*CONNECT_ERRORS, aiohttp.ClientError)
JOINS_AT_ONCE = {reconnect.WEBSOCKET: (100, 0.0), reconnect.LONG_POLLING: (10, 0.05)}
"""Rooms joined before the loop gets a turn, and its length: long posts of packets get lost."""

YIELD_EVERY = 100
"""Waits that are told of a loss before the loop gets a turn."""

PACKETS_AT_ONCE = 50
"""Packets after which the loop gets a turn: a server may send them faster than they are read."""

UNEXPECTED_ERROR_PAUSE = 60.0
"""Seconds before the channel is tried again after an error that nobody foresaw."""


class _AsyncConnectResult(ConnectResult):
    """Keeps the attempt's websocket at hand, too."""

    websocket: aiohttp.ClientWebSocketResponse | None = None

    def open_websocket(self, *given: Any, **named: Any) -> aiohttp.ClientWebSocketResponse:
        self.websocket = aiohttp.ClientWebSocketResponse(*given, **named)
        connection = self.websocket.get_extra_info("socket")
        for option in KEEPALIVE if connection is not None else ():
            with suppress(OSError):  # of a connection that has just been lost
                connection.setsockopt(*option)
        return self.websocket


class _AsyncEngine(engineio.AsyncClient):  # type: ignore[misc]  # theirs has no types
    """Takes packets no faster than the loop's other tasks can bear."""

    _taken = 0

    async def _receive_packet(self, pkt: packet.Packet) -> None:
        self._taken += 1
        if self._taken % PACKETS_AT_ONCE == 0:
            await asyncio.sleep(0)
        if pkt.packet_type == packet.PING and self.queue.qsize() > MAX_PINGS:
            await self.queue.put(None)  # its own way to end a connection
            return
        await super()._receive_packet(pkt)

    async def _trigger_event(self, event: str, *args: Any, **kwargs: Any) -> Any:
        if event == "connect":
            clamp_ping_times(self)
        return await super()._trigger_event(event, *args, **kwargs)


class _AsyncSocketClient(socketio.AsyncClient):  # type: ignore[misc]
    def _engineio_client_class(self) -> type[engineio.AsyncClient]:
        return _AsyncEngine


class Listeners(Protocol):
    """Who listens to which build."""

    def __contains__(self, build_id: object) -> bool: ...

    def builds(self) -> list[str]:
        """Return the ids of all builds that somebody listens to."""

    def publish(self, build_id: str, event: events.Event) -> None:
        """Give an event to everybody who listens to a build."""

    def over_rate_limit(self, build_id: str) -> bool:
        """Return whether an info line of a build exceeds the rate limit; count it as dropped."""


class AsyncChannel:
    """One Socket.IO connection for all builds of a token, held up by a supervising task.

    It decides nothing: when and how to come back says :class:`reconnect.ReconnectPolicy`.
    """

    def __init__(
        self,
        settings: Settings,
        listeners: Listeners,
        metrics: Metrics,
        *,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._listeners = listeners
        self._metrics = metrics
        self._jitter = jitter
        self._socket: socketio.AsyncClient | None = None
        self._lost: events.Disconnected | None = None
        self._down = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._transport = reconnect.WEBSOCKET
        self._outbox: deque[tuple[str, str]] = deque()
        self._sender: asyncio.Task[None] | None = None

    def subscribe(self, build_id: str, put: Callable[[events.Event], None], *, first: bool) -> None:
        """Begin to listen to a build; the first subscription opens the connection.

        :param put: takes what the subscriber has to know at once.
        :param first: whether nobody listens to this build yet.
        """
        if self._task is None:
            self._metrics.up = False
            self._start(0.0)
        elif self._socket is not None and first:
            self._send("join:build", build_id)
        elif self._socket is not None:
            put(events.Joined())
        elif self._lost is not None:
            put(self._lost)

    def unsubscribe(self, build_id: str) -> None:
        """Stop listening to a build for which nobody waits any more."""
        if self._socket is not None:
            self._send("leave:build", build_id)

    async def close(self) -> None:
        """End the connection and its task."""
        task, self._task = self._task, None
        tasks = [ending for ending in (task, self._sender) if ending is not None]
        for ending in tasks:
            if not ending.cancelling():  # a loop that ends has done so: twice cuts its end short
                ending.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _join(self, build_id: str) -> None:
        if await self._emit("join:build", build_id):
            self._listeners.publish(build_id, events.Joined())

    async def _emit(self, event: str, build_id: str) -> bool:
        """Emit, if there is a connection; one that falls meanwhile is the supervisor's affair."""
        if self._socket is None:
            return False
        try:
            await self._socket.emit(event, {"buildId": build_id})
        except ERRORS:
            return False
        return True

    def _send(self, event: str, build_id: str) -> None:
        """Join or leave a room soon, in the order of the calls."""
        self._outbox.append((event, build_id))
        if self._sender is None or self._sender.done():
            self._sender = create_detached_task(self._empty_outbox())

    async def _empty_outbox(self) -> None:
        many, turn = JOINS_AT_ONCE[self._transport]
        while self._outbox:
            for _ in range(min(many, len(self._outbox))):
                event, build_id = self._outbox.popleft()
                if event == "leave:build":
                    await self._emit(event, build_id)
                elif build_id in self._listeners:
                    await self._join(build_id)
            await asyncio.sleep(turn)

    def _start(self, pause: float) -> None:
        self._task = create_detached_task(self._supervise(pause))
        self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Start again after an error that nobody foresaw; the loop's handler logs it."""
        if self._task is not task or task.cancelled():
            return
        create_detached_task(self._fell(events.Disconnected("an unexpected error")))
        self._start(UNEXPECTED_ERROR_PAUSE)
        context = {"message": "BuildPixel's live channel", "exception": task.exception()}
        task.get_loop().call_exception_handler(context)

    async def _supervise(self, pause: float) -> None:
        policy = reconnect.ReconnectPolicy()
        while True:
            await asyncio.sleep(pause)
            pause = await self._attempt(policy)
            _raise_if_cancelled()

    async def _attempt(self, policy: reconnect.ReconnectPolicy) -> float:
        """Hold one connection from its start to its end; give the pause before the next."""
        outcome = _AsyncConnectResult()
        client = await self._client(outcome)
        self._down.clear()
        try:
            await self._connect(client, policy.transport)
            policy.connected()
            since = time.monotonic()
            await self._join_all(policy.transport)
            await self._down.wait()
            await self._fell(events.Disconnected("the connection was lost"))
            return policy.dropped(self._jitter(), uptime=time.monotonic() - since)
        except ERRORS as error:
            await self._fell(events.Disconnected(outcome.failure(error)))
            return policy.failed(self._jitter(), refused=outcome.refused)
        finally:
            self._socket = None
            await _close_client(client, outcome.websocket)

    async def _connect(self, client: socketio.AsyncClient, transport: str) -> None:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            await client.connect(
                self._settings.base_url,
                auth={"token": self._settings.token},
                transports=[transport],
                socketio_path=socketio_path(self._settings),
                wait_timeout=CONNECT_TIMEOUT,
            )
        _raise_if_cancelled()
        # Whatever ends the library's reading ends the connection; it tells of the usual ends only.
        client.eio.read_loop_task.add_done_callback(self._on_disconnect)
        self._socket, self._lost, self._transport = client, None, transport
        self._metrics.up = True
        self._metrics.connects += 1

    async def _fell(self, lost: events.Disconnected) -> None:
        self._socket, self._lost = None, lost
        self._outbox.clear()
        self._metrics.up = False
        self._metrics.drops += 1
        for count, build_id in enumerate(self._listeners.builds(), 1):
            self._listeners.publish(build_id, lost)
            if count % YIELD_EVERY == 0:
                await asyncio.sleep(0)

    async def _join_all(self, transport: str) -> None:
        many, turn = JOINS_AT_ONCE[transport]
        for count, build_id in enumerate(self._listeners.builds(), 1):
            if build_id in self._listeners:
                await self._join(build_id)
            if count % many == 0:
                await asyncio.sleep(turn)

    async def _client(self, outcome: _AsyncConnectResult) -> socketio.AsyncClient:
        extra: dict[str, Any] = {"max_msg_size": MAX_MESSAGE}
        extra["ssl"] = await ssl_context(self._settings)
        if self._settings.proxy:
            extra["proxy"] = self._settings.proxy
        client = _AsyncSocketClient(
            **OPTIONS,
            http_session=await new_session(self._settings, 2, outcome.open_websocket),
            websocket_extra_options=extra,
        )
        client.on("connect_error", outcome.connect_error)
        client.on("disconnect", self._on_disconnect)
        client.on("build:status", self._on_status)
        client.on("build:log", self._on_log)
        return client

    def _on_disconnect(self, *_: Any) -> None:
        self._down.set()

    def _on_status(self, *payload: Any) -> None:
        self._metrics.events["status"] += 1
        if told := events.parse_status(*payload):
            self._listeners.publish(told.build_id, told)

    def _on_log(self, *payload: Any) -> None:
        self._metrics.events["log"] += 1
        if events.is_info_line(*payload) and self._listeners.over_rate_limit(
            payload[0].get("buildId")
        ):
            return
        if line := events.parse_log(*payload):
            self._listeners.publish(line.build_id, line)


def _raise_if_cancelled() -> None:
    """Raise the cancellation that a library has swallowed.

    ``asyncio.wait_for`` of Python 3.11 does so when what it waits for comes at the same moment, and
    python-socketio waits with it: whoever cancelled the task would wait for its end for ever.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def _close_client(
    client: socketio.AsyncClient, websocket: aiohttp.ClientWebSocketResponse | None
) -> None:
    """End a connection in any state, whatever the peer does, and give its session back.

    :param websocket: the library forgets one whose handshake fails.
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
        client.eio.http = _ClosedSession()
        if session is not None and not session.closed:
            await session.close()


class _ClosedSession:
    """Takes the place of a closed session: for a late packet the library would open its own."""

    closed = False

    async def post(self, *_: Any, **__: Any) -> NoReturn:
        raise aiohttp.ClientConnectionError("the connection was closed")

    get = ws_connect = post


async def _send_close_packet(engine: Any) -> None:
    """End a long-polling connection; at a loop's end its own tasks no longer do."""
    data = packet.Packet(packet.CLOSE).encode()
    async with engine.http.post(engine.base_url, data=data, headers=PLAIN_TEXT):
        pass
