from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from airflow_provider_buildpixel.waits import actions, tracker
from tests import mutants
from tests.waits.tracker_machine import waiting
from tests.waits.tracker_scenarios import SCENARIOS, SLEEPING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

SETTINGS = settings(
    max_examples=150,
    stateful_step_count=30,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


def test_a_wait_keeps_its_promises_whatever_happens() -> None:
    """No order of builds, events, faults and pauses makes a wait lie, hang, spin or storm."""
    run_state_machine_as_test(waiting(tracker), settings=SETTINGS)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: str(scenario.__name__))
def test_one_life_of_a_wait(scenario: Callable[[ModuleType], None]) -> None:
    """The wait keeps the promise that the scenario is named for."""
    scenario(tracker)


@pytest.mark.parametrize("scenario", SLEEPING, ids=lambda scenario: str(scenario.__name__))
def test_one_sleep_of_a_wait(scenario: Callable[[ModuleType, ModuleType], None]) -> None:
    """A wait that sleeps as one of many keeps the promise that the scenario is named for."""
    scenario(tracker, actions)


@pytest.mark.parametrize("mutant", mutants.WATCH, ids=lambda mutant: str(mutant.name))
def test_a_mistake_in_the_watch_is_noticed(mutant: mutants.Mutant) -> None:
    """With this mistake in it, the watch breaks a promise."""
    notices(mutant.of(tracker), actions)


@pytest.mark.parametrize("mutant", mutants.SLEEP, ids=lambda mutant: str(mutant.name))
def test_a_mistake_in_the_sleep_is_noticed(mutant: mutants.Mutant) -> None:
    """With this mistake in its sleep, a wait breaks a promise."""
    notices(tracker, mutant.of(actions))


def notices(tracker: ModuleType, actions: ModuleType) -> None:
    """Find the mistake in one of them."""
    with pytest.raises(AssertionError):  # any of them may notice
        for scenario in SCENARIOS:
            scenario(tracker)
        for sleeping in SLEEPING:
            sleeping(tracker, actions)
        run_state_machine_as_test(
            waiting(tracker, actions),
            settings=settings(SETTINGS, phases=[Phase.generate], derandomize=True),
        )
