from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_buildpixel.tasks.deadlines import WaitProgress
from tests.tasks.stage import TaskInstance, context_of


@pytest.mark.parametrize("stored", [None, [], {}, {"dispatched_at": 5.0}, {"started_at": 5.0}])
def test_progress_that_cannot_be_read(stored: object) -> None:
    """What a deferral carried along and cannot be read begins anew, instead of failing the task."""
    ti = TaskInstance()
    context: Any = context_of(ti)
    assert WaitProgress.from_json(context, stored).started_at == ti.start_date.timestamp()


def test_progress_of_a_newer_version() -> None:
    """What a newer version has carried along is read as far as it is known."""
    stored = {"dispatched_at": 5.0, "started_at": 4.0, "rounds": 3, "mood": "patient"}
    context: Any = context_of(TaskInstance())
    assert WaitProgress.from_json(context, stored) == WaitProgress(5.0, 4.0, rounds=3)
