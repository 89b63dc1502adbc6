"""What both shells must know about python-socketio."""

from __future__ import annotations

import json
import logging
import socket
from contextlib import suppress
from math import isfinite
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import engineio.base_client
import engineio.exceptions
import engineio.payload
import socketio.exceptions
import socketio.packet

from airflow_provider_buildpixel.api.http_messages import parse_json
from airflow_provider_buildpixel.api.text import shown
from airflow_provider_buildpixel.channel.events import token_refused

if TYPE_CHECKING:
    from airflow_provider_buildpixel.api.settings import Settings


CONNECT_TIMEOUT = 15.0
"""Seconds for one attempt to connect, handshakes included."""

CLOSE_TIMEOUT = 2.0

MAX_MESSAGE = 2**20
"""Bytes of one message of a websocket; Socket.IO's own servers take no more from their clients."""

MAX_PINGS = 100
"""Answers to pings that may wait to be sent, before a server that does not read is left."""

PING_TIMES = 1.0, 300.0
"""Seconds between which a server's pings and their patience must be, whatever it announces."""

_KEEPALIVE_VALUES = {
    "TCP_KEEPIDLE": 10,  # seconds of silence before the first probe,
    "TCP_KEEPINTVL": 4,  # and from each to the next,
    "TCP_KEEPCNT": 3,  # of which so many may stay without an answer
    "TCP_USER_TIMEOUT": 22_000,  # milliseconds for which what was sent may
}

KEEPALIVE: list[tuple[int, int, int]] = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in _KEEPALIVE_VALUES.items()
        if hasattr(socket, name)
    ),
]
"""Options by which the system notices within 22 s that the other machine is gone.

Pings of our own would do so too, but at the cost of twice as many turns of an idle loop. A server
that is there and silent is left after its own pings' interval and patience.
"""

PLAIN_TEXT = {"Content-Type": "text/plain; charset=UTF-8"}
"""Headers of a post of packets."""

# The library's own loggers print packets, and with them the token, at INFO.
LOGGER = logging.getLogger("airflow_provider_buildpixel.socketio")
LOGGER.setLevel(logging.ERROR)

# A burst of log lines over long-polling is one payload of many packets; the library's 16 drop it.
engineio.payload.Payload.max_decode_packets = max(
    engineio.payload.Payload.max_decode_packets, 100_000
)

# What connect() was seen to raise: its own errors, and what a broken handshake makes of them.
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
"""What BuildPixel emits; a server's other events are not even looked at."""

CONNECTION_PACKETS: dict[int, type] = {
    socketio.packet.CONNECT: dict,
    socketio.packet.DISCONNECT: object,
}
"""Packets about the connection, and what they may carry."""


class BoundedJson:
    """What the library reads JSON with: as everything else is, within bounds."""

    @staticmethod
    def loads(text: str) -> Any:
        """Read."""
        return parse_json(text.encode(errors="surrogatepass"))

    @staticmethod
    def dumps(data: Any, **how: Any) -> str:
        """Write."""
        return json.dumps(data, **how)


class BoundedPacket(socketio.packet.Packet):  # type: ignore[misc]  # theirs has no types
    """Reads what a server sends; what makes no sense becomes an event that nobody hears.

    The library would raise wherever it happens to be, keep the parts of a binary event for as long
    as it lacks one, remember every namespace, and answer every event that asks for it.
    """

    json = BoundedJson

    def decode(self, encoded_packet: Any) -> int:
        """Read a packet; there never is an attachment to come."""
        attachments = -1
        with suppress(ValueError, TypeError, LookupError):
            attachments = super().decode(encoded_packet)
        found: Any = self
        if attachments or found.namespace not in {None, "/"} or not _known(*_content(found)):
            self.packet_type, self.data = socketio.packet.EVENT, ["unknown"]
        self.namespace = self.id = None
        return 0


def _content(found: Any) -> tuple[Any, Any]:
    return found.packet_type, found.data


def _known(kind: int, data: Any) -> bool:
    if kind == socketio.packet.EVENT:
        return isinstance(data, list) and bool(data) and data[0] in EVENTS
    if kind == socketio.packet.CONNECT_ERROR:
        return True
    content = CONNECTION_PACKETS.get(kind)
    return content is not None and (data is None or isinstance(data, content))


def clamp_ping_times(engine: Any) -> None:
    """Keep the rhythm that a server announces for its pings within reason."""
    engine.ping_interval = _clamped(engine.ping_interval)
    engine.ping_timeout = _clamped(engine.ping_timeout)


def _clamped(seconds: float) -> float:
    least, most = PING_TIMES
    return min(max(seconds, least), most) if isfinite(seconds) else most


OPTIONS: dict[str, Any] = {
    "reconnection": False,  # ours is in channel.reconnect.ReconnectPolicy: the library's gives up too easily
    "handle_sigint": False,  # the process belongs to Airflow
    "logger": LOGGER,
    "engineio_logger": LOGGER,
    "request_timeout": 10,
    "serializer": BoundedPacket,
}


class ConnectResult:
    """What became of one attempt to connect, as its handlers saw it."""

    def __init__(self) -> None:
        self.reason = ""
        self.refused = False

    def connect_error(self, *reason: Any) -> None:
        """Keep the reason: the exception of ``connect`` does not carry it."""
        said = reason[0] if reason else ""
        self.refused = token_refused(said)
        self.reason = str(said.get("message", "") if isinstance(said, dict) else said)

    def failure(self, error: BaseException) -> str:
        """Say in a few words why the attempt failed."""
        if self.refused:
            return "the token was refused"
        return shown(self.reason or str(error) or type(error).__name__, 120)


def socketio_path(settings: Settings) -> str:
    """Give the path of the Socket.IO endpoint, below the base URL's own path."""
    return f"{urlsplit(settings.base_url).path.strip('/')}/socket.io".lstrip("/")


def release_client(engine: Any) -> None:
    """Take a closed connection off the library's list of those that are open.

    It stays there, and in memory for ever, when its own end is cut short, as by a loop's end.
    """
    with suppress(ValueError):
        engineio.base_client.connected_clients.remove(engine)
