"""What hooks, operators and triggers say of a wait, apart from the waiting itself.

Every parse of a Dag imports this, so the machines are imported only when a wait begins.
"""

from __future__ import annotations

from math import inf

from airflow_provider_buildpixel.api.errors import InvalidRequest
from airflow_provider_buildpixel.api.settings import checked_channel

ON_IN_FLIGHT = ("supersede", "adopt", "wait", "fail")
STREAM_LEVELS = ("all", "warn", "error", None)


def check_wait(channel: str | None, poll_interval: float, stream: str | None) -> None:
    """Refuse parameters of a wait that make no sense, before anything is dispatched."""
    problems = []
    try:
        checked_channel(channel or "auto")
    except ValueError as error:
        problems.append(str(error))
    if not _is_seconds(poll_interval):
        problems.append(f"poll_interval must be seconds above 0, not {poll_interval!r}")
    if stream not in STREAM_LEVELS:
        problems.append(f"stream_logs must be one of {STREAM_LEVELS}, not {stream!r}")
    if problems:
        raise InvalidRequest("; ".join(problems))


def check_limits(**limits: object) -> None:
    """Refuse time limits that are no seconds, before anything is dispatched."""
    for name, limit in limits.items():
        if limit is not None and not _is_seconds(limit):
            raise InvalidRequest(f"{name} must be seconds above 0 or None, not {limit!r}")


def _is_seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < inf


def check_rendered(**given: object) -> None:
    """Refuse what Jinja writes for a value that is not there, before anything is dispatched."""
    for name, value in given.items():
        if isinstance(value, str) and value.strip() == "None":
            raise InvalidRequest(f"{name} is None; check what its template rendered to")


def check_choice(name: str, value: object, allowed: tuple[object, ...]) -> None:
    """Refuse a value that a parameter does not know."""
    if value not in allowed:
        raise InvalidRequest(f"{name} must be one of {allowed}, not {value!r}")
