"""One timer of the event loop for many waits."""

from __future__ import annotations

import asyncio
import time

from airflow_provider_buildpixel.waits.timers import YIELD_EVERY, Timers
from tests.clients.adapters import wait_until

TIMEOUT = 5.0


class Target:
    """Records when its timer fires; the first of each hundred raises an error."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.fired_at: list[float] = []

    def on_timer(self) -> None:
        """Record the time."""
        self.fired_at.append(time.monotonic())
        if self.number % 100 == 0:
            raise KeyError("a bug")


async def wait_for_all(targets: list[Target]) -> None:
    """Wait until the timers of all targets have fired."""
    await wait_until(lambda: all(target.fired_at for target in targets))


async def test_every_timer_fires_once_and_not_early() -> None:
    """Each of many timers fires, even if the target of another one raises an error."""
    errors: list[str] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: errors.append(str(context["exception"]))
    )
    timers, targets = Timers(), [Target(number) for number in range(3 * YIELD_EVERY)]
    at = time.monotonic() + 0.05
    for target in targets:
        timers.add(target, at)
    await wait_for_all(targets)
    assert all(len(target.fired_at) == 1 and target.fired_at[0] >= at for target in targets)
    assert errors == ["'a bug'"] * 3


async def test_many_timers_yield_to_the_loop() -> None:
    """While many timers fire at the same time, the loop runs other tasks in between."""
    timers, targets = Timers(), [Target(number) for number in range(1, 10 * YIELD_EVERY)]
    targets = [target for target in targets if target.number % 100]
    for target in targets:
        timers.add(target, time.monotonic())
    seen = set()
    async with asyncio.timeout(TIMEOUT):
        while not all(target.fired_at for target in targets):
            seen.add(sum(bool(target.fired_at) for target in targets))
            await asyncio.sleep(0)
    assert max(b - a for a, b in zip(sorted(seen), sorted(seen)[1:], strict=False)) <= YIELD_EVERY


async def test_an_earlier_timer_fires_first() -> None:
    """A timer fires in time although a later one was added before it."""
    timers, late, early = Timers(), Target(1), Target(2)
    timers.add(late, time.monotonic() + 60.0)
    timers.add(early, time.monotonic() + 0.02)
    await wait_for_all([early])
    assert not late.fired_at
    timers.clear()


async def test_removed_timers_do_not_fire() -> None:
    """Other timers of the same slot fire; after clear() only timers that were added later fire."""
    timers, removed, other = Timers(), Target(1), Target(2)
    at = time.monotonic() + 0.02
    timers.remove(removed, timers.add(removed, at))
    timers.add(other, at)
    await wait_for_all([other])
    assert not removed.fired_at
    timers.add(removed, time.monotonic() + 0.02)
    timers.clear()
    added_later = Target(3)
    timers.add(added_later, time.monotonic() + 0.05)
    await wait_for_all([added_later])
    assert not removed.fired_at
