"""Mailboxes: bounded, and sparing with wake-ups."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from airflow_provider_buildpixel.client.mailbox import (
    ALL_LINES_KEPT,
    LINES_A_SECOND,
    LINES_KEPT,
    RUMOURS_KEPT,
    Mailboxes,
)
from airflow_provider_buildpixel.core.feed import Joined, LeftOut, Line, Lost, Told
from airflow_provider_buildpixel.core.logs import LogLine
from airflow_provider_buildpixel.core.model import Status
from airflow_provider_buildpixel.core.sleep import Stamp

if TYPE_CHECKING:
    from airflow_provider_buildpixel.core.watch import Ease


class Sleeper:
    """A reader that sleeps on, as long as it has pauses left."""

    def __init__(self, *pauses: float) -> None:
        self.pauses = list(pauses)
        self.seen: list[Status] = []

    def glance(self, status: Status, since: float) -> float | None:  # noqa: ARG002  # as of a reader
        """Take a status."""
        self.seen.append(status)
        return self.turn_over()

    def turn_over(self) -> float | None:
        """Give the next pause."""
        return self.pauses.pop(0) if self.pauses else None

    def ease(self) -> Ease | None:
        """Be content with nothing."""
        return None


class Broken(Sleeper):
    """A reader with a mistake in it."""

    def turn_over(self) -> float | None:
        """Fail."""
        raise KeyError("a bug")


def line(number: int, level: str = "info") -> Line:
    """Give a line of the log."""
    return Line("b", LogLine(f"line {number}", level))


async def test_a_flood_is_counted_and_errors_still_fit() -> None:
    """Of too many lines the rest is counted; errors find room where info does not."""
    box, _ = Mailboxes().open("b")
    for number in range(LINES_KEPT + 10):
        box.put(line(number))
    box.put(line(0, "error"))
    news = [await box.get(0.0) for _ in range(LINES_KEPT + 2)]
    assert news[-2:] == [line(0, "error"), LeftOut(10)]


async def test_a_flood_of_rumours_is_bounded() -> None:
    """Statuses that come and go faster than the wait looks do not pile up."""
    box, _ = Mailboxes().open("b")
    for number in range(10_000):
        box.put(Told("b", Status(f"odd-{number}")))
    box.put(Lost("cut"))
    count = 1
    while not isinstance(await box.get(0.0), Lost):
        count += 1
    assert count == 2 * LINES_KEPT + RUMOURS_KEPT + 1


async def test_all_builds_together_are_bounded() -> None:
    """A process keeps no more lines than its bound, however many builds are noisy."""
    boxes = Mailboxes()
    for build in range(ALL_LINES_KEPT // LINES_KEPT + 5):
        box, _ = boxes.open(f"b{build}")
        for number in range(LINES_KEPT):
            box.put(line(number))
    assert boxes.lines == ALL_LINES_KEPT


async def test_a_closed_box_gives_its_room_back() -> None:
    """Lines that nobody reads any more do not count."""
    boxes = Mailboxes()
    box, _ = boxes.open("b")
    box.put(line(1))
    box.put(Joined())
    assert boxes.close(box)
    assert boxes.lines == 0
    assert "b" not in boxes


async def test_idle_talk_is_left_out_unread() -> None:
    """A build that talks too fast is not listened to for the rest of the second."""
    boxes = Mailboxes()
    box, _ = boxes.open("b")
    while not boxes.sated("b"):
        box.put(line(1))
        assert box._lines <= LINES_A_SECOND
    assert not boxes.sated("stranger")


async def test_two_waits_for_a_build() -> None:
    """Each wait for a build has its news; the last one to close says so."""
    boxes = Mailboxes()
    one, first = boxes.open("b")
    two, second = boxes.open("b")
    assert (first, second, boxes.waits) == (True, False, 2)
    boxes.tell("b", Lost())
    assert await one.get(1.0) == await two.get(1.0) == Lost()
    assert (boxes.close(one), boxes.close(two)) == (False, True)


async def test_no_news_by_the_alarm() -> None:
    """A box without news gives None when the time is over, no later."""
    box, _ = Mailboxes().open("b")
    began = time.monotonic()
    assert await box.get(0.05) is None
    assert time.monotonic() - began < 10.0


async def test_an_alarm_that_brings_nothing_wakes_nobody() -> None:
    """A reader with more pauses to make is not woken until they are over."""
    box, _ = Mailboxes().open("b")
    box.reader = reader = Sleeper(0.02, 0.02)
    assert await box.get(0.02) is None
    assert reader.pauses == []


async def test_a_glance_can_bring_the_alarm_forward() -> None:
    """When a glance makes the next pause shorter, the wait is woken earlier."""
    boxes = Mailboxes()
    box, _ = boxes.open("b")
    box.reader = reader = Sleeper(0.02)
    sleeping = asyncio.ensure_future(box.get(30.0))
    await asyncio.sleep(0)
    assert boxes.glance("b", Status("running"), Stamp(0.0, 0.0))
    async with asyncio.timeout(5.0):
        assert await sleeping is None
    assert reader.seen == ["running"]


async def test_a_reader_that_is_awake_is_told_instead() -> None:
    """A glance is refused where the reader has something else before it."""
    boxes = Mailboxes()
    box, _ = boxes.open("b")
    box.reader = Sleeper(1.0)
    assert not boxes.glance("b", Status("running"), Stamp(0.0, 0.0))


async def test_a_mistake_while_turning_over_wakes_the_wait() -> None:
    """An error at an alarm leaves no wait asleep for ever."""
    loop = asyncio.get_running_loop()
    said: list[str] = []
    loop.set_exception_handler(lambda _, context: said.append(str(context["exception"])))
    box, _ = Mailboxes().open("b")
    box.reader = Broken()
    async with asyncio.timeout(5.0):
        assert await box.get(0.01) is None
    assert said == ["'a bug'"]


async def test_a_failure_is_raised() -> None:
    """A box that failed raises what made it fail."""
    boxes = Mailboxes()
    box, _ = boxes.open("b")
    boxes.fail(KeyError("a bug"))
    with pytest.raises(KeyError):
        await box.get(30.0)
