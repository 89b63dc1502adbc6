from __future__ import annotations

from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from airflow_provider_buildpixel.waits import planner, rows
from tests import mutants
from tests.waits import test_planner
from tests.waits.planner_world import SCENARIOS, WAITS, RandomReads, run_scenario

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FunctionType

SETTINGS = settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
CHECKS: list[Callable[[], object]] = [
    *mutants.unit_checks(test_planner),
    *(partial(run_scenario, scenario) for scenario in SCENARIOS),
]
FUNCTIONS = [
    *mutants.functions_of(planner.ReadPlanner),
    *mutants.functions_of(planner.RateLimitGate),
    rows.is_worthwhile,
]
SIGN = "the count is only compared with zero"
EQUIVALENT = {
    planner.ReadPlanner.__init__: {
        f"number 2 is one {what}": "before the first round the time of the last one is -inf"
        for what in ("more", "less")
    },
    planner.ReadPlanner._count: {"arithmetic 1 is Sub": SIGN, "arithmetic 2 is Sub": SIGN},
}


def never_have_enough_reads(
    routine_at: Any, reads: planner.ReadPlanner, waits: int, last_event_at: float = -inf
) -> object:
    """Gather a few reads for ever."""
    return inf if waits > 16 and len(reads) < 4 else routine_at(reads, waits, last_event_at)


def read_nothing(_: object, *__: object) -> planner.ReadPlan:
    """Plan a round without reads."""
    return planner.ReadPlan()


def wait_long_for_more_hints(hinted_at: Any, reads: planner.ReadPlanner) -> float:
    """Gather a burst of hinted reads for a minute and a half."""
    at: float = hinted_at(reads)
    return at + 99.0 if len(reads) > 8 else at


HAND_MADE = (
    (planner.ReadPlanner, planner.ReadPlanner.hinted_at, wait_long_for_more_hints),
    (planner.ReadPlanner, planner.ReadPlanner.routine_at, never_have_enough_reads),
    (planner.ReadPlanner, planner.ReadPlanner.plan_routine, read_nothing),
)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: str(scenario.__name__))
def test_scenario(scenario: Callable[[RandomReads], None]) -> None:
    """Every request of such a scenario is answered."""
    run_scenario(scenario)


def test_every_request_is_answered_soon() -> None:
    """No order of requests, ends, stale lists and refusals loses a request or spins."""
    run_state_machine_as_test(RandomReads, settings=SETTINGS)


def random_reads() -> None:
    """Run the same random steps each time."""
    run_state_machine_as_test(
        RandomReads, settings=settings(SETTINGS, phases=[Phase.generate], derandomize=True)
    )


def test_a_burst_of_ends_costs_few_requests() -> None:
    """Three hundred builds that end at once cost fewer requests than a tenth of them."""
    world = RandomReads()
    world.end_builds(range(WAITS), "complete", is_stale=False)
    world.run(2.0)
    assert not world.unanswered
    assert world.http_requests <= WAITS / 10


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: str(function.__qualname__))
def test_mutants_of_the_planner_are_noticed(function: FunctionType) -> None:
    """With any change of the planner, a request is lost, answered wrongly, late or too often."""
    mutants.check(function, CHECKS, random_reads, EQUIVALENT)


@mutants.each_hand_made(HAND_MADE)
def test_hand_made_mutants_are_noticed(mutant: mutants.HandMade) -> None:
    """Likewise mistakes that are more than one changed expression."""
    mutants.check_hand_made(mutant, CHECKS)
