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
    building,
    carried_out,
    context_of,
    dispatched,
    meanwhile,
    posts,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_buildpixel.sandbox import Sandbox
    from tests.tasks.behaviours import Behaviour

PAGE = Path(__file__).parents[2] / "docs" / "behaviours.md"


def ended(row: Behaviour, sandbox: Sandbox) -> tuple[Any, TaskInstance]:
    """Give what the row's task returned or raised, and its task instance."""
    sandbox.world.plans.default = Plan(
        **{"queue": 0.1, "run": 0.2, "lines": 4} | row.outcome.course
    )
    ti = TaskInstance()
    policy = {"on_superseded": row.on_superseded, "channel": row.channel}
    make = building(row.mode, **policy, **row.outcome.task)
    story = row.outcome.story
    with meanwhile(*([partial(story, sandbox)] if story else [])):
        try:
            return carried_out(make, context_of(ti, Store())), ti
        except Exception as error:  # the end of the row, to be compared
            return error, ti


def check(row: Behaviour, sandbox: Sandbox, result: Any, ti: TaskInstance) -> None:
    """Compare an end with the row's."""
    builds = [build["id"] for build in sandbox.builds()]
    end = row.end
    assert posts(sandbox) == 1
    counted = builds[1] if end.newer else builds[0]
    assert ti.xcoms["build_id"] == counted
    if end.error is None:
        assert isinstance(result, dict), result
        assert (result["build_id"], result["status"]) == (counted, "complete")
        return
    assert type(result).__name__ == end.error, repr(result)
    assert all(said in str(result) for said in (*end.says, counted)), str(result)
    assert sandbox.token not in str(result)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a 404 last for a second: the tests of the machine wait for the minute."""
    wait._shared_pacing.cache_clear()
    monkeypatch.setattr(Pacing, "absence", 1.0)
    yield
    wait._shared_pacing.cache_clear()


@pytest.mark.parametrize("row", BEHAVIOURS, ids=str)
@pytest.mark.usefixtures("impatient", "hasty")
def test_end(row: Behaviour, sandbox: Sandbox) -> None:
    """A task ends as the table says, in either mode, with one build started."""
    result, ti = ended(row, sandbox)
    check(row, sandbox, result, ti)
    assert len(dispatched(sandbox)) == 1


def test_page() -> None:
    """The page of the docs is this table."""
    assert PAGE.read_text() == page()
