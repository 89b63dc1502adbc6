"""The live channel of one build for blocking callers: one connection, one supervisor thread."""

from __future__ import annotations

import queue
import random
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import engineio
import requests
import socketio
from engineio import packet
from websocket import WebSocket, WebSocketException

from airflow_provider_buildpixel.api.sessions import HandshakeSession
from airflow_provider_buildpixel.channel import events, reconnect
from airflow_provider_buildpixel.channel.socketio_options import (
    CLOSE_POST,
    CLOSE_TIMEOUT,
    CONNECT_ERRORS,
    CONNECT_TIMEOUT,
    KEEPALIVE,
    MAX_MESSAGE,
    MAX_PINGS,
    OPTIONS,
    ConnectResult,
    clamp_ping_times,
    connect_options,
    release_client,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.api.settings import Settings


ERRORS = (*CONNECT_ERRORS, requests.RequestException, WebSocketException)
MAX_QUEUED_LINES = 20_000
"""Log lines that may be queued; if a build logs faster than Airflow writes, the rest is dropped."""

READER_CHECK_INTERVAL = 5.0
"""Seconds between two checks that the reading thread is alive."""

CONNECT_CHECK_INTERVAL = 0.25
"""Seconds between two checks that the server can still answer a connect request."""

MAX_QUEUED_HINTS = 100
"""Status hints that may be queued: one read answers all of them."""


class _InlineEngine(engineio.Client):
    """Runs event handlers on the reading thread: in order, and without a thread for each event."""

    def _receive_packet(self, pkt: packet.Packet) -> None:
        if pkt.packet_type == packet.PING and self.queue.qsize() > MAX_PINGS:
            self.queue.put(None)  # as the library itself ends a connection
            return
        super()._receive_packet(pkt)

    def _trigger_event(self, event: str, *args: Any, **kwargs: Any) -> Any:
        if event == "connect":
            clamp_ping_times(self)
        kwargs["run_async"] = False
        return super()._trigger_event(event, *args, **kwargs)


class _BoundedWebSocket(WebSocket):
    """Refuses messages that are longer than any message of BuildPixel."""

    _received = 0

    def _recv(self, bufsize: int) -> Any:
        data = super()._recv(bufsize)  # type: ignore[no-untyped-call]
        self._received += len(data)
        if self._received > MAX_MESSAGE:
            raise WebSocketException(f"a message of more than {MAX_MESSAGE} bytes")
        return data

    def recv(self) -> Any:
        """Read a message."""
        self._received = 0
        return super().recv()


class _SocketClient(socketio.Client):
    """Stores its websocket from the start; the library forgets one whose handshake fails."""

    websocket: WebSocket | None = None

    def _engineio_client_class(self) -> type[engineio.Client]:
        return _InlineEngine

    def open_websocket(self, **options: Any) -> WebSocket:
        """Return the websocket; called in place of the library's own class."""
        self.websocket = _BoundedWebSocket(**options)
        return self.websocket

    def abort(self) -> None:
        """Interrupt all reads and writes; safe from any thread and in any state."""
        sock = self.websocket.sock if self.websocket is not None else None
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


class BlockingChannel:
    """Queues the events of one build in order, and reconnects by itself.

    :param enabled: False for a channel without a connection and without events.
    """

    def __init__(
        self,
        settings: Settings,
        build_id: str,
        *,
        enabled: bool = True,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._build_id = build_id
        self._jitter = jitter
        self._events: queue.SimpleQueue[events.Event] = queue.SimpleQueue()
        self._dropped_lines = self._queued_hints = 0
        self._stop = threading.Event()
        self._connection_lost = threading.Event()
        self._connect_answered = threading.Event()
        self._socket: _SocketClient | None = None
        if enabled:
            threading.Thread(target=self._supervise, name="buildpixel-channel", daemon=True).start()

    def get(self, seconds: float) -> events.Event | None:
        """Return the next event; None if none comes within the time."""
        try:
            event = self._events.get(timeout=max(0.0, seconds))
        except queue.Empty:
            return None
        if isinstance(event, events.StatusHint):
            self._queued_hints -= 1
        return event

    def close(self) -> None:
        """End the connection, without waiting for the peer.

        Only the supervisor thread cleans up, so that two threads never do it at the same time.
        """
        self._stop.set()
        self._connection_lost.set()
        self._connect_answered.set()
        if self._socket is not None:
            self._socket.abort()

    def _supervise(self) -> None:
        policy = reconnect.ReconnectPolicy()
        while not self._stop.is_set():
            pause = self._run_connection(policy)
            self._stop.wait(pause)

    def _run_connection(self, policy: reconnect.ReconnectPolicy) -> float:
        """Run one connection from start to end; return the seconds before the next attempt."""
        result = ConnectResult()
        self._socket = client = self._new_client(result)
        timeout = threading.Timer(CONNECT_TIMEOUT, client.abort)
        timeout.daemon = True
        timeout.start()
        try:
            self._connect(client, policy.transport)
        except ERRORS as error:
            self._events.put(events.Disconnected(result.failure(error)))
            _close_client(client)
            return policy.failed(self._jitter(), refused=result.refused)
        finally:
            timeout.cancel()
        policy.connected()
        connected_at = time.monotonic()
        reader = client.eio.read_loop_task
        # The library reports only the usual ends of a connection: any end of its reading counts.
        while not self._connection_lost.wait(READER_CHECK_INTERVAL) and reader.is_alive():
            pass
        _close_client(client)
        self._events.put(events.Disconnected("the connection was lost"))
        return policy.dropped(self._jitter(), uptime=time.monotonic() - connected_at)

    def _connect(self, client: _SocketClient, transport: str) -> None:
        self._connection_lost.clear()
        self._connect_answered.clear()
        if self._stop.is_set():
            self._connection_lost.set()
            return
        client.connect(
            **connect_options(self._settings, transport),
            wait=False,  # the library would keep waiting after the connection has ended
        )
        self._wait_for_answer(client)
        client.emit("join:build", {"buildId": self._build_id})
        self._events.put(events.Joined())

    def _wait_for_answer(self, client: _SocketClient) -> None:
        """Wait until the token is accepted or refused, or no answer can come any more."""
        until = time.monotonic() + CONNECT_TIMEOUT
        reader = client.eio.read_loop_task
        while not client.namespaces and not self._connect_answered.wait(CONNECT_CHECK_INTERVAL):
            if self._stop.is_set() or not reader.is_alive() or time.monotonic() > until:
                break
        if self._connect_answered.is_set() and not client.namespaces and not self._stop.is_set():
            client.disconnect()  # as the library itself ends a refused connection
        if not client.namespaces:
            raise socketio.exceptions.ConnectionError("the connection was not accepted")

    def _new_client(self, result: ConnectResult) -> _SocketClient:
        session = HandshakeSession()
        session.verify = self._settings.verify
        if self._settings.proxy:
            session.proxies = {"http": self._settings.proxy, "https": self._settings.proxy}
            session.trust_env = False  # otherwise the proxy of the environment has priority
        client = _SocketClient(**OPTIONS, http_session=session)
        client.eio.websocket_extra_options |= {
            "skip_utf8_validation": True,
            "sockopt": KEEPALIVE,
            "redirect_limit": 0,  # the token must reach no other host
            "class_": client.open_websocket,
        }
        client.on("connect", self._connect_answered.set)
        client.on("connect_error", lambda *reason: self._on_connect_error(result, *reason))
        client.on("disconnect", self._on_connection_lost)
        client.on("build:status", self._on_status)
        client.on("build:log", self._on_log)
        return client

    def _on_connect_error(self, result: ConnectResult, *reason: Any) -> None:
        result.connect_error(*reason)
        self._connect_answered.set()

    def _on_connection_lost(self, *_: Any) -> None:
        self._connection_lost.set()

    def _on_status(self, *payload: Any) -> None:
        hint = events.parse_status(*payload)
        if hint is None or hint.build_id != self._build_id:
            return
        if self._queued_hints < MAX_QUEUED_HINTS:
            self._queued_hints += 1
            self._put(hint)

    def _on_log(self, *payload: Any) -> None:
        event = events.parse_log(*payload)
        if event is None or event.build_id != self._build_id:
            return
        share = 2 if event.line.level == "error" else 1
        if self._events.qsize() < share * MAX_QUEUED_LINES:
            self._put(event)
        else:
            self._dropped_lines += 1

    def _put(self, event: events.Event) -> None:
        """Add an event, after the number of lines that were dropped before it."""
        if self._dropped_lines:
            dropped, self._dropped_lines = self._dropped_lines, 0
            self._events.put(events.LinesDropped(dropped))
        self._events.put(event)


def _close_client(client: _SocketClient) -> None:
    """Close a connection in any state, whatever the peer does, and release its resources."""
    client.abort()
    if client.eio.state == "connected" and client.eio.current_transport == "polling":
        _send_close_packet(client.eio)
    with suppress(*ERRORS):
        client.eio.disconnect(abort=True)
    if client.eio.queue is not None:
        # The writing thread may take the library's own end mark too early, and then wait for 30 s.
        client.eio.queue.put(None)
    if client.websocket is not None:
        client.websocket.shutdown()  # type: ignore[no-untyped-call]
    client.eio.http.close()
    release_client(client.eio)


def _send_close_packet(engine: engineio.Client) -> None:
    """End a long-polling connection: the server then answers the pending read."""
    with suppress(requests.RequestException):
        engine.http.post(engine.base_url, **CLOSE_POST, timeout=CLOSE_TIMEOUT)
