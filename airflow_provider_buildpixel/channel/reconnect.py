"""What the live channel says, as values. All of it is rumour: REST is the truth."""

from __future__ import annotations

from math import inf

from airflow_provider_buildpixel.api.retry import backoff

WEBSOCKET, LONG_POLLING = "websocket", "polling"

REFUSED_PAUSE = 60.0
"""Seconds before a refused token is shown again on the channel: REST settles what it is worth."""


STABLE_AFTER = 30.0
"""Seconds that a channel must stand before its fall counts as the first."""


class ReconnectPolicy:
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

    def failed(self, jitter: float, *, refused: bool = False) -> float:
        """Take note of a failed attempt, choose the next transport, give the pause before it."""
        if refused:
            self.transport = WEBSOCKET
            return REFUSED_PAUSE * (1 + jitter / 10)
        if self.transport == WEBSOCKET:
            self.transport = LONG_POLLING
            return 0.0
        self.transport = WEBSOCKET
        self._failures += 1
        return backoff(self._failures, jitter, cap=self._cap)

    def dropped(self, jitter: float, *, uptime: float = inf) -> float:
        """Take note that a standing channel fell, give the pause before coming back.

        :param stood: seconds that it stood; one that falls at once comes back ever more slowly.
        """
        self.transport = WEBSOCKET
        if uptime < STABLE_AFTER:
            self._failures = max(self._failures, self._unproven)
        self._failures += 1
        return backoff(self._failures - 1, jitter, first=0.2, cap=self._cap)
