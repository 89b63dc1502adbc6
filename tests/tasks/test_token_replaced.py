"""A token that is replaced while a live build in the way is waited for, or when a task wakes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_buildpixel.sandbox import Plan
from tests.tasks.behaviours import connect
from tests.tasks.stage import (
    MODES,
    WIN64,
    Store,
    TaskInstance,
    building,
    carried_out,
    context_of,
    dispatched,
    meanwhile,
    reads,
    until,
)

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox import Sandbox


@pytest.mark.parametrize("mode", MODES)
def test_before_the_dispatch(sandbox: Sandbox, mode: str) -> None:
    """The build is then started with the new token."""
    sandbox.world.plans.default = Plan("hangs")
    other = sandbox.push(sandbox.setting("MyGame", **WIN64)["id"])
    sandbox.world.plans.default = Plan(queue=0.1, run=0.2, lines=4)

    def replaced() -> None:
        until(lambda: reads(sandbox, other) >= 2)
        token = sandbox.issue_token()
        connect(sandbox, token)
        sandbox.revoke(sandbox.token)
        bearer = f"Bearer {token}"
        until(lambda: any(r.headers.get("Authorization") == bearer for r in sandbox.requests))
        sandbox.set_status(other, "complete")

    with meanwhile(replaced):
        task = building(mode, on_in_flight="wait")
        result = carried_out(task, context_of(TaskInstance(), Store()))
    assert [result["build_id"]] == dispatched(sandbox)
    assert result["status"] == "complete"


def test_on_waking(sandbox: Sandbox) -> None:
    """A woken task whose token is refused reads its build with the one that replaced it."""
    build_id = sandbox.push(sandbox.setting("MyGame", **WIN64)["id"])
    sandbox.set_status(build_id, "complete")
    task = building("deferrable")()
    assert task.hook.settings.token == sandbox.token
    connect(sandbox, sandbox.issue_token())
    sandbox.revoke(sandbox.token)
    event = {"build_id": build_id, "status": "complete"}
    facts = task.execute_complete(context_of(TaskInstance(), Store()), event)
    assert (facts["build_id"], facts["status"]) == (build_id, "complete")
