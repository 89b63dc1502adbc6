"""One alarm of the loop for many waits."""

from __future__ import annotations

import asyncio
import time

from airflow_provider_buildpixel.waits.timers import YIELD_EVERY, Timers
from tests.clients.shells import until

PATIENCE = 5.0


class Clapper:
    """Notes when it was rung; the first of each hundred makes a mistake of it."""

    def __init__(self, name: int) -> None:
        self.name = name
        self.rung_at: list[float] = []

    def ring(self) -> None:
        """Be rung."""
        self.rung_at.append(time.monotonic())
        if self.name % 100 == 0:
            raise KeyError("a bug")


async def rung(clappers: list[Clapper]) -> None:
    """Wait until all have been rung."""
    await until(lambda: all(clapper.rung_at for clapper in clappers))


async def test_every_alarm_rings_once_and_not_early() -> None:
    """However many ring at once, and whatever one of them does, each has its turn."""
    said: list[str] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: said.append(str(context["exception"]))
    )
    alarms, clappers = Timers(), [Clapper(number) for number in range(3 * YIELD_EVERY)]
    at = time.monotonic() + 0.05
    for clapper in clappers:
        alarms.put(clapper, at)
    await rung(clappers)
    assert all(len(clapper.rung_at) == 1 and clapper.rung_at[0] >= at for clapper in clappers)
    assert said == ["'a bug'"] * 3


async def test_many_alarms_leave_the_loop_its_turns() -> None:
    """Between so many alarms that ring at once the loop does what else there is."""
    alarms, clappers = Timers(), [Clapper(number) for number in range(1, 10 * YIELD_EVERY)]
    clappers = [clapper for clapper in clappers if clapper.name % 100]
    for clapper in clappers:
        alarms.put(clapper, time.monotonic())
    seen = set()
    async with asyncio.timeout(PATIENCE):
        while not all(clapper.rung_at for clapper in clappers):
            seen.add(sum(bool(clapper.rung_at) for clapper in clappers))
            await asyncio.sleep(0)
    assert max(b - a for a, b in zip(sorted(seen), sorted(seen)[1:], strict=False)) <= YIELD_EVERY


async def test_an_earlier_alarm_is_not_kept_waiting() -> None:
    """An alarm that is set after a later one, and before it is due, rings in its own time."""
    alarms, late, early = Timers(), Clapper(1), Clapper(2)
    alarms.put(late, time.monotonic() + 60.0)
    alarms.put(early, time.monotonic() + 0.02)
    await rung([early])
    assert not late.rung_at
    alarms.stop()


async def test_an_alarm_that_was_taken_out_does_not_ring() -> None:
    """Others of its slot do; after a stop nothing rings, and a new alarm starts again."""
    alarms, gone, here = Timers(), Clapper(1), Clapper(2)
    at = time.monotonic() + 0.02
    alarms.take(gone, alarms.put(gone, at))
    alarms.put(here, at)
    await rung([here])
    assert not gone.rung_at
    alarms.put(gone, time.monotonic() + 0.02)
    alarms.stop()
    again = Clapper(3)
    alarms.put(again, time.monotonic() + 0.05)
    await rung([again])
    assert not gone.rung_at
