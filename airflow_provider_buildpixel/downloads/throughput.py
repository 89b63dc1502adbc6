"""Judges a transfer by its throughput: stalled connections, progress, retries, parallelism."""

from __future__ import annotations

from dataclasses import dataclass, field

from airflow_provider_buildpixel.api.retry import backoff
from airflow_provider_buildpixel.api.text import KIB, MIB, duration_text, size_text

PROGRESS_INTERVAL = 5.0
"""Seconds between two progress lines."""


@dataclass
class StallDetector:
    """Detects a connection that delivers almost nothing.

    Only time spent waiting for the network counts: a slow disk is not the connection's fault.

    :param min_rate: bytes per second.
    :param window: seconds of waiting over which the rate is measured.
    """

    min_rate: float = 16 * KIB
    window: float = 30.0
    _count: int = 0
    _waited: float = 0.0

    def is_stalled_after(self, count: int, waited: float) -> bool:
        """Return whether the connection is too slow, after one more read.

        :param count: bytes read.
        :param waited: seconds spent waiting for them.
        """
        self._count += count
        self._waited += waited
        if self._waited < self.window:
            return False
        stalled = self._count < self.min_rate * self._waited
        self._count, self._waited = 0, 0.0
        return stalled


@dataclass
class TransferProgress:
    """Formats the progress of a transfer, at most once per interval.

    :param total: size of the file in bytes, None while it is unknown.
    :param started_at: monotonic time, as all others here.
    :param initial_bytes: bytes that an earlier try has stored.
    """

    total: int | None
    started_at: float
    initial_bytes: int = 0
    interval: float = PROGRESS_INTERVAL
    _reported_at: float = field(init=False)
    _reported_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        self._reported_at, self._reported_bytes = self.started_at, self.initial_bytes

    def line_if_due(self, now: float, done: int) -> str | None:
        """Return a line if one is due: bytes, percent, rate, time left."""
        if now - self._reported_at < self.interval:
            return None
        rate = max(0, done - self._reported_bytes) / (now - self._reported_at)
        self._reported_at, self._reported_bytes = now, done
        return f"{self._amount_text(done)}, {size_text(rate)}/s{self._time_left_text(done, rate)}"

    def final_line(self, now: float, done: int) -> str:
        """Return the last line: what was transferred in this try, and how fast."""
        seconds = max(now - self.started_at, 1e-3)
        count = done - self.initial_bytes
        rate, duration = size_text(count / seconds), duration_text(seconds, decimals=0)
        return f"{self._amount_text(done)}, {size_text(count)} in {duration}, {rate}/s"

    def _amount_text(self, done: int) -> str:
        if not self.total:
            return size_text(done)
        percent = 100 * done / self.total
        return f"{size_text(done)} of {size_text(self.total)} ({percent:.1f} %)"

    def _time_left_text(self, done: int, rate: float) -> str:
        if self.total is None:
            return ""
        if rate <= 0:
            return ", time left unknown"
        return f", {duration_text(max(0, self.total - done) / rate, decimals=0)} left"


@dataclass
class RetryBudget:
    """Limits the failures of a transfer; a mebibyte of progress resets the counts.

    :param max_failures: the failure in a row at which the transfer is given up.
    :param max_url_refusals: likewise for refused signed URLs, of which all but the first are fresh.
    """

    max_failures: int = 8
    max_url_refusals: int = 3
    _failures: int = 0
    _url_refusals: int = 0
    _progress: int = 0

    def add_progress(self, count: int) -> None:
        """Count received bytes."""
        self._progress += count
        if self._progress >= MIB:
            self._failures = self._url_refusals = self._progress = 0

    def pause_after_failure(self, jitter: float) -> float | None:
        """Count a failure; return the seconds before the next try, None to give up."""
        self._failures += 1
        if self._failures >= self.max_failures:
            return None
        return backoff(self._failures - 1, jitter, first=0.2)

    def may_refresh_url(self) -> bool:
        """Count a refused URL; return whether to request a fresh one."""
        self._url_refusals += 1
        return self._url_refusals < self.max_url_refusals


PROBE_SECONDS = 2.0
"""Seconds for which one connection is measured, and likewise several."""

PROBE_BLOCKS = 2
"""Blocks from each of several connections before they are judged: the first all come at once."""

MIN_SPEEDUP = 1.2
"""How much faster several connections must be than one to be worth their requests."""

MIN_NETWORK_SHARE = 0.5
"""Share of the time spent waiting for the network from which on the network is the bottleneck."""

MAX_FAILURES = 3
"""Failures of parallel connections after which they are not tried again."""


@dataclass
class ConnectionProbe:
    """Measures whether several connections are faster than one.

    A download begins with one connection. If the network limits it, and enough is left, several
    are tried for a few seconds, and kept if they are faster by a fifth; otherwise one connection
    continues for good. So a wrong guess costs at most those few seconds.

    :param connections: how many to try; 1 tries nothing.
    :param started_at: monotonic time, as all others here.
    :param start_bytes: bytes of the file that were there when the measurement started.
    """

    connections: int
    started_at: float
    start_bytes: int = 0
    probe_seconds: float = PROBE_SECONDS
    _single_rate: float | None = None
    _decided: bool = False
    _waited: float = 0.0
    _failures: int = 0

    def restart(self, now: float, done: int) -> None:
        """Start a new measurement."""
        self.started_at, self.start_bytes, self._waited = now, done, 0.0

    def should_try_parallel(
        self, now: float, done: int, waited: float, remaining: int | None
    ) -> bool:
        """Measure a single connection; return whether to try several now.

        :param waited: seconds spent waiting for the network since the last call.
        :param remaining: bytes that are still missing, None if unknown.
        """
        self._waited += waited
        elapsed = now - self.started_at
        if self._decided or self.connections < 2 or remaining is None:
            return False
        if elapsed < self.probe_seconds:
            return False
        self._single_rate = (done - self.start_bytes) / elapsed
        network_bound = self._waited / elapsed >= MIN_NETWORK_SHARE
        worthwhile = remaining > self._single_rate * 4 * self.probe_seconds
        self.restart(now, done)
        return network_bound and worthwhile

    def should_stay_parallel(self, now: float, done: int, blocks: int) -> bool:
        """Measure several connections; return whether to keep them.

        :param blocks: blocks received from them so far.
        """
        elapsed = now - self.started_at
        if self._decided or self._single_rate is None:
            return True
        if blocks < PROBE_BLOCKS * self.connections or elapsed < self.probe_seconds:
            return True
        self._decided = True
        faster = (done - self.start_bytes) / elapsed >= MIN_SPEEDUP * self._single_rate
        if not faster:
            self.connections = 1
        return faster

    def on_parallel_failure(self) -> None:
        """Count a failure of parallel connections; the last allowed one rules them out."""
        self._failures += 1
        self._decided = self._failures >= MAX_FAILURES
        if self._decided:
            self.connections = 1
