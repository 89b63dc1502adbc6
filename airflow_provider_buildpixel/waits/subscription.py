"""Queues the events of a build for each wait for that build."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from math import inf
from typing import TYPE_CHECKING, Protocol

from airflow_provider_buildpixel.channel import events
from airflow_provider_buildpixel.waits import actions
from airflow_provider_buildpixel.waits.actions import IdleWait
from airflow_provider_buildpixel.waits.timers import Timers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_buildpixel.api.model import Status
    from airflow_provider_buildpixel.waits.actions import IdleTerms, ReadTime
    from airflow_provider_buildpixel.waits.rows import Row


WaitEvent = events.Event | actions.BuildRead | actions.ReadFailed

MAX_QUEUED_LINES = 1_000
"""Log lines of one build that may be queued; further lines are dropped, counted and reported."""

MAX_QUEUED_HINTS = 100
"""Status hints that may be queued in addition: one read answers all of them."""

MAX_LINES_PER_SECOND = 500
"""Info lines of one build that are parsed; the log budget would not let more through anyway."""

MAX_QUEUED_LINES_IN_ALL = 20_000
"""Log lines of all builds together that may be queued."""


class EventHandler(Protocol):
    """Handles an event without waking the waiting coroutine: most of 10 000 waits are idle."""

    def on_unchanged_status(self, status: Status, since: float) -> float | None:
        """Handle a status that a read returned.

        :param since: when the read began.
        :return: the seconds until the next action, None if the status is new to the wait.
        """

    def next_pause(self) -> float | None:
        """Request the reads that are due; return the seconds until the next action, None to wake.

        None means that the wait is over, and its coroutine must run.
        """

    def idle_terms(self) -> IdleTerms | None:
        """Return how long reads with the known status may be skipped; None to skip none."""


class Subscription(IdleWait):
    """A bounded queue with the events of one build for one wait, in order."""

    __slots__ = (
        "_dropped_lines",
        "_error",
        "_events",
        "_lines_this_second",
        "_second",
        "_subscriptions",
        "_timer_at",
        "_waiter",
        "build_id",
        "handler",
    )

    def __init__(self, build_id: str, subscriptions: Subscriptions) -> None:
        super().__init__()
        self.build_id = build_id
        self.handler: EventHandler | None = None
        self._subscriptions = subscriptions
        self._events: deque[WaitEvent] | None = None  # thousands of queues are usually empty
        self._dropped_lines = self._second = self._lines_this_second = 0
        self._error: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer_at = inf

    def put(self, event: WaitEvent) -> None:
        """Queue an event; when log lines come too fast, warnings and errors have more room."""
        if self._events is None:
            self._events = deque()
        if isinstance(event, events.LogEvent):
            self._count_line()
            share = 1 if event.line.level == "info" else 2
            if (
                len(self._events) >= share * MAX_QUEUED_LINES
                or self._subscriptions.lines >= share * MAX_QUEUED_LINES_IN_ALL
            ):
                self._dropped_lines += 1
                return
            self._subscriptions.lines += 1
        elif self._events and (self._events[-1] == event or self._is_surplus_hint(event)):
            return
        self._events.append(event)
        self._wake_waiter()

    def _is_surplus_hint(self, event: WaitEvent) -> bool:
        """Whether so many events are queued that one more hint cannot make a read come sooner."""
        limit = 2 * MAX_QUEUED_LINES + MAX_QUEUED_HINTS
        return (
            isinstance(event, events.StatusHint)
            and self._events is not None
            and len(self._events) >= limit
        )

    def over_rate_limit(self) -> bool:
        """Return whether an info line exceeds the rate limit; count it as dropped if it does."""
        if self._lines_this_second < MAX_LINES_PER_SECOND or int(time.monotonic()) != self._second:
            return False
        self._dropped_lines += 1
        return True

    def _count_line(self) -> None:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._lines_this_second = second, 0
        self._lines_this_second += 1

    def on_unchanged_status(self, status: Status, read_time: ReadTime) -> bool:
        """Pass a status to the handler; return whether that was enough, without waking the wait."""
        if not self._is_idle or self.handler is None:
            return False
        pause = self.handler.on_unchanged_status(status, read_time.since)
        if pause is None:
            return False
        self._idle_for(pause)
        return True

    def set_error(self, error: BaseException) -> None:
        """Raise the error in the wait: no more events will come."""
        self._error = error
        self._wake_waiter()

    async def get(self, seconds: float) -> WaitEvent | None:
        """Return the next event; None if none came within the time, or earlier."""
        if not self._events and not self._dropped_lines and self._error is None:
            self._waiter = asyncio.get_running_loop().create_future()
            self._idle_for(max(0.0, seconds))
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self._error is not None:
            raise self._error
        return self._pop()

    def close(self) -> None:
        """Release the timer and the queued events."""
        self.handler = None
        self._subscriptions.timers.remove(self, self._timer_at)
        while self._events:
            self._pop()

    def _pop(self) -> WaitEvent | None:
        if self._events:
            event = self._events.popleft()
            if not self._events:
                self._events = None
            if isinstance(event, events.LogEvent):
                self._subscriptions.lines -= 1
            return event
        if self._dropped_lines:
            dropped, self._dropped_lines = self._dropped_lines, 0
            return events.LinesDropped(dropped)
        return None

    @property
    def _is_idle(self) -> bool:
        return self._waiter is not None and not self._waiter.done()

    def _idle_for(self, pause: float) -> None:
        wake_at = time.monotonic() + pause
        self.go_idle(self.handler.idle_terms() if self.handler is not None else None, wake_at)
        self._set_timer(wake_at)

    def _set_timer(self, at: float) -> None:
        """Set the timer, unless an earlier one fires anyway: most pauses only grow."""
        if self._timer_at <= at:
            return
        self._subscriptions.timers.remove(self, self._timer_at)
        self._timer_at = self._subscriptions.timers.add(self, at)

    def on_timer(self) -> None:
        """Take the next action if it is time; reads without a change may have put it off."""
        now = time.monotonic()
        if self._timer_at > now:  # another timer was set meanwhile
            return
        self._timer_at = inf
        if not self._is_idle:
            return
        wake_at = self.wake_at()
        if wake_at > now:
            self._set_timer(wake_at)
        else:
            self._idle_or_wake()

    def _idle_or_wake(self) -> None:
        pause: float | None = None
        try:
            pause = self.handler.next_pause() if self.handler is not None else None
        finally:
            if pause is None:  # also after an error, which is then raised in the wait itself
                self._wake_waiter()
            else:
                self._idle_for(pause)

    def _wake_waiter(self) -> None:
        self.wake()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Subscriptions:
    """The subscriptions of all waits on an event loop, by build."""

    def __init__(self) -> None:
        self._by_build: dict[str, tuple[Subscription, ...]] = {}
        self.timers = Timers()
        self.waits = 0
        self.lines = 0
        self.joined_at = -inf

    def add(self, build_id: str) -> tuple[Subscription, bool]:
        """Return a new subscription, and whether it is the first of its build."""
        subscription = Subscription(build_id, self)
        others = self._by_build.get(build_id, ())
        self._by_build[build_id] = (*others, subscription)
        self.waits += 1
        return subscription, not others

    def remove(self, subscription: Subscription) -> bool:
        """Remove and close a subscription; return whether it was the last of its build."""
        subscription.close()
        others = tuple(
            other for other in self._by_build[subscription.build_id] if other is not subscription
        )
        self.waits -= 1
        if not self.waits:
            self.timers.clear()
        if others:
            self._by_build[subscription.build_id] = others
            return False
        del self._by_build[subscription.build_id]
        return True

    def __contains__(self, build_id: object) -> bool:
        return build_id in self._by_build

    def builds(self) -> list[str]:
        """Return the ids of all builds with a subscription."""
        return list(self._by_build)

    def publish(self, build_id: str, event: WaitEvent) -> None:
        """Queue an event in every subscription of a build."""
        if isinstance(event, events.Joined):
            self.joined_at = time.monotonic()
        for subscription in self._by_build.get(build_id, ()):
            subscription.put(event)

    def changed_rows(self, rows: Iterable[Row], read_time: ReadTime) -> list[Row]:
        """Return the rows of a list that at least one wait of the build cannot skip."""
        changed = []
        for row in rows:
            status = row["status"]
            for subscription in self._by_build.get(row["id"], ()):
                if not subscription.on_status(status, read_time):
                    changed.append(row)
                    break
        return changed

    def on_unchanged_status(self, build_id: str, status: Status, read_time: ReadTime) -> bool:
        """Pass a status to each wait of a build until one needs an event; whether none did."""
        return all(
            subscription.on_unchanged_status(status, read_time)
            for subscription in self._by_build.get(build_id, ())
        )

    def over_rate_limit(self, build_id: str) -> bool:
        """Return whether an info line of a build can be dropped unparsed; count it if it can."""
        subscriptions = self._by_build.get(build_id)
        return (
            subscriptions is not None
            and len(subscriptions) == 1
            and subscriptions[0].over_rate_limit()
        )

    def set_error(self, error: BaseException, build_id: str | None = None) -> None:
        """Raise the error in the waits for one build, or in all waits."""
        for key in self.builds() if build_id is None else [build_id]:
            for subscription in self._by_build.get(key, ()):
                subscription.set_error(error)
