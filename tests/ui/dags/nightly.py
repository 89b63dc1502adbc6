"""A Dag of the browser tests, besides the example: it runs one build."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_buildpixel.operators.buildpixel import BuildPixelTriggerBuildOperator

with DAG("nightly_build", schedule=None, max_active_runs=8):
    BuildPixelTriggerBuildOperator(
        task_id="build",
        project="MyGame",
        build_setting={"platform": "Win64", "buildType": "Development"},
        branch="{{ dag_run.conf['branch'] }}",
        deferrable=True,
        poll_interval=2,
    )
