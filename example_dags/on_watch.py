"""Runs when a build has finished, without inbound connections; needs Airflow 3, better 3.3.

The triggerer polls BuildPixel, once for all watchers of a connection. On Airflow 3.3 it stores in
the asset's state store which builds it has reported.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Asset, AssetWatcher, dag, task

from airflow_provider_buildpixel.triggers.events import BuildPixelBuildEventTrigger

BUILDS = Asset(
    "finished Shipping builds of MyGame",
    watchers=[
        AssetWatcher(
            name="win64_shipping",
            trigger=BuildPixelBuildEventTrigger(
                project="MyGame",
                build_setting={"platform": "Win64", "buildType": "Shipping"},
                statuses=("complete", "failed"),
            ),
        )
    ],
)


@dag(schedule=[BUILDS], is_paused_upon_creation=True, tags=["buildpixel", "example"])
def buildpixel_on_watch() -> None:
    """Report every build that has finished since the last run."""

    @task
    def report(triggering_asset_events: Any = None) -> list[str]:
        """Handle several events, one of them possibly twice after a crash of the triggerer."""
        finished = [event.extra["payload"] for event in triggering_asset_events[BUILDS]]
        builds = {build["build_id"]: build for build in finished}
        return [f"{build_id} is {build['status']}" for build_id, build in builds.items()]

    report()


buildpixel_on_watch()
