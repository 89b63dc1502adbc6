"""A deferred task is not resumed earlier than Airflow's scheduler can handle."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_buildpixel.sandbox import Plan
from airflow_provider_buildpixel.sensors.buildpixel import BuildPixelBuildSensor
from airflow_provider_buildpixel.triggers.buildpixel import BuildPixelBuildTrigger
from tests.tasks.stage import (
    WIN64,
    TaskInstance,
    context_of,
    operator_factory,
    restored,
    task_in_dag,
    trigger_event,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.sandbox import Sandbox

DELAY = 0.6
LONG_AGO = 1_000_000.0


def _sensor(sandbox: Sandbox) -> Any:
    build_id = sandbox.push(sandbox.setting("MyGame", **WIN64)["id"])
    return task_in_dag(BuildPixelBuildSensor, build_id=build_id, deferrable=True)


def _operator(_: Sandbox) -> Any:
    return operator_factory("deferrable")()


@pytest.mark.parametrize("make", [_operator, _sensor])
def test_resume_delay_of_the_trigger(
    sandbox: Sandbox, make: Callable[[Sandbox], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The delay depends on the interval at which Airflow checks for a worker's exit."""
    monkeypatch.setenv("AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL", "7")
    sandbox.world.plans.default = Plan("hangs")
    context: Any = context_of(TaskInstance())
    with pytest.raises(TaskDeferred) as deferral:
        make(sandbox).execute(context)
    trigger: Any = restored(deferral.value.trigger)
    assert trigger.resume_delay == 12.0
    assert 0 < trigger.not_before - time.time() <= 12.0


@pytest.mark.parametrize("ended", [True, False])
def test_deferral_that_was_stored_late(sandbox: Sandbox, *, ended: bool) -> None:
    """The delay counts from the trigger's start, if not_before has passed by then."""
    build_id = sandbox.push(sandbox.setting("MyGame", **WIN64)["id"])
    if ended:
        sandbox.set_status(build_id, "complete")
    trigger = BuildPixelBuildTrigger(build_id=build_id, not_before=LONG_AGO, resume_delay=DELAY)
    began = time.monotonic()
    event = asyncio.run(trigger_event(restored(trigger)))
    assert time.monotonic() - began >= DELAY
    assert event == {"build_id": build_id, "status": "complete"}


def test_trigger_of_an_older_version(sandbox: Sandbox) -> None:
    """A trigger that was stored without a resume delay waits until not_before."""
    build_id = sandbox.push(sandbox.setting("MyGame", **WIN64)["id"])
    sandbox.set_status(build_id, "complete")
    began = time.time()
    asyncio.run(trigger_event(BuildPixelBuildTrigger(build_id=build_id, not_before=began + DELAY)))
    assert time.time() >= began + DELAY
