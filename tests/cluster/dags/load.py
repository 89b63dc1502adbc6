"""The Dag of the cluster; the conf of a run has the number of builds."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, get_current_context, task

from airflow_provider_buildpixel.operators.buildpixel import BuildPixelTriggerBuildOperator
from airflow_provider_buildpixel.retries import BuildPixelRetryPolicy

# Each kill costs a try: no task may run out of retries.
RETRIES, RETRY_DELAY = 100, timedelta(seconds=5)

with DAG("cluster_load", schedule=None, max_active_runs=100, max_active_tasks=1000):

    @task(retries=RETRIES, retry_delay=RETRY_DELAY)
    def branches() -> list[str]:
        """Return a branch for each build: builds of one branch supersede each other."""
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
