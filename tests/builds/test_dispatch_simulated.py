from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from airflow_provider_buildpixel.builds import dispatch, record
from tests import mutants
from tests.builds.dispatch_machine import dispatching
from tests.builds.dispatch_scenarios import SCENARIOS

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

SETTINGS = settings(
    max_examples=200,
    stateful_step_count=25,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
MUTANTS = [
    *((mutant, mutant.of(dispatch), record) for mutant in mutants.DISPATCH),
    *((mutant, dispatch, mutant.of(record)) for mutant in mutants.INTENT),
]


def test_a_task_starts_its_build_exactly_once() -> None:
    """No order of lost answers, retries, clears and strangers makes a second build of a task."""
    run_state_machine_as_test(dispatching(dispatch, record), settings=SETTINGS)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: str(scenario.__name__))
def test_one_life_of_a_dispatch(scenario: Callable[[ModuleType, ModuleType], None]) -> None:
    """The dispatch keeps the promise that the scenario is named for."""
    scenario(dispatch, record)


@pytest.mark.parametrize(
    ("of_dispatch", "of_intent"),
    [pytest.param(one, two, id=mutant.name) for mutant, one, two in MUTANTS],
)
def test_a_mistake_in_the_dispatch_is_noticed(
    of_dispatch: ModuleType, of_intent: ModuleType
) -> None:
    """With this mistake in it, the dispatch breaks a promise."""
    with pytest.raises((AssertionError, pytest.fail.Exception)):  # either may notice
        for scenario in SCENARIOS:
            scenario(of_dispatch, of_intent)
        run_state_machine_as_test(
            dispatching(of_dispatch, of_intent),
            settings=settings(SETTINGS, phases=[Phase.generate], derandomize=True),
        )
