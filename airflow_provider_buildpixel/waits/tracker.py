"""How to wait for one build: a machine that never sees a socket or a clock.

Ask it what it wants, and tell it what came of that::

    want  → Read      read the build over REST, then learn(build) or miss(error);
                      whoever reads for many may say asked() and go on asking what it wants
          → Listen    wait that long for an event of the channel, then hear(event)
          → Done      REST reported a terminal status
          → Expired   the time is over; the build goes on

The rules. Joining a room makes a read due, as nothing is replayed. An event is a rumour and only
makes a read due; no rumour concludes anything. While the channel stands, a read is a rare
backstop, but for one more soon after a join, as joins are not acknowledged for sure; while the
channel is down, reads poll. A read that fails moves the next one forward, never back. Every
state has a next instant, so no wait can hang.

Thousands of waits are not asked each time that a list shows their build as it was: a wait that
has nothing to doubt says by ``ease`` how it may be left alone, and learns of it all at once.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from airflow_provider_buildpixel.api.errors import (
    NotFound,
    RateLimited,
)
from airflow_provider_buildpixel.api.retry import (
    backoff,
    from_gateway,
    is_permanent,
    retry_after_pause,
)
from airflow_provider_buildpixel.channel.events import (
    Disconnected,
    Joined,
    LogEvent,
    StatusHint,
)
from airflow_provider_buildpixel.waits.actions import (
    Action,
    Done,
    Expired,
    IdleTerms,
    Listen,
    Pacing,
    Read,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.api.errors import BuildPixelError
    from airflow_provider_buildpixel.api.model import Build, Status
    from airflow_provider_buildpixel.channel.events import Event


__all__ = [
    "Action",
    "BuildTracker",
    "Done",
    "Expired",
    "IdleTerms",
    "Listen",
    "Pacing",
    "Read",
    "is_permanent",
]

READ_TIMEOUT = 900.0
"""Seconds after which a read that was asked for and never answered is asked for again."""

GATEWAY_PATIENCE = 60.0
"""Seconds for which a refusal that is none of BuildPixel's own is put up with."""

MAX_LISTEN = 3600.0
"""Seconds that one Listen lasts at most; clocks and queues refuse very long ones."""


class BuildTracker:
    """Waits for one build.

    :param now: the instant at which it starts, on the clock of every later ``now``.
    :param until: when to give up, None for never.
    :param queue_until: when to give up if the build is still queued.
    :param live: whether there is a channel to listen to at all.
    :param insist: poll no more often than the backstop while the channel is down.
    :param chance: gives numbers between 0 and 1, to spread many waits over time.
    """

    __slots__ = (
        "_absent_since",
        "_asked",
        "_asked_until",
        "_end",
        "_hint_reads",
        "_hints",
        "_jitter",
        "_joined",
        "_last_read",
        "_misses",
        "_not_before",
        "_pacing",
        "_queue_until",
        "_read_at",
        "_reason_at",
        "_settled",
        "_socket_only",
        "_started",
        "_status",
        "_trouble_since",
        "_until",
        "live",
    )

    def __init__(
        self,
        now: float,
        *,
        pacing: Pacing | None = None,
        until: float | None = None,
        queue_until: float | None = None,
        live: bool = True,
        socket_only: bool = False,
        jitter: Callable[[], float] = lambda: 0.5,
    ) -> None:
        self._pacing = pacing or Pacing()
        self._until = inf if until is None else until
        self._queue_until = inf if queue_until is None else queue_until
        self.live = live
        self._socket_only = socket_only
        self._jitter = jitter
        self._joined = False
        self._settled = False
        self._read_at = now + (self._pacing.join_wait if live else 0.0)
        self._not_before = now
        self._last_read = -inf
        self._status: Status | None = None
        self._end: Build | None = None
        self._started = False
        self._misses = 0
        self._trouble_since: float | None = None
        self._absent_since: float | None = None
        self._hints: tuple[Status, ...] = ()
        self._hint_reads = 0
        self._reason_at = -inf
        self._asked: Read | None = None
        self._asked_until = -inf

    @property
    def status(self) -> Status | None:
        """The build's status as last read; of a build that goes on no more is kept."""
        return self._status

    def next_action(self, now: float) -> Action:
        """Say what to do next."""
        if self._end is not None:
            return Done(self._end)
        if now >= self._until:
            return Expired()
        queue_until = self._queue_end()
        if now >= queue_until:
            return Expired(queue=True)
        read = self._read()
        asked = self._asked is not None and now < self._asked_until
        if now >= self._read_at and not (asked and self._asked == read):
            return read
        next_at = self._asked_until if asked else self._read_at
        return Listen(min(next_at - now, self._until - now, queue_until - now, MAX_LISTEN))

    def read_requested(self, now: float) -> None:
        """Note that the read is under way, so that it is not wanted again before its answer.

        What makes it more urgent meanwhile, such as a rumour of the end, is wanted all the same.
        """
        self._asked, self._asked_until = self._read(), now + READ_TIMEOUT

    def on_event(self, event: Event, now: float) -> None:
        """Take an event of the channel: at most a reason to read."""
        if isinstance(event, Joined | StatusHint):
            self._reason_at = now
        match event:
            case Joined():
                self._joined, self._settled = True, False
                self._read_by(max(now, self._last_read + self._pacing.hint_gap))
            case Disconnected():
                self._joined = self._settled = False
                self._read_by(self._last_read + self._interval())
            case StatusHint(status=status):
                self._read_by(self._hint_read_at(status, now))
            case LogEvent(line=line) if line.ends_build:
                self._read_by(max(now, self._last_read) + self._pacing.hint_gap)

    def on_read(self, build: Build, now: float, since: float | None = None) -> None:
        """Take a build that REST has just reported.

        :param since: when that read began, if not just now: one that began before the last
            reason to doubt settles nothing, unless it tells of the end, which never changes.
        """
        self._status = build.status
        self._end = build if build.status.terminal else None
        self._started = self._started or not build.status.queued
        self.on_unchanged(now, since)

    def on_unchanged(self, now: float, since: float | None = None) -> None:
        """Take a read that showed no more than is known; the parameters are those of learn."""
        own, self._asked = self._asked is not None, None
        self._misses = 0
        self._trouble_since = self._absent_since = None
        if since is not None and since < self._reason_at and self._end is None:
            if own:  # lists that others asked for must not put it off again and again
                self._not_before = max(self._not_before, since + self._pacing.hint_gap)
            self._read_by(now)
            return
        self._last_read = now
        pause = self._pause()  # of the first read after a join, too, which settles
        self._settled = True
        if self._hints:
            self._hint_reads = min(self._hint_reads + 1, 16)
        self._read_at = max(self._not_before, now + pause * (1 + self._jitter() / 10))

    def idle_terms(self, until: float = inf) -> IdleTerms | None:
        """Say how this wait may be left alone; None while there is anything to doubt.

        :param until: an instant at which its caller has something to do.
        """
        if self._status is None or self._end is not None or self._asked is not None:
            return None
        if not self._calm():
            return None
        # Where a refusal has put the next read off, the one after it is not put off likewise.
        pause = min(self._read_at - self._last_read, 1.1 * self._pause(), MAX_LISTEN)
        until = min(until, self._until, self._queue_end())
        return IdleTerms(self._status, self._reason_at, pause, until)

    def on_read_failed(self, error: BuildPixelError, now: float) -> None:
        """Take a read that failed; raise it if waiting cannot cure it."""
        doomed = is_permanent(error) and not from_gateway(error)
        if doomed or self._gone(error, now) or self._out_of_patience(error, now):
            raise error
        self._asked = None
        cap = min(30.0, self._pacing.poll_interval)
        pause = backoff(self._misses, self._jitter(), first=min(1.0, cap), cap=cap)
        if isinstance(error, RateLimited) and error.wait is not None:
            pause = retry_after_pause(error.wait, self._jitter(), pause)
        self._misses += 1
        self._read_at = self._not_before = max(self._not_before, now + pause)

    def _read(self) -> Read:
        """Say what kind of read is due."""
        if self._hints:
            return Read(self._hints[0])
        return _ROUTINE_READ[self._joined] if self._calm() else _READ_NOW

    def _calm(self) -> bool:
        """Tell whether a read has counted since the last thing that happened."""
        return self._settled and self._reason_at <= self._last_read

    def _queue_end(self) -> float:
        """Give the end of the time in the queue; a stale read does not put a build back there."""
        return inf if self._started else self._queue_until

    def _interval(self) -> float:
        """Give the pause between reads for the sake of safety.

        A join is not acknowledged for sure, so the first read after it may have come too early:
        one more follows soon.
        """
        calm = (self._joined and self._settled) or self._socket_only
        return self._pacing.poll_interval * (self._pacing.backstop if calm else 1.0)

    def _pause(self) -> float:
        """Give the pause after a read that counted: short while there is a rumour of the end."""
        if not self._hints:
            return self._interval()
        return min(self._interval(), self._pacing.hint_gap * 2.0**self._hint_reads)

    def _read_by(self, at: float) -> None:
        self._read_at = max(self._not_before, min(self._read_at, at))

    def _hint_read_at(self, status: Status | None, now: float) -> float:
        """Say when a rumour is worth a read: at once if it is a new end, else not too often."""
        if status is not None and status == self._status:
            return inf
        if status is not None and status.terminal and status not in self._hints:
            self._hints = (*self._hints, status)
            return now
        return max(now, self._last_read + self._pacing.hint_gap)

    def _gone(self, error: BuildPixelError, now: float) -> bool:
        """Tell a build that is not there from one that is not visible yet."""
        if not isinstance(error, NotFound):
            self._absent_since = None
            return False
        if self._absent_since is None:
            self._absent_since = now
        return now - self._absent_since >= self._pacing.absence

    def _out_of_patience(self, error: BuildPixelError, now: float) -> bool:
        """Tell that reads failed for too long, or would: a 429 may ask for more than patience."""
        if self._trouble_since is None:
            self._trouble_since = now
        if is_permanent(error):
            return now - self._trouble_since >= GATEWAY_PATIENCE
        asked = error.wait if isinstance(error, RateLimited) else None
        if asked is not None and asked > self._pacing.patience:
            return True
        return now - self._trouble_since >= self._pacing.patience


_READ_NOW = Read()
_ROUTINE_READ = {False: Read(routine=True), True: Read(routine=True, safety=True)}
"""By whether the channel stands; thousands of waits share them."""
