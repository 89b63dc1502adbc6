from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.simulation.drawing import schedule_of
from tests.simulation.named import SCHEDULES
from tests.simulation.schedule import Schedule, TaskSpec
from tests.simulation.shrinking import report
from tests.simulation.world.builds import NEVER
from tests.simulation.world.simulation import simulated_time, violation_of

if TYPE_CHECKING:
    from collections.abc import Iterator

COUNT = 1_500
GROUPS = 10
ROUNDS = 20


@pytest.fixture(autouse=True)
def time_is_simulated() -> Iterator[None]:
    """Let the provider run on simulated time."""
    with simulated_time():
        yield


@pytest.mark.parametrize("name", SCHEDULES)
def test_named_schedule(name: str) -> None:
    """The promise that the schedule is named for is kept."""
    schedule = SCHEDULES[name]
    assert violation_of(schedule)[0] is None, report(schedule)


@pytest.mark.parametrize("group", range(GROUPS))
def test_random_schedules(group: int) -> None:
    """No random schedule violates an invariant."""
    for seed in range(group, COUNT, GROUPS):
        schedule = schedule_of(seed)
        assert violation_of(schedule)[0] is None, report(schedule)


@pytest.mark.parametrize("is_deferrable", [False, True])
def test_a_task_without_trouble_returns_its_build(*, is_deferrable: bool) -> None:
    """The plainest schedule ends with success, after exactly one request."""
    schedule = Schedule(tasks=(TaskSpec(deferrable=is_deferrable),))
    violation, simulation = violation_of(schedule)
    assert violation is None
    (task,) = simulation.tasks
    assert task.state == "success"
    assert [request.build for request in task.history.requests] == simulation.service.builds
    assert len(simulation.service.builds) == 1


@pytest.mark.parametrize("has_variables", [True, False])
def test_two_tasks_that_wait_for_the_same_build(*, has_variables: bool) -> None:
    """With Variables, one never cancels the other's build; without, the random delay helps."""
    schedule = SCHEDULES["two tasks that wait for the same build do not start both"]
    cancelled = 0
    for seed in range(ROUNDS):
        violation, simulation = violation_of(
            replace(schedule, seed=seed, has_variables=has_variables)
        )
        assert violation is None
        ours = [build for build in simulation.service.builds if build.request]
        cancelled += any(build.superseded < NEVER for build in ours)
    assert cancelled == 0 if has_variables else cancelled < ROUNDS / 2


def test_a_seed_always_runs_alike() -> None:
    """The log of a schedule is the same each time."""
    logs = [violation_of(schedule_of(7))[1].log for _ in range(2)]
    assert logs[0] == logs[1]
