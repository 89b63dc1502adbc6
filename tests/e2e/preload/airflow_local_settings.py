"""Imported by Airflow at its start: loads in the scheduler what each of its tasks would load.

LocalExecutor forks its workers, and these fork their tasks: two cores start twice as many tasks.
"""

from __future__ import annotations

import sys

if "scheduler" in sys.argv:
    from airflow.sdk import Asset
    from airflow.sdk.execution_time import supervisor, task_runner

    from airflow_provider_buildpixel.builds import search
    from airflow_provider_buildpixel.channel import blocking_channel
    from airflow_provider_buildpixel.hooks import buildpixel as hooks
    from airflow_provider_buildpixel.operators import buildpixel as operators
    from airflow_provider_buildpixel.sensors import buildpixel as sensors

    # The first URI of an asset is slow: Airflow loads all providers to check it.
    LOADED = supervisor, task_runner, blocking_channel, search, hooks, operators, sensors
    ASSET = Asset("buildpixel://MyGame/Win64-Shipping")
