"""The checks of a cluster run; the run itself takes too long for these tests."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.cluster.results import Check
from tests.cluster.scenario import Scenario
from tests.cluster.try_logs import KILLED, reason
from tests.cluster.verification import (
    FALSE_FAILURE,
    FALSE_SUCCESS,
    LOST,
    STRAY,
    STUCK,
    TWICE,
    WRONG_RESULT,
    BuildResult,
    TaskResult,
    spread,
    verify,
)

TASK = TaskResult("b", "success", build_id="1", result="1", status="complete")
FAILED = TaskResult("b", "failed", build_id="1")
BUILD = BuildResult("1", "b", "complete", created_at=10.0, finished_at=20.0)
LATER = replace(BUILD, id="2", created_at=30.0, finished_at=40.0)
OF_LATER = replace(TASK, build_id="2", result="2", tries=2)

CASES = [
    ("both succeed", [TASK], [BUILD], []),
    ("both fail", [FAILED], [replace(BUILD, status="failed")], []),
    ("superseded", [FAILED], [replace(BUILD, status="superseded")], []),
    ("a new build after a failed one", [OF_LATER], [replace(BUILD, status="failed"), LATER], []),
    ("no task", [], [], [LOST]),
    ("no build", [TASK], [], [LOST]),
    ("a second build after a good one", [OF_LATER], [BUILD, LATER], [TWICE]),
    ("a second beside a live one", [OF_LATER], [replace(BUILD, status="running"), LATER], [TWICE]),
    (
        "a second before the first had failed",
        [OF_LATER],
        [replace(BUILD, status="failed", finished_at=35.0), LATER],
        [TWICE],
    ),
    ("still deferred", [replace(TASK, state="deferred")], [BUILD], [STUCK]),
    ("still up for retry", [replace(TASK, state="up_for_retry")], [BUILD], [STUCK]),
    ("success of a failed build", [TASK], [replace(BUILD, status="failed")], [FALSE_SUCCESS]),
    ("success of a running build", [TASK], [replace(BUILD, status="running")], [FALSE_SUCCESS]),
    ("failure of a complete build", [FAILED], [BUILD], [FALSE_FAILURE]),
    ("failure of a running build", [FAILED], [replace(BUILD, status="running")], [FALSE_FAILURE]),
    ("another build's result", [replace(TASK, result="0")], [BUILD], [WRONG_RESULT]),
    ("no result", [replace(TASK, result=None)], [BUILD], [WRONG_RESULT]),
    ("another id published", [replace(TASK, build_id="0")], [BUILD], [WRONG_RESULT]),
    ("a build without a task", [TASK], [BUILD, replace(LATER, branch="main")], [STRAY]),
]


@pytest.mark.parametrize(
    ("tasks", "builds", "kinds"), [pytest.param(*case[1:], id=case[0]) for case in CASES]
)
def test_violations(tasks: list[TaskResult], builds: list[BuildResult], kinds: list[str]) -> None:
    """Each violation is found, and nothing else."""
    assert [violation.kind for violation in verify(["b"], tasks, builds).violations] == kinds


def test_builds_of_retries_are_counted() -> None:
    """A build that a retry started after a failed one is counted and is no violation."""
    assert verify(["b"], [OF_LATER], [replace(BUILD, status="failed"), LATER]).retry_builds == 1


def test_waves_are_all_builds() -> None:
    """The waves together have the requested number of builds, for any number."""
    for builds in (1, 20, 47, 500):
        scenario = Scenario(builds=builds)
        assert sum(scenario.sizes()) == builds
        assert len(scenario.waves()) == len(scenario.sizes())


@pytest.mark.parametrize(
    ("measured", "at_least", "met"),
    [(5, False, True), (6, False, False), (6, True, True), (4, True, False), (None, True, False)],
)
def test_check(*, measured: int | None, at_least: bool, met: bool) -> None:
    """A check requires an exact or a minimum value, and fails without a measurement."""
    assert Check("claim", measured, 5, at_least=at_least).met == met


def test_spread() -> None:
    """Median, 95th percentile and maximum are computed from the values."""
    assert spread([float(number) for number in range(101)]) == ("50.0", "95.0", "100.0")
    assert spread([]) == ("?", "?", "?")


def test_reason_of_a_try() -> None:
    """The last exception of a log is the reason; a truncated log has none."""
    lines = ['{"event": "one"}', '{"error_detail": [{"exc_type": "Unreachable"}]}', '{"eve']
    assert reason(lines) == "Unreachable"
    assert reason(lines[:1]) == KILLED
