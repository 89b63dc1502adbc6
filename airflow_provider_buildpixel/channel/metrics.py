"""The metrics of a monitor: what it counts between two reports."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_buildpixel.api.errors import BuildPixelError


@dataclass
class Metrics:
    """Counts since the last report, and the current state.

    :param requests: requests by route and HTTP status, ``none`` if there was no answer.
    :param events: events of the channel by kind.
    :param connects: how often the channel connected.
    :param drops: how often it disconnected or failed to connect.
    :param lines_dropped: lines of live logs that were not reported.
    :param wait_times: status and seconds of each wait that ended.
    :param queue_times: seconds that each build was seen in the queue.
    :param waits: how many waits there are now.
    :param up: whether the channel is connected; None if no wait uses it.
    """

    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    connects: int = 0
    drops: int = 0
    lines_dropped: int = 0
    wait_times: list[tuple[str, float]] = field(default_factory=list)
    queue_times: list[float] = field(default_factory=list)
    waits: int = 0
    up: bool | None = None

    def count_request(self, route: str, error: BuildPixelError | None) -> None:
        """Count a request."""
        status = 200 if error is None else error.status_code
        self.requests[route, str(status or "none").lower()] += 1

    @property
    def has_counts(self) -> bool:
        """Whether anything was counted since the last report."""
        totals = self.connects, self.drops, self.lines_dropped
        return any((self.requests, self.events, self.wait_times, self.queue_times, *totals))

    def reset_counts(self) -> None:
        """Set all counts to zero; the state stays."""
        self.requests.clear()
        self.events.clear()
        self.connects = self.drops = self.lines_dropped = 0
        self.wait_times.clear()
        self.queue_times.clear()


def discard_metrics(_: Metrics) -> None:
    """Report the metrics nowhere."""
