"""How thousands of waits sleep."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from airflow_provider_buildpixel.api.model import Build, Status
from airflow_provider_buildpixel.waits import actions
from airflow_provider_buildpixel.waits.actions import TICK, IdleTerms, IdleWait, ReadTime
from airflow_provider_buildpixel.waits.tracker import BuildTracker
from tests import mutants

if TYPE_CHECKING:
    from types import ModuleType

    from airflow_provider_buildpixel.waits.actions import TimerWheel

EASE = IdleTerms(Status("running"), since=100.0, pause=10.0, until=300.0)
INSTANTS = st.sampled_from((0.0, 0.01, TICK, 0.5, 1.0, 7.3, 40.0))
ALARMS = st.lists(st.tuples(st.sampled_from(("put", "take", "look")), INSTANTS), max_size=60)

SETTINGS = settings(
    max_examples=1_000,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    report_multiple_bugs=False,
)


def sleeping(ease: IdleTerms | None = EASE) -> IdleWait:
    """Give one that lay down to sleep until 110."""
    found = IdleWait()
    found.lie_down(ease, 110.0)
    return found


def test_what_is_known_puts_the_waking_off() -> None:
    """A read that shows what is known lets a wait sleep on, from that read."""
    one = sleeping()
    assert one.due() == 110.0
    assert one.shown("running", ReadTime(104.0, 105.0))
    assert one.due() == 115.0
    assert one.catch_up() == ReadTime(104.0, 105.0)
    assert one.catch_up() is None


def test_nothing_puts_it_off_beyond_its_time() -> None:
    """A wait is woken for its own deadline, whatever is read."""
    one = sleeping()
    one.shown("running", ReadTime(298.0, 299.0))
    assert one.due() == 300.0
    assert not one.shown("running", ReadTime(299.0, 300.0))


def test_a_read_from_before_a_reason_to_doubt_puts_nothing_off() -> None:
    """It is no news, but it does not count."""
    one = sleeping()
    assert one.shown("running", ReadTime(99.0, 105.0))
    assert one.due() == 110.0
    assert one.catch_up() is None


@pytest.mark.parametrize("ease", [EASE, None])
def test_news_is_for_the_wait_itself(ease: IdleTerms | None) -> None:
    """Another status, or any to one that is not at ease or awake, is not slept through."""
    one = sleeping(ease)
    assert not one.shown("complete", ReadTime(104.0, 105.0))
    one.rouse()
    assert not one.shown("running", ReadTime(104.0, 105.0))
    assert one.due() == 110.0


def test_who_may_be_left_alone() -> None:
    """A wait is at ease once a read has counted, until it asks, is in trouble, or has its end."""
    watch = BuildTracker(0.0, live=False, until=500.0)
    assert watch.idle_terms() is None
    watch.on_read(Build("b", Status("running")), 10.0, 9.0)
    assert watch.idle_terms(50.0) == IdleTerms(Status("running"), -inf, 31.5, 50.0)
    assert watch.idle_terms() == IdleTerms(Status("running"), -inf, 31.5, 500.0)
    watch.read_requested(41.0)
    assert watch.idle_terms() is None
    watch.on_read(Build("b", Status("complete")), 42.0, 41.0)
    assert watch.idle_terms() is None


def test_taken_too_late() -> None:
    """An alarm that has come already can be taken out once more, and nothing happens."""
    wheel: TimerWheel[str] = actions.TimerWheel()
    rings_at = wheel.put("a", 1.0)
    assert list(wheel.due(2.0)) == ["a"]
    wheel.take("a", rings_at)
    assert not list(wheel.due(3.0))


def rings(module: ModuleType, steps: list[tuple[str, float]]) -> None:
    """Set, take out and await alarms; every one that is set comes once, in time, and no other."""
    wheel: TimerWheel[int] = module.TimerWheel()
    now, waiting = 0.0, dict[int, tuple[float, float]]()
    for number, (what, value) in enumerate([*steps, ("look", 200.0)]):
        if what == "put":
            at = now + value
            waiting[number] = (at, wheel.put(number, at))
        elif what == "take" and waiting:
            item = sorted(waiting)[int(value) % len(waiting)]
            wheel.take(item, waiting.pop(item)[1])
        elif what == "look":
            now += value
            for item in wheel.due(now):
                at, rings_at = waiting.pop(item)
                assert at <= rings_at <= now, "it came early, or as it was not announced"
        assert all(at > now - TICK for at, _ in waiting.values()), "it comes too late"
        assert all(wheel.next_at() <= rings_at for _, rings_at in waiting.values())
    assert not waiting, "it never came"
    assert wheel.next_at() == inf


@settings(deadline=None)
@given(ALARMS)
def test_alarms_come_in_time(steps: list[tuple[str, float]]) -> None:
    """No alarm comes early, none over a tick late, and none that was taken out."""
    rings(actions, steps)


@pytest.mark.parametrize("mutant", mutants.WHEEL, ids=lambda mutant: str(mutant.name))
def test_a_mistake_in_the_wheel_is_noticed(mutant: mutants.Mutant) -> None:
    """With this mistake in it, an alarm comes early, late, twice or never."""
    module = mutant.of(actions)
    with pytest.raises((AssertionError, KeyError)):
        SETTINGS(given(ALARMS)(lambda steps: rings(module, steps)))()
