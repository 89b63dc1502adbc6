"""The live channel of an event loop: one connection for many builds."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_buildpixel.api.aio import create_detached_task, new_session, ssl_context
from airflow_provider_buildpixel.channel import events, reconnect
from airflow_provider_buildpixel.channel.async_client import (
    ERRORS,
    AsyncConnectResult,
    AsyncSocketClient,
    close_client,
)
from airflow_provider_buildpixel.channel.socketio_options import (
    CONNECT_TIMEOUT,
    MAX_MESSAGE,
    OPTIONS,
    connect_options,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import socketio

    from airflow_provider_buildpixel.api.settings import Settings
    from airflow_provider_buildpixel.channel.metrics import Metrics


JOIN_BATCHES = {reconnect.WEBSOCKET: (100, 0.0), reconnect.LONG_POLLING: (10, 0.05)}
"""Rooms joined at once, and the seconds until the next batch: long posts of packets get lost."""

YIELD_EVERY = 100
"""Builds whose waits receive a disconnect before the event loop may run other tasks."""

UNEXPECTED_ERROR_PAUSE = 60.0
"""Seconds before the channel reconnects after an unexpected error."""


class Listeners(Protocol):
    """The listeners to the events of builds."""

    def __contains__(self, build_id: object) -> bool: ...

    def builds(self) -> list[str]:
        """Return the ids of all builds with a listener."""

    def publish(self, build_id: str, event: events.Event) -> None:
        """Pass an event to all listeners of a build."""

    def over_rate_limit(self, build_id: str) -> bool:
        """Return whether an info line of a build exceeds the rate limit; count it as dropped."""


class AsyncChannel:
    """One Socket.IO connection for all builds of a token, kept open by a supervisor task.

    :class:`reconnect.ReconnectPolicy` decides when and how it reconnects.
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
        self._last_disconnect: events.Disconnected | None = None
        self._connection_lost = asyncio.Event()
        self._supervisor: asyncio.Task[None] | None = None
        self._transport = reconnect.WEBSOCKET
        self._room_changes: deque[tuple[str, str]] = deque()
        self._room_task: asyncio.Task[None] | None = None

    def subscribe(self, build_id: str, put: Callable[[events.Event], None], *, first: bool) -> None:
        """Start to listen to a build; the first subscription opens the connection.

        :param put: called with the current state of the connection, if it is known.
        :param first: whether the build has no other listener.
        """
        if self._supervisor is None:
            self._metrics.up = False
            self._start(0.0)
        elif self._socket is not None and first:
            self._change_room("join:build", build_id)
        elif self._socket is not None:
            put(events.Joined())
        elif self._last_disconnect is not None:
            put(self._last_disconnect)

    def unsubscribe(self, build_id: str) -> None:
        """Stop listening to a build that has no waits any more."""
        if self._socket is not None:
            self._change_room("leave:build", build_id)

    async def close(self) -> None:
        """Close the connection and end the tasks."""
        supervisor, self._supervisor = self._supervisor, None
        tasks = [task for task in (supervisor, self._room_task) if task is not None]
        for task in tasks:
            # At the end of the loop all are cancelled already: a second time stops their clean-up.
            if not task.cancelling():
                task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _join(self, build_id: str) -> None:
        if await self._emit("join:build", build_id):
            self._listeners.publish(build_id, events.Joined())

    async def _emit(self, event: str, build_id: str) -> bool:
        """Emit an event if connected; return whether it was sent. The supervisor handles a loss."""
        if self._socket is None:
            return False
        try:
            await self._socket.emit(event, {"buildId": build_id})
        except ERRORS:
            return False
        return True

    def _change_room(self, event: str, build_id: str) -> None:
        """Join or leave a room soon, in the order of the calls."""
        self._room_changes.append((event, build_id))
        if self._room_task is None or self._room_task.done():
            self._room_task = create_detached_task(self._send_room_changes())

    async def _send_room_changes(self) -> None:
        batch_size, pause = JOIN_BATCHES[self._transport]
        while self._room_changes:
            for _ in range(min(batch_size, len(self._room_changes))):
                event, build_id = self._room_changes.popleft()
                if event == "leave:build":
                    await self._emit(event, build_id)
                elif build_id in self._listeners:
                    await self._join(build_id)
            await asyncio.sleep(pause)

    def _start(self, pause: float) -> None:
        self._supervisor = create_detached_task(self._supervise(pause))
        self._supervisor.add_done_callback(self._on_supervisor_done)

    def _on_supervisor_done(self, task: asyncio.Task[None]) -> None:
        """Restart after an unexpected error; the exception handler of the loop logs it."""
        if self._supervisor is not task or task.cancelled():
            return
        create_detached_task(self._on_disconnected(events.Disconnected("an unexpected error")))
        self._start(UNEXPECTED_ERROR_PAUSE)
        message = "BuildPixel's live channel failed; it reconnects after a minute"
        context = {"message": message, "exception": task.exception()}
        task.get_loop().call_exception_handler(context)

    async def _supervise(self, pause: float) -> None:
        policy = reconnect.ReconnectPolicy()
        while True:
            await asyncio.sleep(pause)
            pause = await self._run_connection(policy)
            _raise_if_cancelled()

    async def _run_connection(self, policy: reconnect.ReconnectPolicy) -> float:
        """Run one connection from start to end; return the seconds before the next attempt."""
        result = AsyncConnectResult()
        client = await self._new_client(result)
        self._connection_lost.clear()
        try:
            await self._connect(client, policy.transport)
            policy.connected()
            connected_at = time.monotonic()
            await self._join_all(policy.transport)
            await self._connection_lost.wait()
            await self._on_disconnected(events.Disconnected("the connection was lost"))
            return policy.dropped(self._jitter(), uptime=time.monotonic() - connected_at)
        except ERRORS as error:
            await self._on_disconnected(events.Disconnected(result.failure(error)))
            return policy.failed(self._jitter(), refused=result.refused)
        finally:
            self._socket = None
            await close_client(client, result.websocket)

    async def _connect(self, client: socketio.AsyncClient, transport: str) -> None:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            await client.connect(
                **connect_options(self._settings, transport), wait_timeout=CONNECT_TIMEOUT
            )
        _raise_if_cancelled()
        # The library reports only the usual ends of a connection: any end of its reading counts.
        client.eio.read_loop_task.add_done_callback(self._on_connection_lost)
        self._socket, self._last_disconnect, self._transport = client, None, transport
        self._metrics.up = True
        self._metrics.connects += 1

    async def _on_disconnected(self, event: events.Disconnected) -> None:
        self._socket, self._last_disconnect = None, event
        self._room_changes.clear()
        self._metrics.up = False
        self._metrics.drops += 1
        for count, build_id in enumerate(self._listeners.builds(), 1):
            self._listeners.publish(build_id, event)
            if count % YIELD_EVERY == 0:
                await asyncio.sleep(0)

    async def _join_all(self, transport: str) -> None:
        batch_size, pause = JOIN_BATCHES[transport]
        for count, build_id in enumerate(self._listeners.builds(), 1):
            if build_id in self._listeners:
                await self._join(build_id)
            if count % batch_size == 0:
                await asyncio.sleep(pause)

    async def _new_client(self, result: AsyncConnectResult) -> socketio.AsyncClient:
        websocket_options: dict[str, Any] = {"max_msg_size": MAX_MESSAGE}
        websocket_options["ssl"] = await ssl_context(self._settings)
        if self._settings.proxy:
            websocket_options["proxy"] = self._settings.proxy
        client = AsyncSocketClient(
            **OPTIONS,
            http_session=await new_session(self._settings, 2, result.open_websocket),
            websocket_extra_options=websocket_options,
        )
        client.on("connect_error", result.connect_error)
        client.on("disconnect", self._on_connection_lost)
        client.on("build:status", self._on_status)
        client.on("build:log", self._on_log)
        return client

    def _on_connection_lost(self, *_: Any) -> None:
        self._connection_lost.set()

    def _on_status(self, *payload: Any) -> None:
        self._metrics.events["status"] += 1
        if hint := events.parse_status(*payload):
            self._listeners.publish(hint.build_id, hint)

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

    ``asyncio.wait_for`` of Python 3.11, which python-socketio uses, swallows it when its result
    arrives at the same moment. Without this function the canceller would wait for the task forever.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
