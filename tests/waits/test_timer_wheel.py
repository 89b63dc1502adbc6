from __future__ import annotations

from math import inf
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_buildpixel.waits.actions import TICK, TimerWheel
from tests import mutants

if TYPE_CHECKING:
    from types import FunctionType

STEPS = ("add", "remove", "pop")
INSTANTS = (0.0, 0.01, TICK, 0.5, 1.0, 7.3, 40.0)
MEMORY = "an empty slot only needs memory until its time comes"
EQUIVALENT = {
    TimerWheel.remove: {"condition 2 is False": MEMORY, "statement 3 is deleted": MEMORY},
}


def test_a_timer_that_has_fired_can_be_removed() -> None:
    """To remove a timer that has fired already has no effect."""
    wheel: TimerWheel[str] = TimerWheel()
    fires_at = wheel.add("a", 1.0)
    assert wheel.pop_due(fires_at) == ["a"]
    wheel.remove("a", fires_at)
    assert not wheel.pop_due(3.0)


def fire_early(add: Any, wheel: TimerWheel[int], item: int, at: float) -> object:
    """Fire a tick early."""
    return add(wheel, item, at - TICK)


def fire_late(add: Any, wheel: TimerWheel[int], item: int, at: float) -> object:
    """Fire a second late."""
    return add(wheel, item, at + 1.0)


def fire_again(pop_due: Any, wheel: TimerWheel[int], now: float) -> list[int]:
    """Fire each timer again at once."""
    due: list[int] = pop_due(wheel, now)
    for item in due:
        wheel.add(item, now)
    return due


HAND_MADE = (
    (TimerWheel, TimerWheel.add, fire_early),
    (TimerWheel, TimerWheel.add, fire_late),
    (TimerWheel, TimerWheel.pop_due, fire_again),
)


def check_wheel(steps: list[tuple[str, float]]) -> None:
    """Add, remove and await timers; each one that stays fires once, in time."""
    wheel: TimerWheel[int] = TimerWheel()
    now, pending = 0.0, dict[int, tuple[float, float]]()
    for number, (step, value) in enumerate([*steps, ("pop", 200.0)]):
        if step == "add":
            at = now + value
            pending[number] = (at, wheel.add(number, at))
        elif step == "remove" and pending:
            item = sorted(pending)[int(value) % len(pending)]
            wheel.remove(item, pending.pop(item)[1])
        elif step == "pop":
            now += value
            for item in wheel.pop_due(now):
                at, fires_at = pending.pop(item)
                assert at <= fires_at <= now, "fired early, or not when it was announced"
        assert all(at > now - TICK for at, _ in pending.values()), "fires too late"
        assert all(wheel.next_at() <= fires_at for _, fires_at in pending.values())
    assert not pending, "never fired"
    assert wheel.next_at() == inf


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from(INSTANTS)), max_size=60))
def test_timers_fire_in_time(steps: list[tuple[str, float]]) -> None:
    """No timer fires early, none over a tick late, and none that was removed."""
    check_wheel(steps)


def random_steps() -> None:
    """Check the wheel with the same random steps each time."""
    random = Random(1)  # noqa: S311  # nothing must be secret
    for _ in range(200):
        count = random.randrange(60)
        steps = random.choices(STEPS, k=count)
        check_wheel(list(zip(steps, random.choices(INSTANTS, k=count), strict=True)))


CHECKS = (test_a_timer_that_has_fired_can_be_removed, random_steps)


@pytest.mark.parametrize(
    "function", mutants.functions_of(TimerWheel), ids=lambda function: str(function.__qualname__)
)
def test_mutants_of_the_wheel_are_noticed(function: FunctionType) -> None:
    """With any change of the wheel, a timer fires early, late, twice or never."""
    mutants.check(function, CHECKS, random_steps, EQUIVALENT)


@mutants.each_hand_made(HAND_MADE)
def test_hand_made_mutants_are_noticed(mutant: mutants.HandMade) -> None:
    """Likewise mistakes that are more than one changed expression."""
    mutants.check_hand_made(mutant, CHECKS)
