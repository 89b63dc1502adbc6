"""Where the news of a build waits for the tasks that wait for the build."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from math import inf
from typing import TYPE_CHECKING, Protocol

from airflow_provider_buildpixel.client.alarms import Alarms
from airflow_provider_buildpixel.core import feed
from airflow_provider_buildpixel.core.sleep import Sleeper

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_buildpixel.core.model import Status
    from airflow_provider_buildpixel.core.pages import Row
    from airflow_provider_buildpixel.core.sleep import Stamp
    from airflow_provider_buildpixel.core.watch import Ease

News = feed.Event | feed.Seen | feed.Missed

LINES_KEPT = 1_000
"""Log lines of one build that may wait to be written; the rest is counted and said."""

RUMOURS_KEPT = 100
"""Events of a status that may wait besides: one read serves them all."""

LINES_A_SECOND = 500
"""Info lines of one build that are looked at; more cannot be told anyway."""

ALL_LINES_KEPT = 20_000
"""Log lines of all builds together that may wait, likewise."""


class Reader(Protocol):
    """Whom a mailbox spares what needs no waking: most of thousands of waits sleep all the time."""

    def glance(self, status: Status, since: float) -> float | None:
        """Take a status that a read reported; give the next pause, None if that was news."""

    def turn_over(self) -> float | None:
        """Do what is due after a pause; give the next pause, None to be woken."""

    def ease(self) -> Ease | None:
        """Say how the wait may be left alone; None if any news of the build matters."""


class Mailbox(Sleeper):
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

    def __init__(self, build_id: str, boxes: Mailboxes) -> None:
        super().__init__()
        self.build_id = build_id
        self.reader: Reader | None = None
        self._all = boxes
        self._news: deque[News] | None = None  # thousands of boxes are empty most of the time
        self._left_out = self._second = self._lines = 0
        self._error: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._alarm = inf

    def put(self, event: News) -> None:
        """Add news; of a flood of log lines only the more important half is kept."""
        if self._news is None:
            self._news = deque()
        if isinstance(event, feed.Line):
            self._count_line()
            share = 1 if event.line.level == "info" else 2
            if len(self._news) >= share * LINES_KEPT or self._all.lines >= share * ALL_LINES_KEPT:
                self._left_out += 1
                return
            self._all.lines += 1
        elif self._news and (self._news[-1] == event or self._flooded(event)):
            return
        self._news.append(event)
        self._wake()

    def _flooded(self, event: News) -> bool:
        """Tell a rumour on top of so many that one more cannot make the wait look sooner."""
        most = 2 * LINES_KEPT + RUMOURS_KEPT
        return isinstance(event, feed.Told) and self._news is not None and len(self._news) >= most

    def sated(self) -> bool:
        """Tell, and take note, that an info line of a flood comes on top of too many."""
        if self._lines < LINES_A_SECOND or int(time.monotonic()) != self._second:
            return False
        self._left_out += 1
        return True

    def _count_line(self) -> None:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._lines = second, 0
        self._lines += 1

    def glance(self, status: Status, stamp: Stamp) -> bool:
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

    async def get(self, seconds: float) -> News | None:
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

    def _next(self) -> News | None:
        if self._news:
            event = self._news.popleft()
            if not self._news:
                self._news = None
            if isinstance(event, feed.Line):
                self._all.lines -= 1
            return event
        if self._left_out:
            left_out, self._left_out = self._left_out, 0
            return feed.LeftOut(left_out)
        return None

    @property
    def _asleep(self) -> bool:
        return self._waiter is not None and not self._waiter.done()

    def _sleep(self, pause: float) -> None:
        due = time.monotonic() + pause
        self.lie_down(self.reader.ease() if self.reader is not None else None, due)
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


class Mailboxes:
    """All mailboxes of a loop's waits, by build."""

    def __init__(self) -> None:
        self._boxes: dict[str, tuple[Mailbox, ...]] = {}
        self.alarms = Alarms()
        self.waits = 0
        self.lines = 0
        self.joined_at = -inf

    def open(self, build_id: str) -> tuple[Mailbox, bool]:
        """Give a new mailbox, and whether it is the first of its build."""
        box = Mailbox(build_id, self)
        others = self._boxes.get(build_id, ())
        self._boxes[build_id] = (*others, box)
        self.waits += 1
        return box, not others

    def close(self, box: Mailbox) -> bool:
        """Take a mailbox away; tell whether it was the last of its build."""
        box.close()
        others = tuple(other for other in self._boxes[box.build_id] if other is not box)
        self.waits -= 1
        if not self.waits:
            self.alarms.stop()
        if others:
            self._boxes[box.build_id] = others
            return False
        del self._boxes[box.build_id]
        return True

    def __contains__(self, build_id: object) -> bool:
        return build_id in self._boxes

    def builds(self) -> list[str]:
        """Give the ids of all builds that somebody waits for."""
        return list(self._boxes)

    def tell(self, build_id: str, event: News) -> None:
        """Put news into every mailbox of a build."""
        if isinstance(event, feed.Joined):
            self.joined_at = time.monotonic()
        for box in self._boxes.get(build_id, ()):
            box.put(event)

    def show(self, rows: Iterable[Row], stamp: Stamp) -> list[Row]:
        """Show all who sleep what a list says; give what is news to somebody."""
        news = []
        for row in rows:
            status = row["status"]
            for box in self._boxes.get(row["id"], ()):
                if not box.shown(status, stamp):
                    news.append(row)
                    break
        return news

    def glance(self, build_id: str, status: Status, stamp: Stamp) -> bool:
        """Show all readers of a build a status; tell whether none of them needs to be told."""
        return all(box.glance(status, stamp) for box in self._boxes.get(build_id, ()))

    def sated(self, build_id: str) -> bool:
        """Tell that an info line of a build need not even be read; it is counted."""
        boxes = self._boxes.get(build_id)
        return boxes is not None and len(boxes) == 1 and boxes[0].sated()

    def fail(self, error: BaseException, build_id: str | None = None) -> None:
        """Let the waits for a build fail, or all."""
        for key in self.builds() if build_id is None else [build_id]:
            for box in self._boxes.get(key, ()):
                box.fail(error)
