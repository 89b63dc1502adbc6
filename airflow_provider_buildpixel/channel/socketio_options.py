"""Options of, and limits for, python-socketio, for both channels."""

from __future__ import annotations

import json
import logging
import socket
from contextlib import suppress
from math import isfinite
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import engineio.base_client
import engineio.exceptions
import engineio.packet
import engineio.payload
import socketio.exceptions
import socketio.packet

from airflow_provider_buildpixel.api.http_messages import parse_json
from airflow_provider_buildpixel.api.text import safe_text
from airflow_provider_buildpixel.channel.events import token_refused

if TYPE_CHECKING:
    from airflow_provider_buildpixel.api.settings import Settings


CONNECT_TIMEOUT = 15.0
"""Seconds for one attempt to connect, handshakes included."""

CLOSE_TIMEOUT = 2.0
"""Seconds to close a connection."""

MAX_MESSAGE = 2**20
"""Bytes of one websocket message; Socket.IO's own servers accept no more from their clients."""

MAX_PINGS = 100
"""Queued answers to pings after which the connection to a server that does not read is closed."""

PING_TIMES = 1.0, 300.0
"""Minimum and maximum seconds of a server's ping interval and timeout; others are clamped."""

_KEEPALIVE_VALUES = {
    "TCP_KEEPIDLE": 10,  # seconds of silence before the first probe
    "TCP_KEEPINTVL": 4,  # seconds between two probes
    "TCP_KEEPCNT": 3,  # probes without an answer before the connection is closed
    "TCP_USER_TIMEOUT": 22_000,  # milliseconds that sent data may stay unacknowledged
}

KEEPALIVE: list[tuple[int, int, int]] = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in _KEEPALIVE_VALUES.items()
        if hasattr(socket, name)
    ),
]
"""Socket options by which the system detects within 22 s that the other machine is gone.

Pings from our side would detect it too, but would double the wake-ups of an idle loop. The
connection to a server that is reachable but silent ends after the server's own ping interval and
timeout.
"""

CLOSE_POST = {
    "data": engineio.packet.Packet(engineio.packet.CLOSE).encode(),
    "headers": {"Content-Type": "text/plain; charset=UTF-8"},
}
"""Body and headers of the POST that ends a long-polling connection."""

# The library logs packets, and with them the token, at INFO.
LOGGER = logging.getLogger("airflow_provider_buildpixel.socketio")
LOGGER.setLevel(logging.ERROR)

# A burst of log lines over long-polling is one payload of many packets; the library would drop a
# payload of more than 16.
engineio.payload.Payload.max_decode_packets = max(
    engineio.payload.Payload.max_decode_packets, 100_000
)

# What connect() raises: its own errors, and what broken handshakes were seen to cause.
CONNECT_ERRORS = (
    socketio.exceptions.SocketIOError,
    engineio.exceptions.EngineIOError,
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)

EVENTS = ("build:status", "build:log")
"""The events that BuildPixel emits; others are ignored without parsing."""

CONNECTION_PACKETS: dict[int, type] = {
    socketio.packet.CONNECT: dict,
    socketio.packet.DISCONNECT: object,
}
"""Packets about the connection, with the type of their data."""


def _parse_bounded(text: str) -> Any:
    return parse_json(text.encode(errors="surrogatepass"))


class BoundedPacket(socketio.packet.Packet):  # type: ignore[misc]  # the library has no types
    """Parses what a server sends; an invalid packet becomes an event without a handler.

    Without this class the library raises in the middle of its work, keeps the parts of a binary
    event as long as one is missing, remembers every namespace, and acknowledges every event on
    request.
    """

    json = SimpleNamespace(loads=_parse_bounded, dumps=json.dumps)
    """The JSON module of the library, with the limits that all our parsing has."""

    def decode(self, encoded_packet: Any) -> int:
        """Parse a packet; return 0, as no attachment is ever expected."""
        attachments = -1
        with suppress(ValueError, TypeError, LookupError):
            attachments = super().decode(encoded_packet)
        packet: Any = self
        other_namespace = packet.namespace not in {None, "/"}
        if attachments or other_namespace or not _is_known(packet.packet_type, packet.data):
            self.packet_type, self.data = socketio.packet.EVENT, ["unknown"]
        self.namespace = self.id = None
        return 0


def _is_known(packet_type: int, data: Any) -> bool:
    if packet_type == socketio.packet.EVENT:
        return isinstance(data, list) and bool(data) and data[0] in EVENTS
    if packet_type == socketio.packet.CONNECT_ERROR:
        return True
    data_type = CONNECTION_PACKETS.get(packet_type)
    return data_type is not None and (data is None or isinstance(data, data_type))


def clamp_ping_times(engine: Any) -> None:
    """Limit the ping interval and timeout that a server has announced."""
    engine.ping_interval = _clamped(engine.ping_interval)
    engine.ping_timeout = _clamped(engine.ping_timeout)


def _clamped(seconds: float) -> float:
    least, most = PING_TIMES
    return min(max(seconds, least), most) if isfinite(seconds) else most


OPTIONS: dict[str, Any] = {
    "reconnection": False,  # ReconnectPolicy decides; the library gives up too early
    "handle_sigint": False,  # the process belongs to Airflow
    "logger": LOGGER,
    "engineio_logger": LOGGER,
    "request_timeout": 10,
    "serializer": BoundedPacket,
}


class ConnectResult:
    """The result of one attempt to connect, as its handlers received it."""

    def __init__(self) -> None:
        self.reason = ""
        self.refused = False

    def connect_error(self, *reason: Any) -> None:
        """Store the reason, which the exception of ``connect`` does not contain."""
        error = reason[0] if reason else ""
        self.refused = token_refused(error)
        self.reason = str(error.get("message", "") if isinstance(error, dict) else error)

    def failure(self, error: BaseException) -> str:
        """Return in a few words why the attempt failed."""
        if self.refused:
            return "the token was refused"
        return safe_text(self.reason or str(error) or type(error).__name__, 120)


def connect_options(settings: Settings, transport: str) -> dict[str, Any]:
    """Return the arguments of the library's ``connect`` that both channels use."""
    path = urlsplit(settings.base_url).path.strip("/")
    return {
        "url": settings.base_url,
        "auth": {"token": settings.token},
        "transports": [transport],
        "socketio_path": f"{path}/socket.io".lstrip("/"),
    }


def release_client(engine: Any) -> None:
    """Remove a closed connection from the library's list of open ones.

    The library leaves it there, and in memory, when closing is interrupted, for example by the end
    of the event loop.
    """
    with suppress(ValueError):
        engineio.base_client.connected_clients.remove(engine)
