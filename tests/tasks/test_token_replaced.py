"""A token that is replaced while the task waits for a live build, or when it is resumed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_buildpixel.sandbox import Plan
from tests.tasks.behaviours import set_connection_token
from tests.tasks.stage import (
    MODES,
    WIN64,
    Store,
    TaskInstance,
    concurrently,
    context_of,
    count_reads,
    dispatched_builds,
    operator_factory,
    run_task,
    wait_until,
)

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox import Sandbox


@pytest.mark.parametrize("mode", MODES)
def test_before_the_dispatch(sandbox: Sandbox, mode: str) -> None:
    """The build is started with the new token."""
    sandbox.world.plans.default = Plan("hangs")
    other = sandbox.push(sandbox.setting("MyGame", **WIN64)["id"])
    sandbox.world.plans.default = Plan(queue=0.1, run=0.2, lines=4)

    def replace_token() -> None:
        wait_until(lambda: count_reads(sandbox, other) >= 2)
        token = sandbox.issue_token()
        set_connection_token(sandbox, token)
        sandbox.revoke(sandbox.token)
        bearer = f"Bearer {token}"
        wait_until(lambda: any(r.headers.get("Authorization") == bearer for r in sandbox.requests))
        sandbox.set_status(other, "complete")

    with concurrently(replace_token):
        task = operator_factory(mode, on_in_flight="wait")
        result = run_task(task, context_of(TaskInstance(), Store()))
    assert [result["build_id"]] == dispatched_builds(sandbox)
    assert result["status"] == "complete"


def test_on_resume(sandbox: Sandbox) -> None:
    """A resumed task whose token is refused reads its build with the new token."""
    build_id = sandbox.push(sandbox.setting("MyGame", **WIN64)["id"])
    sandbox.set_status(build_id, "complete")
    task = operator_factory("deferrable")()
    assert task.hook.settings.token == sandbox.token
    set_connection_token(sandbox, sandbox.issue_token())
    sandbox.revoke(sandbox.token)
    event = {"build_id": build_id, "status": "complete"}
    facts = task.execute_complete(context_of(TaskInstance(), Store()), event)
    assert (facts["build_id"], facts["status"]) == (build_id, "complete")
