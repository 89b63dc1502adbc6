"""Mailboxes: bounded, and sparing with wake-ups."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from airflow_provider_buildpixel.api.model import Status
from airflow_provider_buildpixel.builds.logs import LogLine
from airflow_provider_buildpixel.channel.events import (
    Disconnected,
    Joined,
    LinesDropped,
    LogEvent,
    StatusHint,
)
from airflow_provider_buildpixel.waits.actions import ReadTime
from airflow_provider_buildpixel.waits.subscription import (
    MAX_LINES_PER_SECOND,
    MAX_QUEUED_HINTS,
    MAX_QUEUED_LINES,
    MAX_QUEUED_LINES_IN_ALL,
    Subscriptions,
)

if TYPE_CHECKING:
    from airflow_provider_buildpixel.waits.actions import IdleTerms


class Sleeper:
    """A reader that sleeps on, as long as it has pauses left."""

    def __init__(self, *pauses: float) -> None:
        self.pauses = list(pauses)
        self.seen: list[Status] = []

    def glance(self, status: Status, since: float) -> float | None:  # as of a reader
        """Take a status."""
        self.seen.append(status)
        return self.turn_over()

    def turn_over(self) -> float | None:
        """Give the next pause."""
        return self.pauses.pop(0) if self.pauses else None

    def idle_terms(self) -> IdleTerms | None:
        """Be content with nothing."""
        return None


class Broken(Sleeper):
    """A reader with a mistake in it."""

    def turn_over(self) -> float | None:
        """Fail."""
        raise KeyError("a bug")


def line(number: int, level: str = "info") -> LogEvent:
    """Give a line of the log."""
    return LogEvent("b", LogLine(f"line {number}", level))


async def test_a_flood_is_counted_and_errors_still_fit() -> None:
    """Of too many lines the rest is counted; errors find room where info does not."""
    subscription, _ = Subscriptions().open("b")
    for number in range(MAX_QUEUED_LINES + 10):
        subscription.put(line(number))
    subscription.put(line(0, "error"))
    news = [await subscription.get(0.0) for _ in range(MAX_QUEUED_LINES + 2)]
    assert news[-2:] == [line(0, "error"), LinesDropped(10)]


async def test_a_flood_of_rumours_is_bounded() -> None:
    """Statuses that come and go faster than the wait looks do not pile up."""
    subscription, _ = Subscriptions().open("b")
    for number in range(10_000):
        subscription.put(StatusHint("b", Status(f"odd-{number}")))
    subscription.put(Disconnected("cut"))
    count = 1
    while not isinstance(await subscription.get(0.0), Disconnected):
        count += 1
    assert count == 2 * MAX_QUEUED_LINES + MAX_QUEUED_HINTS + 1


async def test_all_builds_together_are_bounded() -> None:
    """A process keeps no more lines than its bound, however many builds are noisy."""
    subscriptions = Subscriptions()
    for build in range(MAX_QUEUED_LINES_IN_ALL // MAX_QUEUED_LINES + 5):
        subscription, _ = subscriptions.open(f"b{build}")
        for number in range(MAX_QUEUED_LINES):
            subscription.put(line(number))
    assert subscriptions.lines == MAX_QUEUED_LINES_IN_ALL


async def test_a_closed_box_gives_its_room_back() -> None:
    """Lines that nobody reads any more do not count."""
    subscriptions = Subscriptions()
    subscription, _ = subscriptions.open("b")
    subscription.put(line(1))
    subscription.put(Joined())
    assert subscriptions.close(subscription)
    assert subscriptions.lines == 0
    assert "b" not in subscriptions


async def test_idle_talk_is_left_out_unread() -> None:
    """A build that talks too fast is not listened to for the rest of the second."""
    subscriptions = Subscriptions()
    subscription, _ = subscriptions.open("b")
    while not subscriptions.over_rate_limit("b"):
        subscription.put(line(1))
        assert subscription._lines <= MAX_LINES_PER_SECOND
    assert not subscriptions.over_rate_limit("stranger")


async def test_two_waits_for_a_build() -> None:
    """Each wait for a build has its news; the last one to close says so."""
    subscriptions = Subscriptions()
    one, first = subscriptions.open("b")
    two, second = subscriptions.open("b")
    assert (first, second, subscriptions.waits) == (True, False, 2)
    subscriptions.publish("b", Disconnected())
    assert await one.get(1.0) == await two.get(1.0) == Disconnected()
    assert (subscriptions.close(one), subscriptions.close(two)) == (False, True)


async def test_no_news_by_the_alarm() -> None:
    """A box without news gives None when the time is over, no later."""
    subscription, _ = Subscriptions().open("b")
    began = time.monotonic()
    assert await subscription.get(0.05) is None
    assert time.monotonic() - began < 10.0


async def test_an_alarm_that_brings_nothing_wakes_nobody() -> None:
    """A reader with more pauses to make is not woken until they are over."""
    subscription, _ = Subscriptions().open("b")
    subscription.reader = reader = Sleeper(0.02, 0.02)
    assert await subscription.get(0.02) is None
    assert reader.pauses == []


async def test_a_glance_can_bring_the_alarm_forward() -> None:
    """When a glance makes the next pause shorter, the wait is woken earlier."""
    subscriptions = Subscriptions()
    subscription, _ = subscriptions.open("b")
    subscription.reader = reader = Sleeper(0.02)
    sleeping = asyncio.ensure_future(subscription.get(30.0))
    await asyncio.sleep(0)
    assert subscriptions.glance("b", Status("running"), ReadTime(0.0, 0.0))
    async with asyncio.timeout(5.0):
        assert await sleeping is None
    assert reader.seen == ["running"]


async def test_a_reader_that_is_awake_is_told_instead() -> None:
    """A glance is refused where the reader has something else before it."""
    subscriptions = Subscriptions()
    subscription, _ = subscriptions.open("b")
    subscription.reader = Sleeper(1.0)
    assert not subscriptions.glance("b", Status("running"), ReadTime(0.0, 0.0))


async def test_a_mistake_while_turning_over_wakes_the_wait() -> None:
    """An error at an alarm leaves no wait asleep for ever."""
    loop = asyncio.get_running_loop()
    said: list[str] = []
    loop.set_exception_handler(lambda _, context: said.append(str(context["exception"])))
    subscription, _ = Subscriptions().open("b")
    subscription.reader = Broken()
    async with asyncio.timeout(5.0):
        assert await subscription.get(0.01) is None
    assert said == ["'a bug'"]


async def test_a_failure_is_raised() -> None:
    """A box that failed raises what made it fail."""
    subscriptions = Subscriptions()
    subscription, _ = subscriptions.open("b")
    subscriptions.fail(KeyError("a bug"))
    with pytest.raises(KeyError):
        await subscription.get(30.0)
