"""Waits for the build of a push and continues if it succeeded; the Dag starts no build itself."""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.providers.common.compat.sdk import dag, task

from airflow_provider_buildpixel.sensors.buildpixel import BuildPixelBuildSensor


@dag(
    dag_id="buildpixel_gate_on_push",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    params={"commit": ""},
    tags=["buildpixel", "example"],
)
def gate_on_push() -> None:
    """Wait for the newest build of main, or of the commit in the run's parameters."""
    green = BuildPixelBuildSensor(
        task_id="green",
        project="MyGame",
        build_setting={"platform": "Win64", "buildType": "Development"},
        branch="main",
        commit="{{ params.commit }}",
        deferrable=True,
        timeout=timedelta(hours=6).total_seconds(),
    )

    @task
    def smoke_test(build: dict[str, str]) -> str:
        """Test the packaged game; replace this with your tests."""
        return f"tested {build['build_id']} of commit {build['commit']}"

    smoke_test(green.output)


gate_on_push()
