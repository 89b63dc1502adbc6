"""Runs when BuildPixel reports a finished build by webhook; needs Airflow 3.

The connection needs the webhook's secret in its extra ``webhook_secret``, and
``buildpixel_each_build`` in its extra ``run_per_build``. docs/webhooks.md describes the setup in
Airflow and in BuildPixel.
"""

from __future__ import annotations

import os
from typing import Any

from airflow.sdk import dag, task

from airflow_provider_buildpixel.assets import build_asset

# The ids, not the names, of a project and one of its build settings.
PROJECT_ID = os.environ.get("BUILDPIXEL_PROJECT_ID", "project-id")
BUILD_SETTING_ID = os.environ.get("BUILDPIXEL_BUILD_SETTING_ID", "build-setting-id")

BUILDS = build_asset(PROJECT_ID, BUILD_SETTING_ID)


@dag(schedule=[BUILDS], is_paused_upon_creation=True, tags=["buildpixel", "example"])
def buildpixel_on_webhook() -> None:
    """Use the newest build that has completed since the last run."""

    @task
    def newest_complete(triggering_asset_events: Any = None) -> str | None:
        """Return the newest complete build; one run can have the events of several builds."""
        finished = [event.extra for event in triggering_asset_events[BUILDS]]
        complete = [build["build_id"] for build in finished if build["status"] == "complete"]
        return max(complete, default=None)  # ids sort by creation

    newest_complete()


@dag(schedule=None, is_paused_upon_creation=True, tags=["buildpixel", "example"])
def buildpixel_each_build() -> None:
    """Handle each build in a run of its own, with the run id ``buildpixel__<build id>``."""

    @task
    def note(dag_run: Any = None) -> str:
        """Return the build's facts from the run's conf as text."""
        build = dag_run.conf
        return f"{build['build_id']} of {build['branch']} is {build['status']}"

    note()


buildpixel_on_webhook()
buildpixel_each_build()
