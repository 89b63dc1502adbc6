"""The Dags whose processes are killed; the conf of a run has branch and connection."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_buildpixel.operators.buildpixel import BuildPixelTriggerBuildOperator
from airflow_provider_buildpixel.retries import BuildPixelRetryPolicy

BUILD: dict[str, Any] = {
    "task_id": "build",
    "project": "MyGame",
    "build_setting": {"platform": "Win64", "buildType": "Shipping"},
    "branch": "{{ dag_run.conf['branch'] }}",
    "buildpixel_conn_id": "{{ dag_run.conf['conn'] }}",
    "poll_interval": 5,
    "retry_delay": timedelta(seconds=1),
}
NO_LIMITS: dict[str, Any] = {"max_active_runs": 100, "max_active_tasks": 100}
MANY_RETRIES: dict[str, Any] = {"retries": 10, "retry_policy": BuildPixelRetryPolicy()}

with DAG("killed_deferred", schedule=None, **NO_LIMITS):
    BuildPixelTriggerBuildOperator(**BUILD, **MANY_RETRIES, deferrable=True)

with DAG("killed_blocking", schedule=None, **NO_LIMITS):
    BuildPixelTriggerBuildOperator(**BUILD, **MANY_RETRIES, deferrable=False)

with DAG("retried_once", schedule=None, **NO_LIMITS):
    BuildPixelTriggerBuildOperator(**BUILD, retries=1, deferrable=True)
