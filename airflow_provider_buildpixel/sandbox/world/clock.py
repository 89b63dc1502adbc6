"""The sandbox clock, which can run faster than real time and be advanced."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from email.utils import formatdate


class Clock:
    """Sandbox time in seconds since the epoch.

    :param speed: sandbox seconds per real second.
    :param start: the first instant; None for now.
    :param skew: seconds by which it is ahead.
    """

    def __init__(self, speed: float = 1.0, start: float | None = None, skew: float = 0.0) -> None:
        if speed <= 0:
            raise ValueError(f"speed must be positive, not {speed}")
        self.speed = speed
        self._origin = (time.time() if start is None else start) + skew
        self._zero = time.monotonic()

    def now(self) -> float:
        """Return the sandbox time."""
        return self._origin + (time.monotonic() - self._zero) * self.speed

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        if seconds < 0:
            raise ValueError("a clock cannot be moved back")
        self._origin += seconds

    def real(self, seconds: float) -> float:
        """Convert sandbox seconds to real seconds."""
        return seconds / self.speed


def iso(at: float) -> str:
    """Return an instant in the API's format, with milliseconds and Z."""
    moment = datetime.fromtimestamp(int(at * 1000) / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso_or_none(at: float | None) -> str | None:
    """Return an instant in the API's format, or None for None."""
    return None if at is None else iso(at)


def http_date(at: float) -> str:
    """Return an instant in the format of HTTP headers."""
    return formatdate(at, usegmt=True)
