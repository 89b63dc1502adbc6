"""Where the news of a build waits for the tasks that wait for the build."""

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
"""Log lines of one build that may wait to be written; the rest is counted and said."""

MAX_QUEUED_HINTS = 100
"""Events of a status that may wait besides: one read serves them all."""

MAX_LINES_PER_SECOND = 500
"""Info lines of one build that are looked at; more cannot be told anyway."""

MAX_QUEUED_LINES_IN_ALL = 20_000
"""Log lines of all builds together that may wait, likewise."""


class EventHandler(Protocol):
    """Whom a mailbox spares what needs no waking: most of thousands of waits sleep all the time."""

    def glance(self, status: Status, since: float) -> float | None:
        """Take a status that a read reported; give the next pause, None if that was news."""

    def turn_over(self) -> float | None:
        """Do what is due after a pause; give the next pause, None to be woken."""

    def idle_terms(self) -> IdleTerms | None:
        """Say how the wait may be left alone; None if any news of the build matters."""


class Subscription(IdleWait):
    """The news of one build for one wait, in order and bounded."""

    __slots__ = (
        "_alarm",
        "_all",
        "_error",
        "_left_out",
        "_lines",
        "_news",
        "_second",
        "_waiter",
        "build_id",
        "reader",
    )

    def __init__(self, build_id: str, subscriptions: Subscriptions) -> None:
        super().__init__()
        self.build_id = build_id
        self.reader: EventHandler | None = None
        self._all = subscriptions
        self._news: deque[WaitEvent] | None = None  # thousands of boxes are empty most of the time
        self._left_out = self._second = self._lines = 0
        self._error: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._alarm = inf

    def put(self, event: WaitEvent) -> None:
        """Add news; of a flood of log lines only the more important half is kept."""
        if self._news is None:
            self._news = deque()
        if isinstance(event, events.LogEvent):
            self._count_line()
            share = 1 if event.line.level == "info" else 2
            if (
                len(self._news) >= share * MAX_QUEUED_LINES
                or self._all.lines >= share * MAX_QUEUED_LINES_IN_ALL
            ):
                self._left_out += 1
                return
            self._all.lines += 1
        elif self._news and (self._news[-1] == event or self._flooded(event)):
            return
        self._news.append(event)
        self._wake()

    def _flooded(self, event: WaitEvent) -> bool:
        """Tell a rumour on top of so many that one more cannot make the wait look sooner."""
        most = 2 * MAX_QUEUED_LINES + MAX_QUEUED_HINTS
        return (
            isinstance(event, events.StatusHint)
            and self._news is not None
            and len(self._news) >= most
        )

    def over_rate_limit(self) -> bool:
        """Tell, and take note, that an info line of a flood comes on top of too many."""
        if self._lines < MAX_LINES_PER_SECOND or int(time.monotonic()) != self._second:
            return False
        self._left_out += 1
        return True

    def _count_line(self) -> None:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._lines = second, 0
        self._lines += 1

    def glance(self, status: Status, stamp: ReadTime) -> bool:
        """Show the reader a status without waking it; tell whether that was enough."""
        if not self._asleep or self.reader is None:
            return False
        pause = self.reader.glance(status, stamp.since)
        if pause is None:
            return False
        self._sleep(pause)
        return True

    def fail(self, error: BaseException) -> None:
        """Let the wait fail, as nothing more will come."""
        self._error = error
        self._wake()

    async def get(self, seconds: float) -> WaitEvent | None:
        """Give the next news, None if none came in so many seconds, or earlier."""
        if not self._news and not self._left_out and self._error is None:
            self._waiter = asyncio.get_running_loop().create_future()
            self._sleep(max(0.0, seconds))
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self._error is not None:
            raise self._error
        return self._next()

    def close(self) -> None:
        """Give back what is held, lines that nobody reads any more among it."""
        self.reader = None
        self._all.alarms.take(self, self._alarm)
        while self._news:
            self._next()

    def _next(self) -> WaitEvent | None:
        if self._news:
            event = self._news.popleft()
            if not self._news:
                self._news = None
            if isinstance(event, events.LogEvent):
                self._all.lines -= 1
            return event
        if self._left_out:
            left_out, self._left_out = self._left_out, 0
            return events.LinesDropped(left_out)
        return None

    @property
    def _asleep(self) -> bool:
        return self._waiter is not None and not self._waiter.done()

    def _sleep(self, pause: float) -> None:
        due = time.monotonic() + pause
        self.lie_down(self.reader.idle_terms() if self.reader is not None else None, due)
        self._wake_at(due)

    def _wake_at(self, at: float) -> None:
        """Set the alarm, unless an earlier one will ring anyway: most pauses only grow."""
        if self._alarm <= at:
            return
        self._all.alarms.take(self, self._alarm)
        self._alarm = self._all.alarms.put(self, at)

    def ring(self) -> None:
        """Take a turn if it is time; reads that showed nothing new have put it off."""
        now = time.monotonic()
        if self._alarm > now:  # another has been set meanwhile
            return
        self._alarm = inf
        if not self._asleep:
            return
        due = self.due()
        if due > now:
            self._wake_at(due)
        else:
            self._turn_over()

    def _turn_over(self) -> None:
        pause: float | None = None
        try:
            pause = self.reader.turn_over() if self.reader is not None else None
        finally:
            if pause is None:  # or there was an error, which then comes up in the wait itself
                self._wake()
            else:
                self._sleep(pause)

    def _wake(self) -> None:
        self.rouse()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Subscriptions:
    """All mailboxes of a loop's waits, by build."""

    def __init__(self) -> None:
        self._subscriptions: dict[str, tuple[Subscription, ...]] = {}
        self.alarms = Timers()
        self.waits = 0
        self.lines = 0
        self.joined_at = -inf

    def open(self, build_id: str) -> tuple[Subscription, bool]:
        """Give a new mailbox, and whether it is the first of its build."""
        subscription = Subscription(build_id, self)
        others = self._subscriptions.get(build_id, ())
        self._subscriptions[build_id] = (*others, subscription)
        self.waits += 1
        return subscription, not others

    def close(self, subscription: Subscription) -> bool:
        """Take a mailbox away; tell whether it was the last of its build."""
        subscription.close()
        others = tuple(
            other
            for other in self._subscriptions[subscription.build_id]
            if other is not subscription
        )
        self.waits -= 1
        if not self.waits:
            self.alarms.stop()
        if others:
            self._subscriptions[subscription.build_id] = others
            return False
        del self._subscriptions[subscription.build_id]
        return True

    def __contains__(self, build_id: object) -> bool:
        return build_id in self._subscriptions

    def builds(self) -> list[str]:
        """Give the ids of all builds that somebody waits for."""
        return list(self._subscriptions)

    def publish(self, build_id: str, event: WaitEvent) -> None:
        """Put news into every mailbox of a build."""
        if isinstance(event, events.Joined):
            self.joined_at = time.monotonic()
        for subscription in self._subscriptions.get(build_id, ()):
            subscription.put(event)

    def show(self, rows: Iterable[Row], stamp: ReadTime) -> list[Row]:
        """Show all who sleep what a list says; give what is news to somebody."""
        news = []
        for row in rows:
            status = row["status"]
            for subscription in self._subscriptions.get(row["id"], ()):
                if not subscription.shown(status, stamp):
                    news.append(row)
                    break
        return news

    def glance(self, build_id: str, status: Status, stamp: ReadTime) -> bool:
        """Show all readers of a build a status; tell whether none of them needs to be told."""
        return all(
            subscription.glance(status, stamp)
            for subscription in self._subscriptions.get(build_id, ())
        )

    def over_rate_limit(self, build_id: str) -> bool:
        """Tell that an info line of a build need not even be read; it is counted."""
        subscriptions = self._subscriptions.get(build_id)
        return (
            subscriptions is not None
            and len(subscriptions) == 1
            and subscriptions[0].over_rate_limit()
        )

    def fail(self, error: BaseException, build_id: str | None = None) -> None:
        """Let the waits for a build fail, or all."""
        for key in self.builds() if build_id is None else [build_id]:
            for subscription in self._subscriptions.get(key, ()):
                subscription.fail(error)
