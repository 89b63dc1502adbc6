"""The events of the live channel. All of them are hints: only REST is reliable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow_provider_buildpixel.api import fields
from airflow_provider_buildpixel.api.model import Status
from airflow_provider_buildpixel.builds.logs import LogLine


@dataclass(frozen=True)
class Joined:
    """The channel joined the build's room; the server does not replay earlier events."""


@dataclass(frozen=True)
class Disconnected:
    """The channel is disconnected, or failed to connect."""

    reason: str = ""


@dataclass(frozen=True)
class StatusHint:
    """The build's status changed; ``status`` is None if the event does not contain it."""

    build_id: str
    status: Status | None = None


@dataclass(frozen=True)
class LogEvent:
    """A line of the build's log."""

    build_id: str
    line: LogLine


@dataclass(frozen=True)
class LinesDropped:
    """The number of log lines that were dropped, as they came faster than they were handled."""

    lines: int


Event = Joined | Disconnected | StatusHint | LogEvent | LinesDropped


def parse_status(*payload: Any) -> StatusHint | None:
    """Return the event from the arguments of ``build:status``; None if there is no build id."""
    data = _payload(payload)
    build_id = fields.text(data.get("buildId"))
    if not build_id:
        return None
    status = data.get("status")
    return StatusHint(
        build_id, Status(status[:100]) if isinstance(status, str) and status else None
    )


def parse_log(*payload: Any) -> LogEvent | None:
    """Return the event from the arguments of ``build:log``; None without build id or text."""
    data = _payload(payload)
    build_id = fields.text(data.get("buildId"))
    line = LogLine.from_json(data)
    return LogEvent(build_id, line) if build_id and line else None


def is_info_line(*payload: Any) -> bool:
    """Return whether a ``build:log`` event has level ``info``, without parsing the rest of it."""
    return bool(payload) and isinstance(payload[0], dict) and payload[0].get("level") == "info"


def _payload(payload: tuple[Any, ...]) -> dict[str, Any]:
    return payload[0] if payload and isinstance(payload[0], dict) else {}


TOKEN_REFUSALS = ("invalid_token", "unauthorized", "insufficient_scope", "forbidden")


def token_refused(reason: Any) -> bool:
    """Return whether a ``connect_error`` refuses the token, so that a retry cannot help."""
    text = str(reason.get("message", reason) if isinstance(reason, dict) else reason).lower()
    return any(name in text for name in TOKEN_REFUSALS)
