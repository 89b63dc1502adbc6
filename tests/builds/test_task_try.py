from __future__ import annotations

from dataclasses import asdict

import pytest

from airflow_provider_buildpixel.builds.task_try import TryOfTask

Numbers = tuple[int, int, int, int]
"""Number of the try, ``max_tries``, ``retries``, and clears in the Dag run."""

FACTS: list[tuple[str, Numbers, Numbers, bool, bool, bool]] = [
    # what happened in Airflow 3.3, before, after, whether it counts as a Clear: for sure, at all,
    # after a success
    ("a retry", (1, 2, 2, 0), (2, 2, 2, 0), False, False, False),
    ("the last retry", (2, 2, 2, 0), (3, 2, 2, 0), False, False, False),
    ("a Clear after success", (2, 2, 2, 0), (3, 4, 2, 1), True, True, True),
    (
        "a Clear; fewer retries, so that max_tries is the same",
        (2, 2, 2, 0),
        (3, 2, 1, 1),
        False,
        True,
        True,
    ),
    ("a Clear without retries", (1, 0, 0, 0), (2, 1, 0, 1), True, True, True),
    ("no retry was left", (3, 2, 2, 0), (4, 2, 0, 1), True, True, True),
    ("no retry was left, and nothing counts clears", (3, 2, 2, 0), (4, 2, 2, 0), True, True, True),
    ("a Clear; one retry less", (1, 2, 2, 0), (2, 2, 1, 1), False, True, True),
    ("another task was cleared", (1, 2, 2, 0), (2, 2, 2, 1), False, False, True),
    ("the Dag was edited", (1, 3, 3, 0), (2, 3, 1, 0), False, False, False),
    ("marked as success, then a Clear", (1, 2, 2, 0), (2, 3, 2, 1), True, True, True),
    ("resumed; another task was cleared", (1, 2, 2, 0), (1, 2, 2, 1), False, False, True),
    ("resumed", (1, 2, 2, 0), (1, 2, 2, 0), False, False, False),
    ("resumed in the try after the last retry", (3, 2, 2, 0), (3, 2, 2, 0), False, False, False),
]


@pytest.mark.parametrize(
    ("before", "after", "is_sure", "expected", "after_success"),
    [fact[1:] for fact in FACTS],
    ids=[fact[0] for fact in FACTS],
)
def test_was_cleared_since(
    before: Numbers, after: Numbers, *, is_sure: bool, expected: bool, after_success: bool
) -> None:
    """A Clear of the task is told from a retry, from an edit and from a Clear of another task."""
    earlier, current = TryOfTask(*before), TryOfTask(*after)
    assert current.was_surely_cleared_since(earlier) is is_sure
    assert current.was_cleared_since(earlier, task_finished=False) is expected
    assert current.was_cleared_since(earlier, task_finished=True) is after_success


def test_from_json() -> None:
    """A try is read as it was stored; what is missing is 0."""
    known = TryOfTask(2, 3, 1, 4)
    assert TryOfTask.from_json(asdict(known)) == known
    assert TryOfTask.from_json({"try_number": "2"}) == TryOfTask(2, 0, 0, 0)
    assert TryOfTask.from_json(None) == TryOfTask(0, 0, 0, 0)
