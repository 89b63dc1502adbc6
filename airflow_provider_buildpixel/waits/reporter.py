"""The messages about a wait in the task's log: status, phase, live log lines, trouble."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from typing import TYPE_CHECKING

from airflow_provider_buildpixel.api.fields import timestamp
from airflow_provider_buildpixel.api.text import sanitize
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
"""Seconds without a message after which the log reports that the task still waits."""

TROUBLE_INTERVAL = 60.0
"""Seconds between two messages about reads that keep failing."""

PROCESS_RATE, PROCESS_BURST = 200.0, 5_000.0
"""Live log lines per second, and in one burst, for all builds that one process reports on."""


@dataclass(frozen=True, slots=True)
class LogMessage:
    """One line for the task's log.

    :param level: ``info``, ``warn`` or ``error``.
    :param line: the build's log line, if the message is one.
    :param dropped: the number of dropped log lines that the message reports.
    """

    text: str
    level: str = "info"
    line: LogLine | None = None
    dropped: int = 0


class TokenBucket:
    """Admits a number of lines per second, and bursts."""

    __slots__ = ("_burst", "_filled_at", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate, self._burst = rate, burst
        self._tokens, self._filled_at = burst, now

    def spend(self, now: float) -> bool:
        """Return whether one more line is admitted; it is counted."""
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class LogBudget:
    """Limits log lines; warnings and errors have a bucket that info lines cannot empty.

    :param rate: lines per second of either kind, with bursts of ``burst``.
    """

    __slots__ = ("_info", "_problems")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._info, self._problems = TokenBucket(rate, burst, now), TokenBucket(rate, burst, now)

    @classmethod
    def for_process(cls, now: float) -> LogBudget:
        """Return the budget of all builds of a process: a line costs Airflow a millisecond."""
        return cls(PROCESS_RATE, PROCESS_BURST, now)

    def spend(self, level: str, now: float) -> bool:
        """Return whether one more line of a level is admitted; it is counted."""
        return (self._info if level == "info" else self._problems).spend(now)


class _BuildLog:
    """The known log of one build; created on its first line, as most waits get none."""

    __slots__ = ("budget", "summary", "tail")

    def __init__(self, budget: LogBudget) -> None:
        self.budget = budget
        self.tail = LogTail()
        self.summary = LogSummary()


class WaitReporter:
    """Turns events and reads of one wait into log messages, within the log budget.

    :param stream_logs: which log lines: ``all``, ``warn``, ``error`` or None for none.
    :param rate: lines per second, with bursts of ``burst``; the rest is dropped and counted.
    :param process_budget: the log budget that all waits of the process share.
    :param resumed: an earlier run has reported the lines before this one; they are not repeated.
    """

    __slots__ = (
        "_build_log",
        "_burst",
        "_disconnected_at",
        "_dropped_lines",
        "_failure_reported_at",
        "_last_message_at",
        "_min_level",
        "_old_lines",
        "_process_budget",
        "_rate",
        "_resumed",
        "_resumed_at",
        "_status",
        "_title",
        "queued_seconds",
        "started_at",
    )

    def __init__(
        self,
        now: float,
        *,
        stream_logs: str | None = "all",
        rate: float = 50.0,
        burst: float = 500.0,
        title: str = "the build",
        process_budget: LogBudget | None = None,
        resumed: bool = False,
    ) -> None:
        self._min_level = (
            LEVELS["info"] if stream_logs == "all" else LEVELS.get(stream_logs or "", 9)
        )
        self._title = title
        self._rate, self._burst = rate, burst
        self._process_budget = process_budget
        self._resumed = resumed
        self._resumed_at: datetime | None = None
        self._old_lines = 0
        self._build_log: _BuildLog | None = None
        self._dropped_lines = 0
        self._status: Status | None = None
        self._disconnected_at: float | None = None
        self._failure_reported_at: float | None = None
        self._last_message_at = now
        self.started_at = now
        self.queued_seconds: float | None = None

    @property
    def summary(self) -> LogSummary:
        """The phase and the errors of all lines so far."""
        return self._build_log.summary if self._build_log is not None else LogSummary()

    @property
    def is_streaming(self) -> bool:
        """Whether log lines are reported, and at least one has arrived."""
        return self._build_log is not None and self._min_level <= LEVELS["error"]

    def on_event(self, event: Event, now: float) -> list[LogMessage]:
        """Return the messages about an event of the channel."""
        match event:
            case LogEvent(line=line) if self._log(now).tail.add_live(line):
                return self._noted(self._line_messages(line, now), now)
            case LinesDropped(lines=lines) if self._min_level <= LEVELS["error"]:
                self._dropped_lines += lines
            case Disconnected(reason=reason) if self._disconnected_at is None:
                self._disconnected_at = now
                return self._noted([_disconnected_message(reason)], now)
            case Joined() if self._disconnected_at is not None:
                gap, self._disconnected_at = now - self._disconnected_at, None
                return self._noted([_reconnected_message(gap)], now)
        return []

    def on_read(self, build: Build, now: float, wall: float | None = None) -> list[LogMessage]:
        """Return the messages about a read: a new status, and lines the channel did not deliver.

        :param wall: the server's clock, in seconds since the epoch.
        """
        self._failure_reported_at = None
        if self._resumed and self._resumed_at is None and wall is not None:
            self._resumed_at = datetime.fromtimestamp(wall - (now - self.started_at), UTC)
        messages = []
        if lines := recent_lines(build.raw):
            new = self._log(now).tail.add_recent(lines)
            messages = [
                message for line in new for message in self._line_messages(line, now, read=True)
            ]
            messages = [*self._old_lines_message(), *messages]
            self._resumed = False  # no earlier run has reported the lines that follow
        messages += self._dropped_message()
        if build.status != self._status:
            self._measure_queue(build.status, now)
            phase = f" (phase: {self.summary.phase})" if self.summary.phase else ""
            messages.append(LogMessage(sanitize(f"{build.title} is {build.status}{phase}")))
            self._status = build.status
        elif not messages and now - self._last_message_at >= HEARTBEAT:
            messages.append(self._heartbeat_message(now))
        return self._noted(messages, now)

    def next_report_at(self) -> float:
        """Return from when on a read that shows nothing new leads to a message."""
        is_quiet = self._failure_reported_at is None and not self._dropped_lines
        return self._last_message_at + HEARTBEAT if is_quiet else -inf

    def on_read_failed(self, error: Exception, now: float) -> list[LogMessage]:
        """Return the message about a failed read; at most one a minute until a read succeeds."""
        reported_at = self._failure_reported_at
        if reported_at is not None and now - reported_at < TROUBLE_INTERVAL:
            return []
        self._failure_reported_at = now
        return self._noted([LogMessage(f"could not read {self._title}: {error}", "warn")], now)

    def _measure_queue(self, status: Status, now: float) -> None:
        """Store the time in the queue if the build has just left it."""
        if self._status is not None and self._status.queued and not status.queued:
            self.queued_seconds = now - self.started_at

    def _log(self, now: float) -> _BuildLog:
        if self._build_log is None:
            self._build_log = _BuildLog(LogBudget(self._rate, self._burst, now))
        return self._build_log

    def _noted(self, messages: list[LogMessage], now: float) -> list[LogMessage]:
        """Return the messages; store the time of the last one."""
        if messages:
            self._last_message_at = now
        return messages

    def _line_messages(self, line: LogLine, now: float, *, read: bool = False) -> list[LogMessage]:
        log = self._log(now)
        phase = log.summary.add(line)
        if read and self._is_old(line):
            self._old_lines += 1
            return []
        messages = [LogMessage(f"phase: {phase}")] if phase else []
        if LEVELS[line.level] < self._min_level:
            return messages
        if not log.budget.spend(line.level, now) or not self._spend_shared(line.level, now):
            self._dropped_lines += 1
            return messages
        return [
            *self._dropped_message(),
            *messages,
            LogMessage(f"| {line.display_text}", line.level, line),
        ]

    def _spend_shared(self, level: str, now: float) -> bool:
        return self._process_budget is None or self._process_budget.spend(level, now)

    def _is_old(self, line: LogLine) -> bool:
        """Return whether a line is from before a restart; a line without a time counts as such."""
        if not self._resumed:
            return False
        at = timestamp(line.timestamp)
        if at is None or self._resumed_at is None:
            return True
        return at < self._resumed_at

    def _old_lines_message(self) -> list[LogMessage]:
        """Return the message about the lines from before a restart, once."""
        count, self._old_lines = self._old_lines, 0
        text = f"wait resumed; {count} earlier log lines are above, or on the build's own page"
        return [LogMessage(text)] if count else []

    def _dropped_message(self) -> list[LogMessage]:
        count, self._dropped_lines = self._dropped_lines, 0
        text = f"… {count:,} lines left out".replace(",", " ")
        return [LogMessage(text, dropped=count)] if count else []

    def _heartbeat_message(self, now: float) -> LogMessage:
        phase = f", phase: {self.summary.phase}" if self.summary.phase else ""
        minutes = (now - self.started_at) / 60
        state = sanitize(f"{self._title} is {self._status}{phase}")
        return LogMessage(f"still waiting: {state}; {minutes:.0f} min")


def _disconnected_message(reason: str) -> LogMessage:
    why = f" ({reason})" if reason else ""
    return LogMessage(f"no live channel{why}: reading the status over REST meanwhile", "warn")


def _reconnected_message(gap: float) -> LogMessage:
    return LogMessage(
        f"live channel is connected again after {gap:.0f} s; log lines of that time may be missing"
    )
