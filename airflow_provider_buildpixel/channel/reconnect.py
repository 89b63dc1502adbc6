"""When and how the live channel reconnects."""

from __future__ import annotations

from math import inf

from airflow_provider_buildpixel.api.retry import backoff

WEBSOCKET, LONG_POLLING = "websocket", "polling"

REFUSED_PAUSE = 60.0
"""Seconds before a refused token is tried on the channel again: REST decides if it is valid."""

STABLE_AFTER = 30.0
"""Seconds after which a connection counts as stable, and its loss as a first failure."""


class ReconnectPolicy:
    """Decides when the channel reconnects, and over which transport.

    Websocket comes first; where it fails, for example behind some corporate proxies, long-polling
    is next; then follows a pause that doubles. Meanwhile waits poll over REST.

    :param cap: longest pause in seconds.
    """

    def __init__(self, cap: float = 60.0) -> None:
        self._cap = cap
        self._failures = 0
        self._earlier_failures = 0
        self.transport = WEBSOCKET

    def connected(self) -> None:
        """Note that the channel is connected."""
        self._earlier_failures, self._failures = self._failures, 0

    def failed(self, jitter: float, *, refused: bool = False) -> float:
        """Choose the transport after a failed attempt; return the seconds before the next one."""
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
        """Choose the transport after a lost connection; return the seconds before the next one.

        :param uptime: seconds that the connection lasted; the pause grows while they are short.
        """
        self.transport = WEBSOCKET
        if uptime < STABLE_AFTER:
            self._failures = max(self._failures, self._earlier_failures)
        self._failures += 1
        return backoff(self._failures - 1, jitter, first=0.2, cap=self._cap)
