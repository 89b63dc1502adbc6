"""Subscriptions: bounded queues with few wake-ups."""

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


class IdleHandler:
    """A handler that lets the wait idle for a list of pauses."""

    def __init__(self, *pauses: float) -> None:
        self.pauses = list(pauses)
        self.statuses: list[Status] = []

    def on_unchanged_status(
        self,
        status: Status,
        since: float,  # noqa: ARG002  # as of an EventHandler
    ) -> float | None:
        """Record a status."""
        self.statuses.append(status)
        return self.next_pause()

    def next_pause(self) -> float | None:
        """Return the next pause."""
        return self.pauses.pop(0) if self.pauses else None

    def idle_terms(self) -> IdleTerms | None:
        """Return None: no read may be skipped."""
        return None


class FailingHandler(IdleHandler):
    """A handler that raises an error."""

    def next_pause(self) -> float | None:
        """Raise an error."""
        raise KeyError("a bug")


def line(number: int, level: str = "info") -> LogEvent:
    """Return an event with a log line."""
    return LogEvent("b", LogLine(f"line {number}", level))


async def test_too_many_lines_are_counted_and_errors_still_fit() -> None:
    """Lines above the limit are counted; error lines have a higher limit."""
    subscription, _ = Subscriptions().add("b")
    for number in range(MAX_QUEUED_LINES + 10):
        subscription.put(line(number))
    subscription.put(line(0, "error"))
    received = [await subscription.get(0.0) for _ in range(MAX_QUEUED_LINES + 2)]
    assert received[-2:] == [line(0, "error"), LinesDropped(10)]


async def test_queued_hints_are_bounded() -> None:
    """Status hints that arrive faster than the wait reads do not accumulate."""
    subscription, _ = Subscriptions().add("b")
    for number in range(10_000):
        subscription.put(StatusHint("b", Status(f"odd-{number}")))
    subscription.put(Disconnected("cut"))
    count = 1
    while not isinstance(await subscription.get(0.0), Disconnected):
        count += 1
    assert count == 2 * MAX_QUEUED_LINES + MAX_QUEUED_HINTS + 1


async def test_all_builds_together_are_bounded() -> None:
    """The queued lines of all builds together are bounded."""
    subscriptions = Subscriptions()
    for build in range(MAX_QUEUED_LINES_IN_ALL // MAX_QUEUED_LINES + 5):
        subscription, _ = subscriptions.add(f"b{build}")
        for number in range(MAX_QUEUED_LINES):
            subscription.put(line(number))
    assert subscriptions.lines == MAX_QUEUED_LINES_IN_ALL


async def test_removal_releases_queued_lines() -> None:
    """The queued lines of a removed subscription do not count towards the limit."""
    subscriptions = Subscriptions()
    subscription, _ = subscriptions.add("b")
    subscription.put(line(1))
    subscription.put(Joined())
    assert subscriptions.remove(subscription)
    assert subscriptions.lines == 0
    assert "b" not in subscriptions


async def test_info_lines_over_the_rate_limit() -> None:
    """Info lines above the rate limit are dropped for the rest of the second."""
    subscriptions = Subscriptions()
    subscription, _ = subscriptions.add("b")
    while not subscriptions.over_rate_limit("b"):
        subscription.put(line(1))
        assert subscription._lines_this_second <= MAX_LINES_PER_SECOND
    assert not subscriptions.over_rate_limit("other")


async def test_two_waits_for_a_build() -> None:
    """Each wait for a build receives the event; remove() reports which was the last."""
    subscriptions = Subscriptions()
    one, first = subscriptions.add("b")
    two, second = subscriptions.add("b")
    assert (first, second, subscriptions.waits) == (True, False, 2)
    subscriptions.publish("b", Disconnected())
    assert await one.get(1.0) == await two.get(1.0) == Disconnected()
    assert (subscriptions.remove(one), subscriptions.remove(two)) == (False, True)


async def test_no_event_within_the_time() -> None:
    """A subscription without events returns None when the time is over, not later."""
    subscription, _ = Subscriptions().add("b")
    started_at = time.monotonic()
    assert await subscription.get(0.05) is None
    assert time.monotonic() - started_at < 10.0


async def test_a_timer_without_an_action_does_not_wake() -> None:
    """A handler with more pauses is not woken until they are over."""
    subscription, _ = Subscriptions().add("b")
    subscription.handler = handler = IdleHandler(0.02, 0.02)
    assert await subscription.get(0.02) is None
    assert handler.pauses == []


async def test_an_unchanged_status_can_bring_the_timer_forward() -> None:
    """When an unchanged status makes the next pause shorter, the wait wakes earlier."""
    subscriptions = Subscriptions()
    subscription, _ = subscriptions.add("b")
    subscription.handler = handler = IdleHandler(0.02)
    idle = asyncio.ensure_future(subscription.get(30.0))
    await asyncio.sleep(0)
    assert subscriptions.on_unchanged_status("b", Status("running"), ReadTime(0.0, 0.0))
    async with asyncio.timeout(5.0):
        assert await idle is None
    assert handler.statuses == ["running"]


async def test_a_wait_that_is_not_idle_needs_the_event() -> None:
    """A status is not handled for a wait that is not idle."""
    subscriptions = Subscriptions()
    subscription, _ = subscriptions.add("b")
    subscription.handler = IdleHandler(1.0)
    assert not subscriptions.on_unchanged_status("b", Status("running"), ReadTime(0.0, 0.0))


async def test_an_error_in_the_handler_wakes_the_wait() -> None:
    """After an error in its timer the wait does not idle forever."""
    loop = asyncio.get_running_loop()
    errors: list[str] = []
    loop.set_exception_handler(lambda _, context: errors.append(str(context["exception"])))
    subscription, _ = Subscriptions().add("b")
    subscription.handler = FailingHandler()
    async with asyncio.timeout(5.0):
        assert await subscription.get(0.01) is None
    assert errors == ["'a bug'"]


async def test_an_error_is_raised() -> None:
    """get() raises the error of a subscription."""
    subscriptions = Subscriptions()
    subscription, _ = subscriptions.add("b")
    subscriptions.set_error(KeyError("a bug"))
    with pytest.raises(KeyError):
        await subscription.get(30.0)
