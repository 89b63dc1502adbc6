"""Airflow imports this where it starts. The scheduler then has what each of its tasks would load.

LocalExecutor forks its workers, and these their tasks: two cores start twice as many this way.
"""

from __future__ import annotations

import sys

if "scheduler" in sys.argv:
    from airflow.sdk import Asset
    from airflow.sdk.execution_time import supervisor, task_runner

    from airflow_provider_buildpixel.builds import dispatch_loop
    from airflow_provider_buildpixel.channel import blocking_channel
    from airflow_provider_buildpixel.hooks import buildpixel as hooks
    from airflow_provider_buildpixel.operators import buildpixel as operators
    from airflow_provider_buildpixel.sensors import buildpixel as sensors

    # Airflow asks all providers about an asset's URI, which takes a while the first time.
    LOADED = supervisor, task_runner, blocking_channel, dispatch_loop, hooks, operators, sensors
    ASSET = Asset("buildpixel://MyGame/Win64-Shipping")
