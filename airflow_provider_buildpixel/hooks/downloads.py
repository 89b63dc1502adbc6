"""Where a download of the hook goes, and what it says when there is nothing to download."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import ObjectStoragePath, mask_secret

from airflow_provider_buildpixel.downloads import artifacts
from airflow_provider_buildpixel.exceptions import ArtifactUnavailable, InvalidRequest, NotFound
from airflow_provider_buildpixel.hooks import lineage

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.api.model import Artifact, Build
    from airflow_provider_buildpixel.downloads.artifacts import Downloaded
    from airflow_provider_buildpixel.downloads.cancel import CancelToken
    from airflow_provider_buildpixel.downloads.job import Destination, DownloadOptions
    from airflow_provider_buildpixel.hooks.lineage import ArtifactSource


LOCAL = ("file", "local")


def download(
    hook: ArtifactSource,
    build_id: str,
    destination: Destination,
    options: DownloadOptions,
    cancel_token: CancelToken | None,
) -> Downloaded:
    """Fetch the artifact of a build.

    :raises ArtifactUnavailable: there is none; the message says which reason is likelier.
    """
    from airflow_provider_buildpixel.downloads.cancel import CancelToken
    from airflow_provider_buildpixel.downloads.download import run_download  # loads requests
    from airflow_provider_buildpixel.downloads.job import DownloadJob

    def report(line: str) -> None:
        hook.log.info("%s", line)

    job = DownloadJob(
        build_id,
        lambda: mask_signed_url(hook.get_artifact(build_id)),
        destination,
        hook.settings,
        options,
        report,
        cancel_token or CancelToken(),
    )
    try:
        found = run_download(job)
    except ArtifactUnavailable as error:
        build = _build(hook.get_build, build_id)
        raise artifacts.explain_unavailable(build_id, error, build) from None
    lineage.report_download(hook, build_id, found.path)
    return found


def _build(read: Callable[[str], Build], build_id: str) -> Build | None:
    try:
        return read(build_id)
    except NotFound:
        return None


MIN_SIGNED_PATH = 24
"""Characters of a path from which on it may hold a signature, and is hidden as a whole."""


def mask_signed_url(artifact: Artifact) -> Artifact:
    """Make Airflow hide the signature wherever a library might log it."""
    parts = urlsplit(artifact.url)
    for secret in (parts.query, parts.path if len(parts.path) >= MIN_SIGNED_PATH else ""):
        if secret:
            mask_secret(secret)
    return artifact


def parse_destination(
    where: Any, *, extract: bool, max_expansion: float, verify: bool
) -> Destination:
    """Read a destination: a local path, or a URL of Airflow's object storage.

    :param where: text, or a path object of either kind. A directory (a closing slash) is unpacked
        into.
    """
    text = str(where) if hasattr(where, "fs") else os.fspath(where)
    if not text:
        raise InvalidRequest("destination is empty")
    extract = extract or text.endswith("/")
    scheme = urlsplit(text).scheme if "://" in text else "file"
    if scheme in LOCAL:
        return _local(text, extract=extract, max_expansion=max_expansion, verify=verify)
    if extract:
        raise InvalidRequest(f"{text}: unpacking needs a local directory; objects have no links")
    return _object(where if hasattr(where, "fs") else ObjectStoragePath(text), text)


def _local(text: str, *, extract: bool, max_expansion: float, verify: bool) -> Destination:
    from airflow_provider_buildpixel.downloads.destinations.archive import ExtractedDirectory
    from airflow_provider_buildpixel.downloads.destinations.local import LocalFile

    path = _path_in(text) if "://" in text else Path(text).expanduser().absolute()
    if extract:
        return ExtractedDirectory(path, expansion=max_expansion, checksum_decides=verify)
    return LocalFile(path)


def _path_in(url: str) -> Path:
    """Read a ``file://`` URL, whose connection, if it names one, means nothing."""
    place, slash, rest = url.partition("://")[2].partition("/")
    if not slash or place.rpartition("@")[2]:
        raise InvalidRequest(f"{url}: a file URL names an absolute path: file:///…")
    return Path("/", rest.lstrip("/"))


def _object(path: Any, text: str) -> Destination:
    from airflow_provider_buildpixel.downloads.destinations.object_store import ObjectUpload

    return ObjectUpload(path.fs, path.path, text)
