"""The sandbox's clock: it can run faster than the world's and be put forward."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from email.utils import formatdate


class Clock:
    """Sandbox time in seconds since the epoch."""

    def __init__(self, speed: float = 1.0, start: float | None = None) -> None:
        """Start now, or at the given instant."""
        if speed <= 0:
            raise ValueError(f"speed must be positive, not {speed}")
        self.speed = speed
        self._origin = time.time() if start is None else start
        self._zero = time.monotonic()

    def now(self) -> float:
        """Return the sandbox's time."""
        return self._origin + (time.monotonic() - self._zero) * self.speed

    def advance(self, seconds: float) -> None:
        """Put the clock forward."""
        if seconds < 0:
            raise ValueError("a clock is never put back")
        self._origin += seconds

    def real(self, seconds: float) -> float:
        """Return how many real seconds so many sandbox seconds take."""
        return seconds / self.speed


def iso(at: float) -> str:
    """Return an instant the way the API writes it, with milliseconds and Z."""
    moment = datetime.fromtimestamp(int(at * 1000) / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso_or_none(at: float | None) -> str | None:
    """Return an instant the way the API writes it, or nothing for nothing."""
    return None if at is None else iso(at)


def http_date(at: float) -> str:
    """Return an instant the way HTTP headers write it."""
    return formatdate(at, usegmt=True)
