"""What the log of a waiting task says about its build, line by line."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from typing import TYPE_CHECKING

from airflow_provider_buildpixel.api.fields import instant
from airflow_provider_buildpixel.api.text import plain
from airflow_provider_buildpixel.builds.logs import LEVELS, LogSummary, LogTail, recent_lines
from airflow_provider_buildpixel.channel.events import (
    Disconnected,
    Joined,
    LinesDropped,
    LogEvent,
)

if TYPE_CHECKING:
    from airflow_provider_buildpixel.api.model import Build, Status
    from airflow_provider_buildpixel.builds.logs import LogLine
    from airflow_provider_buildpixel.channel.events import Event


HEARTBEAT = 600.0
"""Seconds of silence after which the log says that it still waits."""

TROUBLE_INTERVAL = 60.0
"""Seconds between two lines about reads that go on failing."""

PROCESS_RATE, PROCESS_BURST = 200.0, 5_000.0
"""Lines of live logs a second, and at once, for all builds that one process tells of."""


@dataclass(frozen=True, slots=True)
class LogMessage:
    """One line for the task's log.

    :param level: ``info``, ``warn`` or ``error``.
    :param line: the build's own line, where it is one.
    :param left_out: of how many lines it says that they were left out.
    """

    text: str
    level: str = "info"
    line: LogLine | None = None
    left_out: int = 0


class TokenBucket:
    """Lets so many lines a second through, and a burst."""

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate, self._burst = rate, burst
        self._left, self._at = burst, now

    def spend(self, now: float) -> bool:
        """Tell whether one more line may go."""
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class LogBudget:
    """How many lines may go; warnings and errors have a share that info cannot use up.

    :param rate: lines a second of either kind, with bursts of ``burst``.
    """

    __slots__ = ("_info", "_worse")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._info, self._worse = TokenBucket(rate, burst, now), TokenBucket(rate, burst, now)

    @classmethod
    def of_process(cls, now: float) -> LogBudget:
        """Make one for all builds that one process tells of: a line costs Airflow a millisecond."""
        return cls(PROCESS_RATE, PROCESS_BURST, now)

    def spend(self, level: str, now: float) -> bool:
        """Tell whether one more line may go."""
        return (self._info if level == "info" else self._worse).spend(now)


class _BuildLog:
    """What is kept of a build's log; most of thousands of waits never hear a line."""

    __slots__ = ("allowance", "summary", "tail")

    def __init__(self, allowance: LogBudget) -> None:
        self.allowance = allowance
        self.tail = LogTail()
        self.summary = LogSummary()


class WaitReporter:
    """Tells a wait: changes of status and phase, the live log, gaps in it.

    :param stream: which lines: ``all``, ``warn``, ``error`` or None for none.
    :param rate: lines a second, with bursts of ``burst``; the rest is left out and counted.
    :param common: what all waits of a process may tell together.
    :param resumed: an earlier run has told the lines before this one; they are not told again.
    """

    __slots__ = (
        "_before",
        "_burst",
        "_common",
        "_kept",
        "_least",
        "_left_out",
        "_lost_at",
        "_rate",
        "_resumed",
        "_resumed_at",
        "_spoke_at",
        "_status",
        "_title",
        "_troubled_at",
        "queued",
        "started",
    )

    def __init__(
        self,
        now: float,
        *,
        stream: str | None = "all",
        rate: float = 50.0,
        burst: float = 500.0,
        title: str = "the build",
        common: LogBudget | None = None,
        resumed: bool = False,
    ) -> None:
        self._least = LEVELS["info"] if stream == "all" else LEVELS.get(stream or "", 9)
        self._title = title
        self._rate, self._burst = rate, burst
        self._common = common
        self._resumed = resumed
        self._resumed_at: datetime | None = None
        self._before = 0
        self._kept: _BuildLog | None = None
        self._left_out = 0
        self._status: Status | None = None
        self._lost_at: float | None = None
        self._troubled_at: float | None = None
        self._spoke_at = now
        self.started = now
        self.queued: float | None = None

    @property
    def summary(self) -> LogSummary:
        """What the lines so far tell: phase and errors."""
        return self._kept.summary if self._kept is not None else LogSummary()

    @property
    def streams(self) -> bool:
        """Whether lines are told, and any came so far."""
        return self._kept is not None and self._least <= LEVELS["error"]

    def on_event(self, event: Event, now: float) -> list[LogMessage]:
        """Tell an event of the channel."""
        match event:
            case LogEvent(line=line) if self._log(now).tail.add_live(line):
                return self._spoken(self._told(line, now), now)
            case LinesDropped(lines=lines) if self._least <= LEVELS["error"]:
                self._left_out += lines
            case Disconnected(reason=reason) if self._lost_at is None:
                self._lost_at = now
                return self._spoken(self._down(reason), now)
            case Joined() if self._lost_at is not None:
                gap, self._lost_at = now - self._lost_at, None
                return self._spoken(self._back(gap), now)
        return []

    def on_read(self, build: Build, now: float, wall: float | None = None) -> list[LogMessage]:
        """Tell a read: a change of status, and the recent lines that the channel did not bring.

        :param wall: the service's clock, in seconds since the epoch.
        """
        self._troubled_at = None
        if self._resumed and self._resumed_at is None and wall is not None:
            self._resumed_at = datetime.fromtimestamp(wall - (now - self.started), UTC)
        records = []
        if lines := recent_lines(build.raw):
            new = self._log(now).tail.add_recent(lines)
            records = [record for line in new for record in self._told(line, now, read=True)]
            records = [*self._told_before(), *records]
            self._resumed = False  # what is new from here on was told by nobody
        records += self._debt()
        if build.status != self._status:
            self._left_queue(build.status, now)
            phase = f" (phase: {self.summary.phase})" if self.summary.phase else ""
            records.append(LogMessage(plain(f"{build.title} is {build.status}{phase}")))
            self._status = build.status
        elif not records and now - self._spoke_at >= HEARTBEAT:
            records.append(self._alive(now))
        return self._spoken(records, now)

    def quiet_until(self) -> float:
        """Give the instant until which a read that brings nothing new leaves nothing to say."""
        quiet = self._troubled_at is None and not self._left_out
        return self._spoke_at + HEARTBEAT if quiet else -inf

    def on_read_failed(self, error: Exception, now: float) -> list[LogMessage]:
        """Tell a read that failed: the first one, and then one now and then until one succeeds."""
        if self._troubled_at is not None and now - self._troubled_at < TROUBLE_INTERVAL:
            return []
        self._troubled_at = now
        return self._spoken([LogMessage(f"could not read {self._title}: {error}", "warn")], now)

    def _left_queue(self, status: Status, now: float) -> None:
        """Take note of how long the build was seen in the queue."""
        if self._status is not None and self._status.queued and not status.queued:
            self.queued = now - self.started

    def _log(self, now: float) -> _BuildLog:
        if self._kept is None:
            self._kept = _BuildLog(LogBudget(self._rate, self._burst, now))
        return self._kept

    def _spoken(self, records: list[LogMessage], now: float) -> list[LogMessage]:
        if records:
            self._spoke_at = now
        return records

    def _told(self, line: LogLine, now: float, *, read: bool = False) -> list[LogMessage]:
        kept = self._log(now)
        phase = kept.summary.add(line)
        if read and self._is_old(line):
            self._before += 1
            return []
        records = [LogMessage(f"phase: {phase}")] if phase else []
        if LEVELS[line.level] < self._least:
            return records
        if not kept.allowance.spend(line.level, now) or not self._common_spend(line.level, now):
            self._left_out += 1
            return records
        return [*self._debt(), *records, LogMessage(f"| {line.shown}", line.level, line)]

    def _common_spend(self, level: str, now: float) -> bool:
        return self._common is None or self._common.spend(level, now)

    def _is_old(self, line: LogLine) -> bool:
        """Tell a line from before a restart; one without a time is, if it comes with the first."""
        if not self._resumed:
            return False
        at = instant(line.timestamp)
        if at is None or self._resumed_at is None:
            return True
        return at < self._resumed_at

    def _told_before(self) -> list[LogMessage]:
        """Say once how many lines are from before a restart."""
        before, self._before = self._before, 0
        text = f"waiting again; {before} lines are from before: above, or on the build's own page"
        return [LogMessage(text)] if before else []

    def _debt(self) -> list[LogMessage]:
        owed, self._left_out = self._left_out, 0
        text = f"… {owed:,} lines left out".replace(",", " ")
        return [LogMessage(text, left_out=owed)] if owed else []

    def _down(self, reason: str) -> list[LogMessage]:
        why = f" ({reason})" if reason else ""
        return [LogMessage(f"no live channel{why}: reading the status over REST meanwhile", "warn")]

    def _back(self, gap: float) -> list[LogMessage]:
        return [LogMessage(f"live channel is up again; the live log was blind for {gap:.0f} s")]

    def _alive(self, now: float) -> LogMessage:
        phase = f", phase: {self.summary.phase}" if self.summary.phase else ""
        minutes = (now - self.started) / 60
        state = plain(f"{self._title} is {self._status}{phase}")
        return LogMessage(f"still waiting: {state}; {minutes:.0f} min")
