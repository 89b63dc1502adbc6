from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from airflow_provider_buildpixel.api import retry
from airflow_provider_buildpixel.api.model import Build
from airflow_provider_buildpixel.channel.events import StatusHint
from airflow_provider_buildpixel.exceptions import RateLimited
from airflow_provider_buildpixel.waits import tracker
from airflow_provider_buildpixel.waits.actions import Done, IdleWait, Listen
from airflow_provider_buildpixel.waits.tracker import BuildTracker
from tests import mutants
from tests.waits import test_idle_waits, test_tracker, test_tracker_reads
from tests.waits.tracker_machine import RandomWait
from tests.waits.tracker_scenarios import SCENARIOS

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FunctionType

    from airflow_provider_buildpixel.channel.events import Event
    from airflow_provider_buildpixel.exceptions import BuildPixelError
    from airflow_provider_buildpixel.waits.actions import Action, ReadTime

SETTINGS = settings(
    max_examples=150,
    stateful_step_count=30,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
CHECKS = [
    *mutants.unit_checks(test_tracker_reads),
    *mutants.unit_checks(test_tracker),
    *mutants.unit_checks(test_idle_waits),
    *SCENARIOS,
]
FUNCTIONS = [
    *mutants.functions_of(BuildTracker),
    *mutants.functions_of(IdleWait),
    retry.backoff,
    retry.retry_after_pause,
    retry.is_permanent,
    retry.from_gateway,
]
PAST = "a read that was due in the past is due now, too"
UNUSED = "it is set before its first use"
EQUIVALENT = {
    BuildTracker.__init__: {
        "number 1 is one less": PAST,
        "statement 22 is deleted": UNUSED,
        "assignment 16 is None": UNUSED,
        "sign 3 is dropped": UNUSED,
    },
    BuildTracker.on_event: {
        "extreme 1 has no argument 1": PAST,
        "extreme 2 has no argument 2": "the last read is never later than now",
    },
    BuildTracker.on_unchanged: {
        "logic 1 has no operand 3": "after the end only Done follows",
        "extreme 1 has no argument 1": "reads are only requested after the earliest instant",
    },
    BuildTracker.idle_terms: {
        "logic 1 has no operand 1": "while the status is unknown, no read has counted",
    },
    BuildTracker._hint_read_at: {"extreme 1 has no argument 1": PAST},
    IdleWait.__init__: {f"assignment 1 has no target {number}": UNUSED for number in (2, 3, 4)},
    retry.backoff: {
        f"number 2 is one {what}": "every cap is reached before that" for what in ("more", "less")
    },
}


def believe_hints(on_event: Any, tracker: BuildTracker, event: Event, now: float) -> None:
    """Handle a hint like a read."""
    if isinstance(event, StatusHint) and event.status is not None:
        tracker.on_read(Build(event.build_id, event.status), now)
    on_event(tracker, event, now)


def end_with_an_unknown_status(next_action: Any, tracker: BuildTracker, now: float) -> Action:
    """End the wait when the status is unknown."""
    if tracker.status == "warming-up":
        return Done(Build("b", tracker.status))
    action: Action = next_action(tracker, now)
    return action


def listen_for_no_time(next_action: Any, tracker: BuildTracker, now: float) -> Action:
    """Do not pause before the next action."""
    action: Action = next_action(tracker, now)
    return Listen(0.0) if isinstance(action, Listen) else action


def never_read_after_a_failure(_: object, *__: object, **___: object) -> float:
    """Return an endless pause."""
    return inf


def read_rarely_while_connected(safety_interval: Any, tracker: BuildTracker) -> float:
    """Quadruple the pause between safety reads."""
    seconds: float = safety_interval(tracker)
    return 4 * seconds if seconds > 30.0 else seconds


def take_every_status_for_the_known_one(
    on_status: Any, wait: IdleWait, _: str, read_time: ReadTime
) -> object:
    """Stay idle whatever a list shows."""
    return on_status(wait, "running", read_time)


def end_a_minute_late(
    init: Any, tracker: BuildTracker, now: float, *, deadline: float | None = None, **more: Any
) -> None:
    """Expire a minute after the deadline."""
    init(tracker, now, deadline=None if deadline is None else deadline + 60.0, **more)


def idle_for_too_long(idle_terms: Any, tracker: BuildTracker, *until: float) -> object:
    """Idle for an hour after each read."""
    terms = idle_terms(tracker, *until)
    return terms and terms._replace(pause=3_600.0)


def tolerate_only_429s(_: object, error: BuildPixelError) -> bool:
    """Give up after a 500."""
    return not isinstance(error, RateLimited)


def retry_as_soon_as_asked(_: object, wait: float, *__: float) -> float:
    """Retry at once after a 429 for 0 seconds."""
    return wait


HAND_MADE = (
    (BuildTracker, BuildTracker.__init__, end_a_minute_late),
    (BuildTracker, BuildTracker.idle_terms, idle_for_too_long),
    (tracker, retry.is_permanent, tolerate_only_429s),
    (tracker, retry.retry_after_pause, retry_as_soon_as_asked),
    (BuildTracker, BuildTracker.on_event, believe_hints),
    (BuildTracker, BuildTracker.next_action, end_with_an_unknown_status),
    (BuildTracker, BuildTracker.next_action, listen_for_no_time),
    (tracker, retry.backoff, never_read_after_a_failure),
    (BuildTracker, BuildTracker._safety_interval, read_rarely_while_connected),
    (IdleWait, IdleWait.on_status, take_every_status_for_the_known_one),
)


def test_a_wait_keeps_its_promises_whatever_happens() -> None:
    """No order of builds, events, faults and pauses makes a wait err, hang, spin or storm."""
    run_state_machine_as_test(RandomWait, settings=SETTINGS)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: str(scenario.__name__))
def test_scenario(scenario: Callable[[], None]) -> None:
    """The wait keeps the promise that the scenario is named for."""
    scenario()


def random_wait() -> None:
    """Run the same random steps each time."""
    run_state_machine_as_test(
        RandomWait, settings=settings(SETTINGS, phases=[Phase.generate], derandomize=True)
    )


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: str(function.__qualname__))
def test_mutants_of_the_tracker_are_noticed(function: FunctionType) -> None:
    """With any change of the tracker or of idle waits, a promise is broken."""
    mutants.check(function, CHECKS, random_wait, EQUIVALENT)


@mutants.each_hand_made(HAND_MADE)
def test_hand_made_mutants_are_noticed(mutant: mutants.HandMade) -> None:
    """Likewise mistakes that are more than one changed expression."""
    mutants.check_hand_made(mutant, CHECKS)
