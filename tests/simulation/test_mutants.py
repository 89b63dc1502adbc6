"""Plausible mistakes in the code that starts builds, each of which the simulation must notice."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_buildpixel.builds import dispatch, record, request, search
from airflow_provider_buildpixel.builds.dispatch import RequestSearch
from airflow_provider_buildpixel.builds.record import NewBuild
from airflow_provider_buildpixel.builds.request_window import RequestWindow
from airflow_provider_buildpixel.builds.task_try import TryOfTask
from airflow_provider_buildpixel.tasks import build_starter, dispatch_lock, dispatcher
from airflow_provider_buildpixel.tasks.build_starter import BuildStarter
from airflow_provider_buildpixel.tasks.state import TaskState
from tests.mutants import each_hand_made, wrapped
from tests.simulation.drawing import schedule_of
from tests.simulation.named import SCHEDULES
from tests.simulation.world.simulation import simulated_time, violation_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_buildpixel.api.paging import Steps
    from tests.mutants import HandMade
    from tests.simulation.schedule import Schedule

    Function = Callable[..., Any]

RANDOM_SCHEDULES = 1_500


def returns_nothing(_: Function, *_args: object, **_kwargs: object) -> None:
    """Do nothing."""


def is_false(_: Function, *_args: object, **_kwargs: object) -> bool:
    """Deny it."""
    return False


def is_true(_: Function, *_args: object, **_kwargs: object) -> bool:
    """Claim it."""
    return True


def is_empty(_: Function, *_args: object, **_kwargs: object) -> tuple[()]:
    """Find nothing."""
    return ()


def ignores_the_policy(function: Function, live: Any, target: Any, lines: Any, _: str) -> Any:
    """Start a build in any case."""
    return function(live, target, lines, "supersede")


def checks_only_before_the_first_request(function: Function, self: Any, earlier: Any) -> Any:
    """Start a build in any case if an earlier request was lost."""
    starter = self if earlier is None else replace(self, on_in_flight="supersede")
    return function(starter, earlier)


def forgets_known_ids(function: Function, *args: Any) -> Any:
    """Do not store which builds existed before the request."""
    found = function(*args)
    return replace(found, window=replace(found.window, known_ids=()))


def trusts_rows(_: Function, live: Any, *_args: object) -> Steps[Any]:
    """Do not read the live build itself."""
    yield from ()
    return live


def has_no_lock(_: Function, *_args: object, **_kwargs: object) -> Any:
    """Let other tasks start builds at the same time."""
    return nullcontext(enter_result=True)


def repeats_in_a_retry(function: Function, stored: Any, *args: Any) -> Any:
    """Start a new build in the retry after an uncertain request."""
    if stored is not None and stored.is_reported:
        return NewBuild("reported")
    return function(stored, *args)


def keeps_the_old_target(function: Function, stored: Any, target: Any, current: Any) -> Any:
    """Do not notice that the task asks for something else now."""
    return function(stored and replace(stored, target=target), target, current)


def searches_once(function: Function, self: Any, now: float) -> Any:
    """Give up after one search, even if the request can still run."""
    del self._pauses[1:]
    self._is_extended = True
    return function(self, now)


def forgets_the_build(function: Function, self: Any, stored: Any) -> None:
    """Store no build."""
    function(self, replace(stored, build_id=None))


MUTANTS: list[HandMade] = [
    (build_starter, dispatch.decide_in_flight, ignores_the_policy),
    (build_starter, dispatch.in_flight, is_empty),
    (BuildStarter, BuildStarter._request_build, checks_only_before_the_first_request),
    (BuildStarter, BuildStarter._new_record, forgets_known_ids),
    (BuildStarter, BuildStarter._await_listing, returns_nothing),
    (build_starter, dispatch_lock.dispatch_lock, has_no_lock),
    (build_starter, dispatch.is_surely_over, is_true),
    (build_starter, dispatch.may_have_run, is_false),
    (search, search.confirm_first, trusts_rows),
    (dispatcher, record.decide_from_record, repeats_in_a_retry),
    (dispatcher, record.decide_from_record, keeps_the_old_target),
    (record, record.may_be_from_token, is_true),
    (request, request.same_branch, is_true),
    (request, request.same_commit, is_true),
    (RequestSearch, RequestSearch.next_pause, searches_once),
    (RequestSearch, RequestSearch.on_builds, returns_nothing),
    (RequestWindow, RequestWindow.includes, is_true),
    (TryOfTask, TryOfTask.was_cleared_since, is_false),
    (TryOfTask, TryOfTask.was_cleared_since, is_true),
    (TaskState, TaskState.save, returns_nothing),
    (TaskState, TaskState.save, forgets_the_build),
    (TaskState, TaskState.mark_finished, returns_nothing),
]


def schedules() -> Iterator[Schedule]:
    """Yield the named schedules, then random ones."""
    yield from SCHEDULES.values()
    yield from map(schedule_of, range(RANDOM_SCHEDULES))


@each_hand_made(MUTANTS)
def test_the_simulation_notices(mutant: HandMade) -> None:
    """Some schedule violates an invariant if the code makes this mistake."""
    with simulated_time(), wrapped(*mutant):
        if not any(violation_of(schedule)[0] is not None for schedule in schedules()):
            pytest.fail("nothing notices this mistake")
