"""The Dags of the end-to-end tests; the conf of a run selects what is built."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_buildpixel.operators.buildpixel import BuildPixelTriggerBuildOperator
from airflow_provider_buildpixel.sensors.buildpixel import BuildPixelBuildSensor

BUILD: dict[str, Any] = {
    "task_id": "build",
    "project": "MyGame",
    "build_setting": {"platform": "Win64", "buildType": "Shipping"},
    "poll_interval": 5,
}

with DAG("one_deferred_build", schedule=None):
    BuildPixelTriggerBuildOperator(**BUILD, deferrable=True)

with DAG("one_blocking_build_with_retries", schedule=None):
    BuildPixelTriggerBuildOperator(
        **BUILD, deferrable=False, retries=3, retry_delay=timedelta(seconds=1)
    )

with DAG("many_short_builds", schedule=None, max_active_tasks=64):

    @task
    def branches() -> list[str]:
        """Return a branch for each build: builds of one branch supersede each other."""
        return [f"topic-{number}" for number in range(40)]

    BuildPixelTriggerBuildOperator.partial(**BUILD, deferrable=True).expand(branch=branches())

with DAG("waits_for_a_live_build", schedule=None):
    BuildPixelTriggerBuildOperator.partial(**BUILD, on_in_flight="wait", deferrable=True).expand(
        branch=["main", "refs/heads/main"]
    )

SENSE: dict[str, Any] = {"deferrable": True, "start_from_trigger": True, "poke_interval": 2}

with DAG("started_in_the_triggerer", schedule=None):
    BuildPixelBuildSensor(task_id="in_time", build_id="{{ dag_run.conf['build_id'] }}", **SENSE)
    BuildPixelBuildSensor(task_id="too_late", build_id="0" * 24, timeout=1, retries=2, **SENSE)
