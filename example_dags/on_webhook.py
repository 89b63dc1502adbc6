"""Runs when BuildPixel reports a finished build by webhook; needs Airflow 3.

The connection has the webhook's secret in its extra ``webhook_secret``, and
``run_per_build`` set to ``buildpixel_each_build``; docs/webhooks.md shows both sides of the set-up.
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
    """React to the newest of the builds that have finished since the last run."""

    @task
    def newest_complete(triggering_asset_events: Any = None) -> str | None:
        """Events that come close together make one run: they are a list, never a single one."""
        finished = [event.extra for event in triggering_asset_events[BUILDS]]
        complete = [build["build_id"] for build in finished if build["status"] == "complete"]
        return max(complete, default=None)  # ids sort by creation

    newest_complete()


@dag(schedule=None, is_paused_upon_creation=True, tags=["buildpixel", "example"])
def buildpixel_each_build() -> None:
    """Note each build in a run of its own, whose id is ``buildpixel__<build id>``."""

    @task
    def note(dag_run: Any = None) -> str:
        """Read the build's facts from the run's conf."""
        build = dag_run.conf
        return f"{build['build_id']} of {build['branch']} is {build['status']}"

    note()


buildpixel_on_webhook()
buildpixel_each_build()
