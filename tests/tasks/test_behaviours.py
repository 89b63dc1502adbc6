from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_buildpixel.sandbox import Plan
from airflow_provider_buildpixel.waits import wait
from airflow_provider_buildpixel.waits.actions import Pacing
from tests.tasks.behaviours import BEHAVIOURS, page
from tests.tasks.stage import (
    Store,
    TaskInstance,
    concurrently,
    context_of,
    count_trigger_requests,
    dispatched_builds,
    operator_factory,
    run_task,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_buildpixel.sandbox import Sandbox
    from tests.tasks.behaviours import Behaviour

PAGE = Path(__file__).parents[2] / "docs" / "behaviours.md"


def run(behaviour: Behaviour, sandbox: Sandbox) -> tuple[Any, TaskInstance]:
    """Return the result or error of the task, and its task instance."""
    sandbox.world.plans.default = Plan(
        **{"queue": 0.1, "run": 0.2, "lines": 4} | behaviour.scenario.plan
    )
    ti = TaskInstance()
    policy = {"on_superseded": behaviour.on_superseded, "channel": behaviour.channel}
    make = operator_factory(behaviour.mode, **policy, **behaviour.scenario.task)
    steps = behaviour.scenario.steps
    with concurrently(*([partial(steps, sandbox)] if steps else [])):
        try:
            return run_task(make, context_of(ti, Store())), ti
        except Exception as error:  # noqa: BLE001  # any error is compared with the expected one
            return error, ti


def check(behaviour: Behaviour, sandbox: Sandbox, result: Any, ti: TaskInstance) -> None:
    """Check that the task has ended as expected."""
    builds = [build["id"] for build in sandbox.builds()]
    end = behaviour.end
    assert count_trigger_requests(sandbox) == 1
    expected_id = builds[1] if end.newer else builds[0]
    assert ti.xcoms["build_id"] == expected_id
    if end.error is None:
        assert isinstance(result, dict), result
        assert (result["build_id"], result["status"]) == (expected_id, "complete")
        return
    assert type(result).__name__ == end.error, repr(result)
    assert all(part in str(result) for part in (*end.in_message, expected_id)), str(result)
    assert sandbox.token not in str(result)


@pytest.fixture
def short_not_found_grace(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Accept a 404 for one second instead of one minute; test_tracker.py tests the minute."""
    wait._shared_pacing.cache_clear()
    monkeypatch.setattr(Pacing, "not_found_grace", 1.0)
    yield
    wait._shared_pacing.cache_clear()


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=str)
@pytest.mark.usefixtures("short_not_found_grace", "short_search_pauses")
def test_end(behaviour: Behaviour, sandbox: Sandbox) -> None:
    """A task ends as the table says, and exactly one build is started."""
    result, ti = run(behaviour, sandbox)
    check(behaviour, sandbox, result, ti)
    assert len(dispatched_builds(sandbox)) == 1


def test_page() -> None:
    """The page of the documentation shows this table."""
    assert PAGE.read_text() == page()
