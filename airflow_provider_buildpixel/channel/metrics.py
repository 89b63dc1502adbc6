"""What a hub counts of itself, for whoever reports it somewhere."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_buildpixel.api.errors import BuildPixelError


@dataclass
class Metrics:
    """Counts since the last report; counting is cheap, reporting need not be.

    :param requests: by route and HTTP status, ``none`` where there was no answer.
    :param events: of the channel, by kind.
    :param connects: how often the channel came up.
    :param drops: how often it fell, or could not be had.
    :param lines_left_out: of live logs.
    :param waited: seconds of each wait that ended, by how.
    :param queued: seconds for which each build was seen in the queue.
    :param waits: how many there are now.
    :param up: whether the channel stands; None if nobody wants it.
    """

    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    connects: int = 0
    drops: int = 0
    lines_left_out: int = 0
    waited: list[tuple[str, float]] = field(default_factory=list)
    queued: list[float] = field(default_factory=list)
    waits: int = 0
    up: bool | None = None

    def request(self, route: str, error: BuildPixelError | None) -> None:
        """Count a request."""
        status = 200 if error is None else error.status_code
        self.requests[route, str(status or "none").lower()] += 1

    @property
    def counted(self) -> bool:
        """Whether anything was counted since the last report."""
        totals = self.connects, self.drops, self.lines_left_out
        return any((self.requests, self.events, self.waited, self.queued, *totals))

    def clear(self) -> None:
        """Begin again; what is a state and no count stays."""
        self.requests.clear()
        self.events.clear()
        self.connects = self.drops = self.lines_left_out = 0
        self.waited.clear()
        self.queued.clear()


def discard_metrics(_: Metrics) -> None:
    """Report nothing."""
