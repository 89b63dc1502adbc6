from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_buildpixel.tasks.deadlines import WaitProgress
from tests.tasks.stage import TaskInstance, context_of


@pytest.mark.parametrize("stored", [None, [], {}, {"dispatched_at": 5.0}, {"started_at": 5.0}])
def test_invalid_progress(stored: object) -> None:
    """Stored progress that cannot be parsed starts again, instead of failing the task."""
    ti = TaskInstance()
    context: Any = context_of(ti)
    assert WaitProgress.from_json(context, stored).started_at == ti.start_date.timestamp()


def test_progress_of_a_newer_version() -> None:
    """Unknown fields, stored by a newer version, are ignored."""
    stored = {"dispatched_at": 5.0, "started_at": 4.0, "deferrals": 3, "unknown": "x"}
    context: Any = context_of(TaskInstance())
    assert WaitProgress.from_json(context, stored) == WaitProgress(5.0, 4.0, deferrals=3)
