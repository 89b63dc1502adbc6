"""Builds each platform; if all builds succeed, downloads the artifacts and deploys them.

The tasks use no worker while BuildPixel builds. After a retry, a lost worker or a restarted
triggerer, a task continues with the same build: a new one would cancel it.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.providers.common.compat.sdk import dag, task

from airflow_provider_buildpixel.operators.buildpixel import BuildPixelTriggerBuildOperator
from airflow_provider_buildpixel.operators.download import BuildPixelDownloadArtifactOperator

PLATFORMS = ["Win64", "Linux"]


@dag(
    dag_id="buildpixel_release_pipeline",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    # Where the artifacts go: a local folder of each worker, or s3://aws_default@releases/nightly
    params={"commit": "", "releases": "/tmp/buildpixel-releases"},  # noqa: S108  # only an example
    tags=["buildpixel", "example"],
)
def release_pipeline() -> None:
    """Build Win64 and Linux Shipping of one commit, then release the artifacts."""
    builds = BuildPixelTriggerBuildOperator.partial(
        task_id="build",
        project="MyGame",
        commit="{{ params.commit }}",
        deferrable=True,
        poll_interval=10,
        queue_timeout=timedelta(hours=1).total_seconds(),
        timeout=timedelta(hours=4).total_seconds(),
        retries=2,
        retry_delay=timedelta(minutes=1),
        map_index_template="{{ task.build_setting['platform'] }}",
    ).expand(
        build_setting=[{"platform": platform, "buildType": "Shipping"} for platform in PLATFORMS]
    )

    @task
    def gate(finished: list[dict[str, str]], folder: str) -> list[dict[str, str]]:
        """Run only if every build is complete; return what to download, and to where."""
        return [
            {
                "build_id": build["build_id"],
                "destination": f"{folder}/MyGame-{build['platform']}.tar.gz",
            }
            for build in finished
        ]

    fetched = BuildPixelDownloadArtifactOperator.partial(
        task_id="fetch",
        overwrite=True,  # an existing file is replaced as a whole, or not at all
        retries=3,  # a retry resumes the download
        map_index_template="{{ task.destination.split('/')[-1] }}",
    ).expand_kwargs(gate(builds.output, "{{ params.releases }}"))

    @task
    def release(artifacts: list[dict[str, str]]) -> str:
        """Deploy the artifacts; replace this with your deployment."""
        return f"released {', '.join(artifact['path'] for artifact in artifacts)}"

    release(fetched.output)


release_pipeline()
