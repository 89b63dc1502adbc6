"""How a transfer goes: too slowly, how far, and whether more connections would help."""

from __future__ import annotations

from dataclasses import dataclass, field

from airflow_provider_buildpixel.api.retry import backoff
from airflow_provider_buildpixel.api.text import KIB, MIB, size_text, time_text

PROGRESS_INTERVAL = 5.0
"""Seconds between two progress lines."""


@dataclass
class StallDetector:
    """Notices a connection that gives next to nothing.

    Only time spent waiting for the network counts: a slow disk is not the connection's fault.

    :param least: bytes in a second.
    :param window: seconds of waiting over which they are counted.
    """

    least: float = 16 * KIB
    window: float = 30.0
    _count: int = 0
    _waited: float = 0.0

    def too_slow(self, count: int, waited: float) -> bool:
        """Take what came in how many seconds of waiting; say whether to give up."""
        self._count += count
        self._waited += waited
        if self._waited < self.window:
            return False
        slow = self._count < self.least * self._waited
        self.reset()
        return slow

    def reset(self) -> None:
        """Begin anew, with a new connection."""
        self._count, self._waited = 0, 0.0


@dataclass
class TransferProgress:
    """Says every few seconds how far a transfer is."""

    total: int | None
    began_at: float
    done: int = 0
    every: float = PROGRESS_INTERVAL
    _told_at: float = field(init=False)
    _told: int = field(init=False)
    _first: int = field(init=False)

    def __post_init__(self) -> None:
        self._told_at, self._told, self._first = self.began_at, self.done, self.done

    def line(self, now: float, done: int) -> str | None:
        """Give a line if one is due: bytes, percent, rate, time left."""
        if now - self._told_at < self.every:
            return None
        rate = max(0, done - self._told) / (now - self._told_at)
        self._told_at, self._told = now, done
        return f"{self._share(done)}, {size_text(rate)}/s{self._left(done, rate)}"

    def last(self, now: float, done: int) -> str:
        """Give the line of the end: what came in this try, and how fast."""
        seconds = max(now - self.began_at, 1e-3)
        came = done - self._first
        rate = size_text(came / seconds)
        return f"{self._share(done)}, {size_text(came)} in {time_text(seconds)}, {rate}/s"

    def _share(self, done: int) -> str:
        if not self.total:
            return size_text(done)
        percent = 100 * done / self.total
        return f"{size_text(done)} of {size_text(self.total)} ({percent:.1f} %)"

    def _left(self, done: int, rate: float) -> str:
        if self.total is None:
            return ""
        if rate <= 0:
            return ", time left unknown"
        return f", {time_text(max(0, self.total - done) / rate)} left"


@dataclass
class RetryBudget:
    """Decides how often a transfer that breaks is taken up again.

    :param misses: failures in a row, without a mebibyte in between, that are one too many.
    :param renewals: likewise of refused URLs: two fresh ones that are refused say enough.
    """

    misses: int = 8
    renewals: int = 3
    _missed: int = 0
    _renewed: int = 0
    _since: int = 0

    def progressed(self, count: int) -> None:
        """Note that bytes came."""
        self._since += count
        if self._since >= MIB:
            self._missed = self._renewed = self._since = 0

    def miss(self, jitter: float) -> float | None:
        """Count a failure; give the pause before the next try, None to give up."""
        self._missed += 1
        return None if self._missed >= self.misses else backoff(self._missed - 1, jitter, first=0.2)

    def renew(self) -> bool:
        """Count a refused URL; say whether a fresh one is worth it."""
        self._renewed += 1
        return self._renewed < self.renewals


PROBE_SECONDS = 2.0
"""Seconds that one stream is measured, and likewise several."""

PROBE_BLOCKS = 2
"""Blocks from each of several connections before they are judged: the first come all at once."""

MIN_SPEEDUP = 1.2
"""How much faster several streams must be than one, else they are not worth their requests."""

MIN_NETWORK_SHARE = 0.5
"""Share of the time spent waiting for the network above which it is what limits the rate."""

MAX_FAILURES = 3


@dataclass
class ConnectionProbe:
    """Finds out whether several connections are faster than one, and keeps to what is.

    One stream goes first. If it is the network that limits it, and enough is left, several are
    tried for a few seconds and kept if they are faster by a fifth; else one stream takes over
    again for good. So the worst it can cost is those few seconds.

    :param lanes: how many connections; 1 tries nothing.
    :param began_at: a monotonic clock's instant, as all others here.
    """

    lanes: int
    began_at: float
    done: int = 0
    seconds: float = PROBE_SECONDS
    _single: float | None = None
    _settled: bool = False
    _waited: float = 0.0
    _failures: int = 0

    def begin(self, now: float, done: int) -> None:
        """Measure from here on."""
        self.began_at, self.done, self._waited = now, done, 0.0

    def several(self, now: float, done: int, waited: float, left: int | None) -> bool:
        """Take how one stream goes; say whether to try several now.

        :param waited: seconds spent waiting for the network since the last call.
        :param left: bytes still to come.
        """
        self._waited += waited
        elapsed = now - self.began_at
        if self._settled or self.lanes < 2 or left is None or elapsed < self.seconds:
            return False
        self._single = (done - self.done) / elapsed
        bound = (
            self._waited / elapsed >= MIN_NETWORK_SHARE and left > self._single * 4 * self.seconds
        )
        self.begin(now, done)
        return bound

    def stay(self, now: float, done: int, blocks: int) -> bool:
        """Take how several go; say whether to keep them.

        :param blocks: how many they have given.
        """
        elapsed = now - self.began_at
        if self._settled or self._single is None:
            return True
        if blocks < PROBE_BLOCKS * self.lanes or elapsed < self.seconds:
            return True
        self._settled = True
        faster = (done - self.done) / elapsed >= MIN_SPEEDUP * self._single
        if not faster:
            self.lanes = 1
        return faster

    def failed(self) -> None:
        """Note that one of several connections broke: one stream goes on for now."""
        self._failures += 1
        self._settled = self._failures >= MAX_FAILURES
        if self._settled:
            self.lanes = 1
