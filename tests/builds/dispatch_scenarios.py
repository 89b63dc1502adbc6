"""Single lives of a dispatch, each of which the random machine meets too seldom."""

# the name of a scenario is the promise

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_buildpixel.exceptions import DispatchUncertain, ServerFault, Unreachable
from tests.builds.dispatch_world import AUTOMATIC, OTHER_TOKEN, OURS, STRANGERS, World

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType


def a_request_that_never_arrived_is_repeated(dispatch: ModuleType, record: ModuleType) -> None:
    world = World(dispatch, record)
    world.fates.append("reset before")
    world.attempt()
    assert world.holds is not None
    assert len(world.made) == 1


def a_refusal_ends_the_try_at_once(dispatch: ModuleType, record: ModuleType) -> None:
    world = World(dispatch, record)
    began = world.now
    world.fates.append("400")
    world.attempt()
    assert world.holds is None
    assert world.now - began < 1.0


def two_builds_that_may_be_ours_are_not_guessed_at(
    dispatch: ModuleType, record: ModuleType
) -> None:
    world = World(dispatch, record)
    one, two = (world.builds[world.make("api_token:x")] for _ in range(2))
    machine: Any = dispatch.DispatchMachine(searching=True)
    with pytest.raises(DispatchUncertain) as caught:
        machine.on_search((one, two))
    assert caught.value.candidates == (one, two)
    assert two.id in str(caught.value)


def a_look_that_cannot_be_had_repeats_nothing(dispatch: ModuleType, record: ModuleType) -> None:
    del record
    machine: Any = dispatch.DispatchMachine()
    machine.on_error(Unreachable("reset"))
    assert "reset" in str(machine.lookup_failed(ServerFault("down")))


def a_build_that_is_gone_is_replaced(dispatch: ModuleType, record: ModuleType) -> None:
    world = World(dispatch, record)
    world.attempt()
    world.concludes("failed")
    world.builds.clear()
    world.retries()
    assert world.holds is not None
    assert len(world.made) == 2


def a_superseded_build_stays_the_end_until_a_clear(
    dispatch: ModuleType, record: ModuleType
) -> None:
    world = World(dispatch, record)
    world.attempt()
    world.make("push:c0ffee")
    world.concludes("complete")
    world.retries()
    assert len(world.made) == 1
    world.clears()
    assert len(world.made) == 2


def a_request_that_may_still_run_is_not_repeated(dispatch: ModuleType, record: ModuleType) -> None:
    for fate in ("timed out after", "504 after", "unreadable"):
        world = World(dispatch, record)
        world.fates.append(fate)
        world.attempt()
        assert not world.made
        world.advance(60.0)
        world.retries()
        assert world.holds is not None
        assert len(world.made) == 1


def a_success_is_kept(dispatch: ModuleType, record: ModuleType) -> None:
    world = World(dispatch, record)
    world.attempt()
    world.concludes("complete")
    world.attempt()
    assert len(world.made) == 1


def a_clear_while_the_build_runs_goes_on_with_it(dispatch: ModuleType, record: ModuleType) -> None:
    world = World(dispatch, record)
    world.attempt()
    world.clears()
    assert world.holds == world.made[0].build_id
    assert len(world.made) == 1


def a_build_that_appears_late_is_found(dispatch: ModuleType, record: ModuleType) -> None:
    world = World(dispatch, record)
    world.fates.append("502 after")
    world.attempt()
    world.advance(60.0)
    assert world.holds == world.made[0].build_id


def requests_that_never_arrive_are_few(dispatch: ModuleType, record: ModuleType) -> None:
    world = World(dispatch, record)
    world.fates.extend(["reset before"] * 9)
    world.attempt()
    assert len(world.fates) == 7


def strangers_builds_are_left_alone(dispatch: ModuleType, record: ModuleType) -> None:
    known = [(stranger, True) for stranger in STRANGERS if stranger != OTHER_TOKEN]
    for stranger, token in (*known, *((stranger, False) for stranger in AUTOMATIC)):
        world = World(dispatch, record, token=token)
        world.fates.append("reset before")
        world.plan(1.0, partial(world.make, stranger))
        world.attempt()
        assert len(world.made) == 1


def a_build_of_another_token_is_doubted(dispatch: ModuleType, record: ModuleType) -> None:
    world = World(dispatch, record)
    world.fates.append("reset before")
    world.plan(1.0, partial(world.make, OTHER_TOKEN))
    world.attempt()
    assert not world.made
    assert world.holds is None
    machine: Any = dispatch.DispatchMachine(searching=True)
    (seen,) = world.builds.values()
    machine.on_search((), (seen,))
    for _ in range(len(dispatch.SEARCH_PAUSES) - 2):
        machine.on_search(())
    with pytest.raises(DispatchUncertain) as caught:
        machine.on_search(())
    assert caught.value.candidates == (seen,)


def builds_from_before_are_left_alone(dispatch: ModuleType, record: ModuleType) -> None:
    world = World(dispatch, record)
    world.make(OURS)
    world.fates.append("reset before")
    world.attempt()
    assert len(world.made) == 1


def a_clear_after_the_end_starts_afresh(dispatch: ModuleType, record: ModuleType) -> None:
    world = World(dispatch, record)
    world.attempt()
    world.concludes("complete")
    world.clears()
    assert len(world.made) == 2


def a_retry_after_a_failure_starts_afresh(dispatch: ModuleType, record: ModuleType) -> None:
    world = World(dispatch, record)
    world.attempt()
    world.concludes("failed")
    world.retries()
    assert len(world.made) == 2


SCENARIOS: tuple[Callable[[ModuleType, ModuleType], None], ...] = (
    a_request_that_never_arrived_is_repeated,
    a_refusal_ends_the_try_at_once,
    two_builds_that_may_be_ours_are_not_guessed_at,
    a_look_that_cannot_be_had_repeats_nothing,
    a_build_that_is_gone_is_replaced,
    a_superseded_build_stays_the_end_until_a_clear,
    a_request_that_may_still_run_is_not_repeated,
    a_success_is_kept,
    a_clear_while_the_build_runs_goes_on_with_it,
    a_build_that_appears_late_is_found,
    requests_that_never_arrive_are_few,
    strangers_builds_are_left_alone,
    a_build_of_another_token_is_doubted,
    builds_from_before_are_left_alone,
    a_clear_after_the_end_starts_afresh,
    a_retry_after_a_failure_starts_afresh,
)
