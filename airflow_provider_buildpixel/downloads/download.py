"""Downloads an artifact unless it already exists; starts over if the artifact changes meanwhile."""

from __future__ import annotations

import hashlib
from contextlib import closing
from typing import TYPE_CHECKING

from airflow_provider_buildpixel.api.errors import InvalidRequest, UnexpectedAnswer
from airflow_provider_buildpixel.downloads.artifacts import Downloaded, ExpectedArtifact
from airflow_provider_buildpixel.downloads.store import redact_url_logs
from airflow_provider_buildpixel.downloads.transfer import ArtifactChangedError, Transfer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_buildpixel.downloads.job import DownloadJob

MAX_ATTEMPTS = 3
"""Attempts at one download; only a changed artifact starts another one."""


def run_download(job: DownloadJob) -> Downloaded:
    """Download the artifact of a job, unless it already exists at the destination.

    :raises BuildPixelError: the artifact could not be downloaded.
    """
    artifact = job.get_artifact()
    expected = ExpectedArtifact.from_artifact(job.build_id, artifact)
    if message := expected.unchecked_message(verify=job.verify):
        job.report(message)
    size = job.destination.existing_size()
    if size is not None and not job.overwrite:
        return _use_existing(job, size, expected)
    for _ in range(MAX_ATTEMPTS):
        try:
            with redact_url_logs(), closing(job.destination):
                return Transfer(job, expected, artifact.url).run()
        except ArtifactChangedError as error:
            job.report(f"The artifact has changed ({error}): starting over")
        artifact = job.get_artifact()
        expected = ExpectedArtifact.from_artifact(job.build_id, artifact)
    raise UnexpectedAnswer(
        f"the artifact of build {job.build_id} changed during each of {MAX_ATTEMPTS} downloads; "
        "try again later"
    )


def _use_existing(job: DownloadJob, size: int, expected: ExpectedArtifact) -> Downloaded:
    """Return what is at the destination if it is the artifact.

    :raises InvalidRequest: it is something else.
    """
    # The same size alone may be another build's artifact.
    comparable = job.verify and expected.md5 is not None and size == expected.size
    md5 = _existing_md5(job) if comparable else None
    name = job.destination.name
    if md5 is not None and md5 == expected.md5:
        job.report(f"{name} already exists and is the artifact: nothing to download")
        return Downloaded(name, size, md5)
    raise InvalidRequest(
        f"{name} exists and is not known to be the artifact of build {job.build_id}: set "
        "overwrite=True to replace it, or choose another destination"
    )


def _existing_md5(job: DownloadJob) -> str:
    job.report(f"{job.destination.name} already exists with the right size: checking its MD5")
    return md5_of(_cancellable(job, job.destination.read_existing()))


def _cancellable(job: DownloadJob, views: Iterator[memoryview]) -> Iterator[memoryview]:
    for view in views:
        job.cancel_token.raise_if_cancelled()
        yield view


def md5_of(views: Iterator[memoryview]) -> str:
    """Return the MD5 of all bytes in hex."""
    digest = hashlib.md5(usedforsecurity=False)
    for view in views:
        digest.update(view)
    return digest.hexdigest()
