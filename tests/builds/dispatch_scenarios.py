"""Single lives of a dispatch that the random machine meets too rarely; each name is a promise."""

# ruff: noqa: D103  # the name of a scenario is its promise

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from airflow_provider_buildpixel.builds.dispatch import SEARCH_PAUSES, DispatchMachine
from airflow_provider_buildpixel.exceptions import DispatchUncertain, ServerFault, Unreachable
from tests.builds.dispatch_world import AUTOMATIC, OTHER_TOKEN, OTHERS, OUR_TOKEN, World

if TYPE_CHECKING:
    from collections.abc import Callable


def a_request_that_never_arrived_is_repeated() -> None:
    world = World()
    world.fates.append("reset before")
    world.run_task()
    assert world.build_id is not None
    assert len(world.own_builds) == 1


def a_request_that_was_lost_with_its_worker_is_sent_again() -> None:
    world = World()
    world.fates.append("reset before")
    world.retry_and_kill()
    assert not world.own_builds
    world.retry()
    assert world.build_id is not None


def a_refusal_ends_the_try_at_once() -> None:
    world = World()
    began = world.now
    world.fates.append("400")
    world.run_task()
    assert world.build_id is None
    assert world.now - began < 1.0


def two_possible_builds_are_not_guessed_at() -> None:
    world = World()
    one, two = (world.builds[world.create_build("api_token:x")] for _ in range(2))
    machine = DispatchMachine(search_first=True)
    with pytest.raises(DispatchUncertain) as caught:
        machine.on_search((one, two))
    assert caught.value.candidates == (one, two)
    assert two.id in str(caught.value)


def after_a_failed_search_nothing_is_repeated() -> None:
    machine = DispatchMachine()
    machine.on_error(Unreachable("reset"))
    assert "reset" in str(machine.lookup_failed(ServerFault("down")))


def a_build_that_no_longer_exists_is_replaced() -> None:
    world = World()
    world.run_task()
    world.finish("failed")
    world.builds.clear()
    world.retry()
    assert world.build_id is not None
    assert len(world.own_builds) == 2


def a_superseded_build_is_kept_until_the_task_is_cleared() -> None:
    world = World()
    world.run_task()
    world.create_build("push:c0ffee")
    world.finish("complete")
    world.retry()
    assert len(world.own_builds) == 1
    world.clear()
    assert len(world.own_builds) == 2


def a_request_that_may_still_run_is_not_repeated() -> None:
    for fate in ("timed out after", "504 after", "unreadable"):
        world = World()
        world.fates.append(fate)
        world.run_task()
        assert not world.own_builds
        world.advance(60.0)
        world.retry()
        assert world.build_id is not None
        assert len(world.own_builds) == 1


def a_successful_build_is_kept() -> None:
    world = World()
    world.run_task()
    world.finish("complete")
    world.run_task()
    assert len(world.own_builds) == 1


def a_task_that_is_cleared_while_its_build_runs_continues_with_it() -> None:
    world = World()
    world.run_task()
    world.clear()
    assert world.build_id == world.own_builds[0].build_id
    assert len(world.own_builds) == 1


def a_build_that_is_listed_late_is_found() -> None:
    world = World()
    world.fates.append("502 after")
    world.run_task()
    world.advance(60.0)
    assert world.build_id == world.own_builds[0].build_id


def a_request_that_never_arrives_is_sent_twice_at_most() -> None:
    world = World()
    world.fates.extend(["reset before"] * 9)
    world.run_task()
    assert len(world.fates) == 7


def builds_of_others_are_not_adopted() -> None:
    known = [(triggered_by, True) for triggered_by in OTHERS if triggered_by != OTHER_TOKEN]
    for triggered_by, token in (*known, *((automatic, False) for automatic in AUTOMATIC)):
        world = World(token=token)
        world.fates.append("reset before")
        world.call_later(1.0, partial(world.create_build, triggered_by))
        world.run_task()
        assert len(world.own_builds) == 1


def a_build_of_another_token_makes_the_dispatch_uncertain() -> None:
    world = World()
    world.fates.append("reset before")
    world.call_later(1.0, partial(world.create_build, OTHER_TOKEN))
    world.run_task()
    assert not world.own_builds
    assert world.build_id is None
    machine = DispatchMachine(search_first=True)
    (build,) = world.builds.values()
    machine.on_search((), (build,))
    for _ in range(len(SEARCH_PAUSES) - 2):
        machine.on_search(())
    with pytest.raises(DispatchUncertain) as caught:
        machine.on_search(())
    assert caught.value.candidates == (build,)


def builds_from_before_the_request_are_not_adopted() -> None:
    world = World()
    world.create_build(OUR_TOKEN)
    world.fates.append("reset before")
    world.run_task()
    assert len(world.own_builds) == 1


def a_finished_task_that_is_cleared_gets_a_new_build() -> None:
    world = World()
    world.run_task()
    world.finish("complete")
    world.clear()
    assert len(world.own_builds) == 2


def a_retry_after_a_failed_build_gets_a_new_one() -> None:
    world = World()
    world.run_task()
    world.finish("failed")
    world.retry()
    assert len(world.own_builds) == 2


SCENARIOS: tuple[Callable[[], None], ...] = (
    a_request_that_never_arrived_is_repeated,
    a_request_that_was_lost_with_its_worker_is_sent_again,
    a_refusal_ends_the_try_at_once,
    two_possible_builds_are_not_guessed_at,
    after_a_failed_search_nothing_is_repeated,
    a_build_that_no_longer_exists_is_replaced,
    a_superseded_build_is_kept_until_the_task_is_cleared,
    a_request_that_may_still_run_is_not_repeated,
    a_successful_build_is_kept,
    a_task_that_is_cleared_while_its_build_runs_continues_with_it,
    a_build_that_is_listed_late_is_found,
    a_request_that_never_arrives_is_sent_twice_at_most,
    builds_of_others_are_not_adopted,
    a_build_of_another_token_makes_the_dispatch_uncertain,
    builds_from_before_the_request_are_not_adopted,
    a_finished_task_that_is_cleared_gets_a_new_build,
    a_retry_after_a_failed_build_gets_a_new_one,
)
