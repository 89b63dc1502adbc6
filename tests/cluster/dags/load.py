"""The load of the cluster: as many builds as the conf of a run says."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, get_current_context, task

from airflow_provider_buildpixel.operators.buildpixel import BuildPixelTriggerBuildOperator
from airflow_provider_buildpixel.retries import BuildPixelRetryPolicy

# Whatever is killed costs a try: many, so that no task ends by running out of them.
RETRIES, RETRY_DELAY = 100, timedelta(seconds=5)

with DAG("cluster_load", schedule=None, max_active_runs=100, max_active_tasks=1000):

    @task(retries=RETRIES, retry_delay=RETRY_DELAY)
    def branches() -> list[str]:
        """Give each build a branch of its own, else they would supersede each other."""
        dag_run: Any = get_current_context()["dag_run"]
        return [f"{dag_run.run_id}-{number}" for number in range(dag_run.conf["builds"])]

    BuildPixelTriggerBuildOperator.partial(
        task_id="build",
        project="MyGame",
        build_setting={"platform": "Win64", "buildType": "Shipping"},
        deferrable=True,
        poll_interval=10,
        retry_policy=BuildPixelRetryPolicy(),
        retries=RETRIES,
        retry_delay=RETRY_DELAY,
    ).expand(branch=branches())
