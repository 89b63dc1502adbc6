"""Checks of the parameters of a wait, before any build is dispatched.

Every parse of a Dag imports this module.
"""

from __future__ import annotations

from math import inf

from airflow_provider_buildpixel.api.errors import InvalidRequest
from airflow_provider_buildpixel.api.settings import checked_channel

ON_IN_FLIGHT = ("supersede", "adopt", "wait", "fail")
STREAM_LEVELS = ("all", "warn", "error", None)


def check_wait(channel: str | None, poll_interval: float, stream_logs: str | None) -> None:
    """Raise InvalidRequest if parameters of a wait are invalid; the error names each of them."""
    problems = []
    try:
        checked_channel(channel or "auto")
    except ValueError as error:
        problems.append(str(error))
    if not _is_seconds(poll_interval):
        problems.append(f"poll_interval must be seconds above 0, not {poll_interval!r}")
    if stream_logs not in STREAM_LEVELS:
        problems.append(f"stream_logs must be one of {STREAM_LEVELS}, not {stream_logs!r}")
    if problems:
        raise InvalidRequest("; ".join(problems))


def check_limits(**limits: object) -> None:
    """Raise InvalidRequest if a time limit is neither None nor a number of seconds above 0."""
    for name, limit in limits.items():
        if limit is not None and not _is_seconds(limit):
            raise InvalidRequest(f"{name} must be seconds above 0 or None, not {limit!r}")


def _is_seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < inf


def check_rendered(**given: object) -> None:
    """Raise InvalidRequest if a value is the text that Jinja renders for a missing one."""
    for name, value in given.items():
        if isinstance(value, str) and value.strip() == "None":
            raise InvalidRequest(f"{name} is None; check what its template rendered to")


def check_choice(name: str, value: object, allowed: tuple[object, ...]) -> None:
    """Raise InvalidRequest if a value is not among the allowed ones."""
    if value not in allowed:
        raise InvalidRequest(f"{name} must be one of {allowed}, not {value!r}")
