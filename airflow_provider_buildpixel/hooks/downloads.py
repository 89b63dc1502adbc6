"""Downloads for the hook: reads the destination, and explains a missing artifact."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import ObjectStoragePath, mask_secret

from airflow_provider_buildpixel.downloads import artifacts
from airflow_provider_buildpixel.exceptions import ArtifactUnavailable, InvalidRequest, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.api.model import Artifact, Build
    from airflow_provider_buildpixel.downloads.artifacts import Downloaded
    from airflow_provider_buildpixel.downloads.job import Destination, DownloadJob


LOCAL_SCHEMES = ("file", "local")


def download(job: DownloadJob, get_build: Callable[[str], Build]) -> Downloaded:
    """Download the artifact of a build.

    :param get_build: reads the build, to explain a missing artifact.
    :raises ArtifactUnavailable: there is none; the message names the likeliest reason.
    """
    from airflow_provider_buildpixel.downloads.download import run_download  # loads requests

    try:
        return run_download(job)
    except ArtifactUnavailable as error:
        reason = artifacts.likely_reason(_find_build(get_build, job.build_id))
        raise artifacts.artifact_unavailable(job.build_id, error, reason) from None


def _find_build(get_build: Callable[[str], Build], build_id: str) -> Build | None:
    try:
        return get_build(build_id)
    except NotFound:
        return None


MIN_SIGNED_PATH = 24
"""Characters from which on a path may contain a signature, and is masked as a whole."""


def mask_signed_url(artifact: Artifact) -> Artifact:
    """Make Airflow mask the signature in all logs; return the artifact."""
    parts = urlsplit(artifact.url)
    for secret in (parts.query, parts.path if len(parts.path) >= MIN_SIGNED_PATH else ""):
        if secret:
            mask_secret(secret)
    return artifact


def parse_destination(
    destination: Any, *, extract: bool, max_expansion: float, verify: bool
) -> Destination:
    """Return the destination for a local path, or for a URL of Airflow's object storage.

    :param destination: text, or a path object of either kind. One that ends with a slash is a
        directory to unpack into.
    """
    text = str(destination) if hasattr(destination, "fs") else os.fspath(destination)
    if not text:
        raise InvalidRequest("destination is empty")
    extract = extract or text.endswith("/")
    scheme = urlsplit(text).scheme if "://" in text else "file"
    if scheme in LOCAL_SCHEMES:
        return _local_destination(text, extract=extract, max_expansion=max_expansion, verify=verify)
    if extract:
        raise InvalidRequest(
            f"{text}: unpacking requires a local directory: an object store has no links"
        )
    path = destination if hasattr(destination, "fs") else ObjectStoragePath(text)
    return _object_destination(path, text)


def _local_destination(
    text: str, *, extract: bool, max_expansion: float, verify: bool
) -> Destination:
    from airflow_provider_buildpixel.downloads.destinations.archive import ExtractedDirectory
    from airflow_provider_buildpixel.downloads.destinations.local import LocalFile

    path = _file_url_path(text) if "://" in text else Path(text).expanduser().absolute()
    if extract:
        return ExtractedDirectory(path, max_expansion=max_expansion, checksum_decides=verify)
    return LocalFile(path)


def _file_url_path(url: str) -> Path:
    """Return the path of a ``file://`` URL; an Airflow connection in it is ignored."""
    host, slash, rest = url.partition("://")[2].partition("/")
    if not slash or host.rpartition("@")[2]:
        raise InvalidRequest(f"{url}: a file URL needs an absolute path, as in file:///…")
    return Path("/", rest.lstrip("/"))


def _object_destination(path: Any, text: str) -> Destination:
    from airflow_provider_buildpixel.downloads.destinations.object_store import ObjectUpload

    return ObjectUpload(path.fs, path.path, text)
