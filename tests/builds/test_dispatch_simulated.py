from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from airflow_provider_buildpixel.builds import dispatch, record, request
from tests import mutants
from tests.builds import dispatch_world, test_dispatch, test_dispatch_rules, test_record
from tests.builds.dispatch_machine import RandomDispatch
from tests.builds.dispatch_scenarios import SCENARIOS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FunctionType

    from airflow_provider_buildpixel.api.model import Build

SETTINGS = settings(
    max_examples=200,
    stateful_step_count=25,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
CHECKS = [
    *SCENARIOS,
    *mutants.unit_checks(test_dispatch),
    *mutants.unit_checks(test_dispatch_rules),
    *mutants.unit_checks(test_record),
]
FUNCTIONS = [
    *mutants.functions_of(dispatch.DispatchMachine),
    *mutants.functions_of(dispatch),
    *mutants.functions_of(record.Snapshot),
    *mutants.functions_of(record),
    request.BuildRequest.matches,
    request.BuildRequest.may_match,
    request.BuildRequest._same_setting,
    request.same_commit,
    request.same_branch,
    request.may_be_same_branch,
]
EQUIVALENT = {
    dispatch.DispatchMachine.on_search: {
        "number 2 is one less": "the first of one candidate is the last one, too",
    },
}


def take_the_first_of_many(
    on_search: Any,
    machine: dispatch.DispatchMachine,
    candidates: tuple[Build, ...],
    possible: Iterable[Build] = (),
) -> None:
    """Adopt one of several candidates."""
    on_search(machine, candidates[:1], possible)


def start_instead_of_a_search(decide: Any, *args: object) -> object:
    """Start a build although an earlier request may have run."""
    step = decide(*args)
    may_have_run = isinstance(step, record.DispatchRecord) and not step.build_id
    return record.NewBuild() if may_have_run else step


HAND_MADE = (
    (dispatch.DispatchMachine, dispatch.DispatchMachine.on_search, take_the_first_of_many),
    (dispatch_world, record.decide_from_record, start_instead_of_a_search),
)


def test_a_task_starts_its_build_exactly_once() -> None:
    """No order of lost answers, retries, clears and other builds makes a second build of a task."""
    run_state_machine_as_test(RandomDispatch, settings=SETTINGS)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: str(scenario.__name__))
def test_scenario(scenario: Callable[[], None]) -> None:
    """The dispatch keeps the promise that the scenario is named for."""
    scenario()


def random_dispatch() -> None:
    """Run the same random steps each time."""
    run_state_machine_as_test(
        RandomDispatch, settings=settings(SETTINGS, phases=[Phase.generate], derandomize=True)
    )


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: str(function.__qualname__))
def test_mutants_of_the_dispatch_are_noticed(function: FunctionType) -> None:
    """With any change of the dispatch, a promise is broken."""
    mutants.check(function, CHECKS, random_dispatch, EQUIVALENT)


@mutants.each_hand_made(HAND_MADE)
def test_hand_made_mutants_are_noticed(mutant: mutants.HandMade) -> None:
    """Likewise mistakes that are more than one changed expression."""
    mutants.check_hand_made(mutant, CHECKS)
