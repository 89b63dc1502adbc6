"""Decides what one wait for a build does next; it knows no socket, no REST and no clock.

The caller asks for the next action and reports the result::

    next_action  → Read      read the build over REST, then on_read(build) or on_read_failed(error);
                             a caller that reads later calls read_requested() and goes on
                 → Listen    wait that long for an event of the channel, then on_event(event)
                 → Done      REST reported a terminal status
                 → Expired   a deadline has passed; the build keeps running

The rules. After a join of the build's room a read is due, as the server replays no events. An event
is a hint and only makes a read due; no hint ends a wait. While the channel is connected, reads are
rare safety reads, except for a second one soon after a join, as a join is not acknowledged
reliably; while it is disconnected, reads poll. A failed read delays the next one, and nothing
makes that one earlier. Every state has a next instant, so no wait can hang.

A list that shows a build unchanged does not call its tracker: a wait whose last read is newer than
its last event returns ``idle_terms``, and handles all such reads at once when it wakes.
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
"""Seconds after which a requested read without an answer is requested again."""

GATEWAY_REFUSAL_GRACE = 60.0
"""Seconds for which refusals of a gateway, which are not BuildPixel's own, are tolerated."""

MAX_LISTEN = 3600.0
"""The most seconds of one Listen; clocks and queues reject very long timeouts."""

_MAX_HINT_READS = 16


class BuildTracker:
    """Decides when one wait reads its build, and when it ends.

    :param now: when the wait starts, on the clock of every later ``now``.
    :param deadline: when to give up, None for never.
    :param queue_deadline: when to give up if the build is still queued, None for never.
    :param uses_channel: whether the wait listens to a channel.
    :param socket_only: while the channel is disconnected, poll no more often than safety reads.
    :param jitter: returns numbers between 0 and 1, which spread many waits over time.
    """

    __slots__ = (
        "_deadline",
        "_earliest_read_at",
        "_ended_build",
        "_failures",
        "_failures_since",
        "_has_left_queue",
        "_hint_reads",
        "_hints",
        "_is_confirmed",
        "_is_joined",
        "_jitter",
        "_last_event_at",
        "_last_read_at",
        "_next_read_at",
        "_not_found_since",
        "_pacing",
        "_queue_deadline",
        "_request_expires_at",
        "_requested_read",
        "_socket_only",
        "_status",
        "uses_channel",
    )

    def __init__(
        self,
        now: float,
        *,
        pacing: Pacing | None = None,
        deadline: float | None = None,
        queue_deadline: float | None = None,
        uses_channel: bool = True,
        socket_only: bool = False,
        jitter: Callable[[], float] = lambda: 0.5,
    ) -> None:
        self._pacing = pacing or Pacing()
        self._deadline = inf if deadline is None else deadline
        self._queue_deadline = inf if queue_deadline is None else queue_deadline
        self.uses_channel = uses_channel
        self._socket_only = socket_only
        self._jitter = jitter
        self._is_joined = False
        self._is_confirmed = False  # a read has counted since the channel was joined or lost
        self._next_read_at = now + (self._pacing.join_wait if uses_channel else 0.0)
        self._earliest_read_at = now
        self._last_read_at = -inf
        self._last_event_at = -inf
        self._status: Status | None = None
        self._ended_build: Build | None = None
        self._has_left_queue = False
        self._failures = 0
        self._failures_since: float | None = None
        self._not_found_since: float | None = None
        self._hints: tuple[Status, ...] = ()
        self._hint_reads = 0
        self._requested_read: Read | None = None
        self._request_expires_at = -inf

    @property
    def status(self) -> Status | None:
        """The build's status in the last read, None before the first."""
        return self._status

    def next_action(self, now: float) -> Action:
        """Return what to do next."""
        if self._ended_build is not None:
            return Done(self._ended_build)
        if now >= self._deadline:
            return Expired()
        queue_deadline = self._current_queue_deadline()
        if now >= queue_deadline:
            return Expired(queue=True)
        read = self._due_read()
        is_requested = self._requested_read is not None and now < self._request_expires_at
        if now >= self._next_read_at and not (is_requested and self._requested_read == read):
            return read
        next_at = self._request_expires_at if is_requested else self._next_read_at
        return Listen(min(next_at - now, self._deadline - now, queue_deadline - now, MAX_LISTEN))

    def read_requested(self, now: float) -> None:
        """Record that the due read was requested: it is not due again until it is answered.

        If a hint arrives meanwhile, the read for that hint is due nevertheless.
        """
        self._requested_read, self._request_expires_at = self._due_read(), now + READ_TIMEOUT

    def on_event(self, event: Event, now: float) -> None:
        """Handle an event of the channel; it makes a read due at most."""
        if isinstance(event, Joined | StatusHint):
            self._last_event_at = now
        match event:
            case Joined():
                self._is_joined, self._is_confirmed = True, False
                self._read_by(max(now, self._last_read_at + self._pacing.hint_gap))
            case Disconnected():
                self._is_joined = self._is_confirmed = False
                self._read_by(self._last_read_at + self._safety_interval())
            case StatusHint(status=status):
                self._read_by(self._hint_read_at(status, now))
            case LogEvent(line=line) if line.ends_build:
                self._read_by(max(now, self._last_read_at) + self._pacing.hint_gap)

    def on_read(self, build: Build, now: float, since: float | None = None) -> None:
        """Handle a build that REST has just returned.

        :param since: when the read began, None for just now. A read that began before the last
            event does not count, unless it returned a terminal status, which never changes.
        """
        self._status = build.status
        self._ended_build = build if build.status.terminal else None
        self._has_left_queue = self._has_left_queue or not build.status.queued
        self.on_unchanged(now, since)

    def on_unchanged(self, now: float, since: float | None = None) -> None:
        """Handle a read that returned the known status; parameters as for :meth:`on_read`."""
        is_own, self._requested_read = self._requested_read is not None, None
        self._failures = 0
        self._failures_since = self._not_found_since = None
        if since is not None and since < self._last_event_at and self._ended_build is None:
            if is_own:  # lists that other waits requested must not delay the read repeatedly
                self._earliest_read_at = max(self._earliest_read_at, since + self._pacing.hint_gap)
            self._read_by(now)
            return
        self._last_read_at = now
        pause = self._pause()  # before the next line: it is short after the first read of a join
        self._is_confirmed = True
        if self._hints:
            self._hint_reads = min(self._hint_reads + 1, _MAX_HINT_READS)
        self._next_read_at = max(self._earliest_read_at, now + pause * (1 + self._jitter() / 10))

    def idle_terms(self, until: float = inf) -> IdleTerms | None:
        """Return for how long the wait needs no call, None while an event may be unread.

        :param until: when the caller needs a call for reasons of its own.
        """
        if (
            self._status is None
            or self._ended_build is not None
            or self._requested_read is not None
        ):
            return None
        if not self._is_routine():
            return None
        # If a 429 delayed the next read, the read after that one is not delayed as much.
        pause = min(self._next_read_at - self._last_read_at, 1.1 * self._pause(), MAX_LISTEN)
        until = min(until, self._deadline, self._current_queue_deadline())
        return IdleTerms(self._status, self._last_event_at, pause, until)

    def on_read_failed(self, error: BuildPixelError, now: float) -> None:
        """Handle a failed read; raise its error if waiting cannot help, or did not for too long."""
        is_final = is_permanent(error) and not from_gateway(error)
        if is_final or self._is_gone(error, now) or self._has_failed_too_long(error, now):
            raise error
        self._requested_read = None
        cap = min(30.0, self._pacing.poll_interval)
        pause = backoff(self._failures, self._jitter(), first=1.0, cap=cap)
        if isinstance(error, RateLimited) and error.wait is not None:
            pause = retry_after_pause(error.wait, self._jitter(), pause)
        self._failures += 1
        self._next_read_at = self._earliest_read_at = max(self._earliest_read_at, now + pause)

    def _due_read(self) -> Read:
        """Return the kind of read that is due."""
        if self._hints:
            return Read(self._hints[0])
        return _ROUTINE_READS[self._is_joined] if self._is_routine() else _READ_AFTER_EVENT

    def _is_routine(self) -> bool:
        """Return whether a read has counted since the last event."""
        return self._is_confirmed and self._last_event_at <= self._last_read_at

    def _current_queue_deadline(self) -> float:
        """Return the queue deadline; it does not come back when a stale read shows the queue."""
        return inf if self._has_left_queue else self._queue_deadline

    def _safety_interval(self) -> float:
        """Return the pause between routine reads, in seconds.

        A join is not acknowledged reliably, so the first read after it may have come too early:
        the second one follows soon.
        """
        is_rare = (self._is_joined and self._is_confirmed) or self._socket_only
        return self._pacing.poll_interval * (self._pacing.safety_factor if is_rare else 1.0)

    def _pause(self) -> float:
        """Return the pause after a counted read: short while a hint of the end is unconfirmed."""
        if not self._hints:
            return self._safety_interval()
        return min(self._safety_interval(), self._pacing.hint_gap * 2.0**self._hint_reads)

    def _read_by(self, at: float) -> None:
        self._next_read_at = max(self._earliest_read_at, min(self._next_read_at, at))

    def _hint_read_at(self, status: Status | None, now: float) -> float:
        """Return when to read after a hint: now for a new terminal status, else with a gap."""
        if status is not None and status == self._status:
            return inf
        if status is not None and status.terminal and status not in self._hints:
            self._hints = (*self._hints, status)
            return now
        return max(now, self._last_read_at + self._pacing.hint_gap)

    def _is_gone(self, error: BuildPixelError, now: float) -> bool:
        """Return whether a 404 has lasted too long for a build that is only not visible yet."""
        if not isinstance(error, NotFound):
            self._not_found_since = None
            return False
        if self._not_found_since is None:
            self._not_found_since = now
        return now - self._not_found_since >= self._pacing.not_found_grace

    def _has_failed_too_long(self, error: BuildPixelError, now: float) -> bool:
        """Return whether reads failed for too long, or a 429 asks for too long a pause."""
        if self._failures_since is None:
            self._failures_since = now
        if is_permanent(error):
            return now - self._failures_since >= GATEWAY_REFUSAL_GRACE
        wait = error.wait if isinstance(error, RateLimited) else None
        if wait is not None and wait > self._pacing.trouble_timeout:
            return True
        return now - self._failures_since >= self._pacing.trouble_timeout


_READ_AFTER_EVENT = Read()
_ROUTINE_READS = {False: Read(routine=True), True: Read(routine=True, safety=True)}
"""By whether the channel is joined; thousands of waits share these objects."""
