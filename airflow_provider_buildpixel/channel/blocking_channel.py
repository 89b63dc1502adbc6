"""The live channel of one build for blocking callers: one socket, one supervising thread."""

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


ERRORS = (*CONNECT_ERRORS, requests.RequestException, WebSocketException)
MAX_QUEUED_LINES = 20_000
"""Log lines that may wait to be written; a build that logs faster than Airflow loses the rest."""


READER_CHECK_INTERVAL = 5.0
"""Seconds between two looks at whether the connection is still read from."""

CONNECT_CHECK_INTERVAL = 0.25
"""Seconds between two looks at whether there is still somebody to answer."""

MAX_QUEUED_HINTS = 100
"""Events of a status that may wait: each makes a read due, and one read serves them all."""


class _InlineEngine(engineio.Client):
    """Runs handlers on the reading thread: in order, and without a thread for each event."""

    def _receive_packet(self, pkt: packet.Packet) -> None:
        if pkt.packet_type == packet.PING and self.queue.qsize() > MAX_PINGS:
            self.queue.put(None)  # its own way to end a connection
            return
        super()._receive_packet(pkt)

    def _trigger_event(self, event: str, *args: Any, **kwargs: Any) -> Any:
        if event == "connect":
            clamp_ping_times(self)
        kwargs["run_async"] = False
        return super()._trigger_event(event, *args, **kwargs)


class _BoundedWebSocket(WebSocket):
    """Reads no message that is longer than one of BuildPixel's could be."""

    _came = 0

    def _recv(self, bufsize: int) -> Any:
        data = super()._recv(bufsize)  # type: ignore[no-untyped-call]
        self._came += len(data)
        if self._came > MAX_MESSAGE:
            raise WebSocketException(f"a message of more than {MAX_MESSAGE} bytes")
        return data

    def recv(self) -> Any:
        """Read a message."""
        self._came = 0
        return super().recv()


class _SocketClient(socketio.Client):
    """Keeps its websocket at hand from the first moment; the library forgets one that fails."""

    websocket: WebSocket | None = None

    def _engineio_client_class(self) -> type[engineio.Client]:
        return _InlineEngine

    def open_websocket(self, **options: Any) -> WebSocket:
        """Make the websocket, as the library's own class would."""
        self.websocket = _BoundedWebSocket(**options)
        return self.websocket

    def abort(self) -> None:
        """Wake whoever reads or writes; safe from any thread and in any state."""
        sock = self.websocket.sock if self.websocket is not None else None
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


class BlockingChannel:
    """Events of one build, in order; lost connections come back by themselves.

    :param enabled: False gives a feed that never says anything.
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
        self._left_out = self._hints = 0
        self._stop = threading.Event()
        self._down = threading.Event()
        self._answered = threading.Event()
        self._socket: _SocketClient | None = None
        if enabled:
            threading.Thread(target=self._supervise, name="buildpixel-feed", daemon=True).start()

    def get(self, seconds: float) -> events.Event | None:
        """Give the next event, None if none came in so many seconds."""
        try:
            event = self._events.get(timeout=max(0.0, seconds))
        except queue.Empty:
            return None
        if isinstance(event, events.StatusHint):
            self._hints -= 1
        return event

    def close(self) -> None:
        """End the connection; a peer that is silent does not hold this up.

        The supervising thread tidies up, so that no two threads do.
        """
        self._stop.set()
        self._down.set()
        self._answered.set()
        if self._socket is not None:
            self._socket.abort()

    def _supervise(self) -> None:
        policy = reconnect.ReconnectPolicy()
        while not self._stop.is_set():
            pause = self._attempt(policy)
            self._stop.wait(pause)

    def _attempt(self, policy: reconnect.ReconnectPolicy) -> float:
        """Hold one connection from its start to its end; give the pause before the next."""
        outcome = ConnectResult()
        self._socket = client = self._client(outcome)
        limit = threading.Timer(CONNECT_TIMEOUT, client.abort)
        limit.daemon = True
        limit.start()
        try:
            self._connect(client, policy.transport)
        except ERRORS as error:
            self._events.put(events.Disconnected(outcome.failure(error)))
            _close_client(client)
            return policy.failed(self._jitter(), refused=outcome.refused)
        finally:
            limit.cancel()
        policy.connected()
        since = time.monotonic()
        reading = client.eio.read_loop_task
        # The library tells of the usual ends only; whatever ends its reading ends the connection.
        while not self._down.wait(READER_CHECK_INTERVAL) and reading.is_alive():
            pass
        _close_client(client)
        self._events.put(events.Disconnected("the connection was lost"))
        return policy.dropped(self._jitter(), uptime=time.monotonic() - since)

    def _connect(self, client: _SocketClient, transport: str) -> None:
        self._down.clear()
        self._answered.clear()
        if self._stop.is_set():
            self._down.set()
            return
        client.connect(
            self._settings.base_url,
            auth={"token": self._settings.token},
            transports=[transport],
            socketio_path=socketio_path(self._settings),
            wait=False,  # the library would go on waiting over a connection that has ended
        )
        self._wait_for_answer(client)
        client.emit("join:build", {"buildId": self._build_id})
        self._events.put(events.Joined())

    def _wait_for_answer(self, client: _SocketClient) -> None:
        """Wait until the token is taken, refused, or nobody is there any more to do either."""
        until = time.monotonic() + CONNECT_TIMEOUT
        reading = client.eio.read_loop_task
        while not client.namespaces and not self._answered.wait(CONNECT_CHECK_INTERVAL):
            over = self._stop.is_set() or not reading.is_alive() or time.monotonic() > until
            if over:
                break
        if self._answered.is_set() and not client.namespaces and not self._stop.is_set():
            client.disconnect()  # as the library itself ends a connection that was refused
        if not client.namespaces:
            raise socketio.exceptions.ConnectionError("the connection was not taken")

    def _client(self, outcome: ConnectResult) -> _SocketClient:
        session = HandshakeSession()
        session.verify = self._settings.verify
        if self._settings.proxy:
            session.proxies = {"http": self._settings.proxy, "https": self._settings.proxy}
            session.trust_env = False  # else the environment's proxy would win
        client = _SocketClient(**OPTIONS, http_session=session)
        client.eio.websocket_extra_options |= {
            "skip_utf8_validation": True,
            "sockopt": KEEPALIVE,
            "redirect_limit": 0,  # the token goes where the connection says
            "class_": client.open_websocket,
        }
        client.on("connect", self._answered.set)
        client.on("connect_error", lambda *reason: self._refused(outcome, *reason))
        client.on("disconnect", self._on_disconnect)
        client.on("build:status", self._on_status)
        client.on("build:log", self._on_log)
        return client

    def _refused(self, outcome: ConnectResult, *reason: Any) -> None:
        outcome.connect_error(*reason)
        self._answered.set()

    def _on_disconnect(self, *_: Any) -> None:
        self._down.set()

    def _on_status(self, *payload: Any) -> None:
        told = events.parse_status(*payload)
        if told is None or told.build_id != self._build_id or self._hints >= MAX_QUEUED_HINTS:
            return
        self._hints += 1
        self._put(told)

    def _on_log(self, *payload: Any) -> None:
        line = events.parse_log(*payload)
        if line is None or line.build_id != self._build_id:
            return
        share = 2 if line.line.level == "error" else 1
        if self._events.qsize() < share * MAX_QUEUED_LINES:
            self._put(line)
        else:
            self._left_out += 1

    def _put(self, event: events.Event) -> None:
        """Add an event, after the number of lines that were dropped before it."""
        if self._left_out:
            left_out, self._left_out = self._left_out, 0
            self._events.put(events.LinesDropped(left_out))
        self._events.put(event)


def _close_client(client: _SocketClient) -> None:
    """End a connection in any state, whatever the peer does, and everything that it holds."""
    client.abort()
    if client.eio.state == "connected" and client.eio.current_transport == "polling":
        _send_close_packet(client.eio)
    with suppress(*ERRORS):
        client.eio.disconnect(abort=True)
    if client.eio.queue is not None:
        # Its own end mark can be taken by the writing thread too early, which then waits for 30 s.
        client.eio.queue.put(None)
    if client.websocket is not None:
        client.websocket.shutdown()  # type: ignore[no-untyped-call]
    client.eio.http.close()
    release_client(client.eio)


def _send_close_packet(engine: engineio.Client) -> None:
    """End a long-polling connection: the server then answers the read that is under way."""
    with suppress(requests.RequestException):
        engine.http.post(
            engine.base_url,
            data=packet.Packet(packet.CLOSE).encode(),
            headers=PLAIN_TEXT,
            timeout=CLOSE_TIMEOUT,
        )
