"""What the live channel says, as values. All of it is rumour: REST is the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow_provider_buildpixel.api import fields
from airflow_provider_buildpixel.api.model import Status
from airflow_provider_buildpixel.builds.logs import LogLine


@dataclass(frozen=True)
class Joined:
    """The build's room was joined (anew): what happened before is not replayed."""


@dataclass(frozen=True)
class Disconnected:
    """The channel is down, or could not be had."""

    reason: str = ""


@dataclass(frozen=True)
class StatusHint:
    """The channel says that the build's status changed; None if it does not say to what."""

    build_id: str
    status: Status | None = None


@dataclass(frozen=True)
class LogEvent:
    """The channel brought a line of the build's log."""

    build_id: str
    line: LogLine


@dataclass(frozen=True)
class LinesDropped:
    """So many log lines were dropped on the way, as they came faster than they were written."""

    lines: int


Event = Joined | Disconnected | StatusHint | LogEvent | LinesDropped


def parse_status(*payload: Any) -> StatusHint | None:
    """Read the arguments of a ``build:status`` event; None if it names no build."""
    data = _payload(payload)
    build_id = fields.text(data.get("buildId"))
    if not build_id:
        return None
    status = data.get("status")
    return StatusHint(
        build_id, Status(status[:100]) if isinstance(status, str) and status else None
    )


def parse_log(*payload: Any) -> LogEvent | None:
    """Read the arguments of a ``build:log`` event; None if it names no build or has no text."""
    data = _payload(payload)
    build_id = fields.text(data.get("buildId"))
    found = LogLine.from_json(data)
    return LogEvent(build_id, found) if build_id and found else None


def is_info_line(*payload: Any) -> bool:
    """Tell, at little cost, a ``build:log`` event that says ``info`` of itself."""
    return bool(payload) and isinstance(payload[0], dict) and payload[0].get("level") == "info"


def _payload(payload: tuple[Any, ...]) -> dict[str, Any]:
    return payload[0] if payload and isinstance(payload[0], dict) else {}


TOKEN_REFUSALS = ("invalid_token", "unauthorized", "insufficient_scope", "forbidden")


def token_refused(reason: Any) -> bool:
    """Tell from a ``connect_error`` whether it was the token, so that trying again is vain."""
    text = str(reason.get("message", reason) if isinstance(reason, dict) else reason).lower()
    return any(name in text for name in TOKEN_REFUSALS)
