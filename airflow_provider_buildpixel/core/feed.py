"""What the live channel says, as values. All of it is rumour: REST is the truth."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.core import fields
from airflow_provider_buildpixel.core.logs import LogLine
from airflow_provider_buildpixel.core.model import Status
from airflow_provider_buildpixel.core.retries import backoff

if TYPE_CHECKING:
    from airflow_provider_buildpixel.core.model import Build
    from airflow_provider_buildpixel.exceptions import BuildPixelError


@dataclass(frozen=True)
class Joined:
    """The build's room was joined (anew): what happened before is not replayed."""


@dataclass(frozen=True)
class Lost:
    """The channel is down, or could not be had."""

    reason: str = ""


@dataclass(frozen=True)
class Told:
    """The channel says that the build's status changed; None if it does not say to what."""

    build_id: str
    status: Status | None = None


@dataclass(frozen=True)
class Line:
    """The channel brought a line of the build's log."""

    build_id: str
    line: LogLine


@dataclass(frozen=True)
class LeftOut:
    """So many log lines were dropped on the way, as they came faster than they were written."""

    lines: int


Event = Joined | Lost | Told | Line | LeftOut


@dataclass(frozen=True)
class Seen:
    """Not of the channel: REST reported the build, in a read that began at ``since``."""

    build: Build
    since: float


@dataclass(frozen=True)
class Missed:
    """Not of the channel: a read that was asked for failed."""

    error: BuildPixelError


def told(*payload: Any) -> Told | None:
    """Read the arguments of a ``build:status`` event; None if it names no build."""
    data = _payload(payload)
    build_id = fields.text(data.get("buildId"))
    if not build_id:
        return None
    status = data.get("status")
    return Told(build_id, Status(status[:100]) if isinstance(status, str) and status else None)


def line(*payload: Any) -> Line | None:
    """Read the arguments of a ``build:log`` event; None if it names no build or has no text."""
    data = _payload(payload)
    build_id = fields.text(data.get("buildId"))
    found = LogLine.from_json(data)
    return Line(build_id, found) if build_id and found else None


def idle_talk(*payload: Any) -> bool:
    """Tell, at little cost, a ``build:log`` event that says ``info`` of itself."""
    return bool(payload) and isinstance(payload[0], dict) and payload[0].get("level") == "info"


def _payload(payload: tuple[Any, ...]) -> dict[str, Any]:
    return payload[0] if payload and isinstance(payload[0], dict) else {}


TOKEN_REFUSALS = ("invalid_token", "unauthorized", "insufficient_scope", "forbidden")


def token_refused(reason: Any) -> bool:
    """Tell from a ``connect_error`` whether it was the token, so that trying again is vain."""
    text = str(reason.get("message", reason) if isinstance(reason, dict) else reason).lower()
    return any(name in text for name in TOKEN_REFUSALS)


WEBSOCKET, LONG_POLLING = "websocket", "polling"

REFUSED_PAUSE = 60.0
"""Seconds before a refused token is shown again on the channel: REST settles what it is worth."""


STEADY = 30.0
"""Seconds that a channel must stand before its fall counts as the first."""


class Supervision:
    """How the channel is brought back: when, and over which transport.

    Websocket first; where that fails, as behind some corporate proxies, long-polling next; then
    a pause that doubles. Meanwhile the watch polls over REST.
    """

    def __init__(self, cap: float = 60.0) -> None:
        self._cap = cap
        self._failures = 0
        self._unproven = 0
        self.transport = WEBSOCKET

    def connected(self) -> None:
        """Take note that the channel stands."""
        self._unproven, self._failures = self._failures, 0

    def failed(self, chance: float, *, refused: bool = False) -> float:
        """Take note of a failed attempt, choose the next transport, give the pause before it."""
        if refused:
            self.transport = WEBSOCKET
            return REFUSED_PAUSE * (1 + chance / 10)
        if self.transport == WEBSOCKET:
            self.transport = LONG_POLLING
            return 0.0
        self.transport = WEBSOCKET
        self._failures += 1
        return backoff(self._failures, chance, cap=self._cap)

    def dropped(self, chance: float, *, stood: float = inf) -> float:
        """Take note that a standing channel fell, give the pause before coming back.

        :param stood: seconds that it stood; one that falls at once comes back ever more slowly.
        """
        self.transport = WEBSOCKET
        if stood < STEADY:
            self._failures = max(self._failures, self._unproven)
        self._failures += 1
        return backoff(self._failures - 1, chance, first=0.2, cap=self._cap)
