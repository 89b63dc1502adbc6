"""A deferred task comes back no sooner than Airflow's scheduler can bear."""

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
    building,
    context_of,
    event_of,
    in_dag,
    restored,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.sandbox import Sandbox

HOLD = 0.6
LONG_AGO = 1_000_000.0


def _sensor(sandbox: Sandbox) -> Any:
    build_id = sandbox.push(sandbox.setting("MyGame", **WIN64)["id"])
    return in_dag(BuildPixelBuildSensor, build_id=build_id, deferrable=True)


def _operator(_: Sandbox) -> Any:
    return building("deferrable")()


@pytest.mark.parametrize("make", [_operator, _sensor])
def test_the_hold_is_told(
    sandbox: Sandbox, make: Callable[[Sandbox], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trigger learns it from the interval at which Airflow looks at a worker's end."""
    monkeypatch.setenv("AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL", "7")
    sandbox.world.plans.default = Plan("hangs")
    context: Any = context_of(TaskInstance())
    with pytest.raises(TaskDeferred) as deferral:
        make(sandbox).execute(context)
    trigger: Any = restored(deferral.value.trigger)
    assert trigger.resume_delay == 12.0
    assert 0 < trigger.not_before - time.time() <= 12.0


@pytest.mark.parametrize("ended", [True, False])
def test_a_deferral_that_was_stored_late(sandbox: Sandbox, *, ended: bool) -> None:
    """The hold counts from the trigger's start: the worker's clock had run on meanwhile."""
    build_id = sandbox.push(sandbox.setting("MyGame", **WIN64)["id"])
    if ended:
        sandbox.set_status(build_id, "complete")
    trigger = BuildPixelBuildTrigger(build_id=build_id, not_before=LONG_AGO, resume_delay=HOLD)
    began = time.monotonic()
    event = asyncio.run(event_of(restored(trigger)))
    assert time.monotonic() - began >= HOLD
    assert event == {"build_id": build_id, "status": "complete"}


def test_a_trigger_of_an_older_version(sandbox: Sandbox) -> None:
    """One that was stored without a hold keeps to the instant that it was given."""
    build_id = sandbox.push(sandbox.setting("MyGame", **WIN64)["id"])
    sandbox.set_status(build_id, "complete")
    began = time.time()
    asyncio.run(event_of(BuildPixelBuildTrigger(build_id=build_id, not_before=began + HOLD)))
    assert time.time() >= began + HOLD
