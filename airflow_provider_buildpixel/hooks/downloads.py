"""Where a download of the hook goes, and what it says when there is nothing to download."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import ObjectStoragePath, mask_secret

from airflow_provider_buildpixel.core import artifacts
from airflow_provider_buildpixel.exceptions import ArtifactUnavailable, InvalidRequest, NotFound
from airflow_provider_buildpixel.hooks import lineage

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.client.brake import Brake
    from airflow_provider_buildpixel.client.destinations import Destination
    from airflow_provider_buildpixel.client.options import Options
    from airflow_provider_buildpixel.core.artifacts import Downloaded
    from airflow_provider_buildpixel.core.model import Artifact, Build
    from airflow_provider_buildpixel.hooks.buildpixel import BuildPixelHook

LOCAL = ("file", "local")


def download(
    hook: BuildPixelHook,
    build_id: str,
    destination: Destination,
    options: Options,
    brake: Brake | None,
) -> Downloaded:
    """Fetch the artifact of a build.

    :raises ArtifactUnavailable: there is none; the message says which reason is likelier.
    """
    from airflow_provider_buildpixel.client.brake import Brake
    from airflow_provider_buildpixel.client.download import Download  # loads requests

    def tell(line: str) -> None:
        hook.log.info("%s", line)

    job = Download(
        build_id,
        lambda: masked(hook.get_artifact(build_id)),
        destination,
        hook.settings,
        options,
        tell,
        brake or Brake(),
    )
    try:
        found = job.run()
    except ArtifactUnavailable as error:
        raise artifacts.unavailable(build_id, error, _build(hook.get_build, build_id)) from None
    lineage.downloaded(hook, build_id, found.path)
    return found


def _build(read: Callable[[str], Build], build_id: str) -> Build | None:
    try:
        return read(build_id)
    except NotFound:
        return None


SIGNED_PATH = 24
"""Characters of a path from which on it may hold a signature, and is hidden as a whole."""


def masked(artifact: Artifact) -> Artifact:
    """Make Airflow hide the signature wherever a library might log it."""
    parts = urlsplit(artifact.url)
    for secret in (parts.query, parts.path if len(parts.path) >= SIGNED_PATH else ""):
        if secret:
            mask_secret(secret)
    return artifact


def destination_of(where: Any, *, extract: bool, max_expansion: float, verify: bool) -> Destination:
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
    from airflow_provider_buildpixel.client.destinations import LocalFile
    from airflow_provider_buildpixel.client.extraction import Directory

    path = _path_in(text) if "://" in text else Path(text).expanduser().absolute()
    if extract:
        return Directory(path, expansion=max_expansion, patient=verify)
    return LocalFile(path)


def _path_in(url: str) -> Path:
    """Read a ``file://`` URL, whose connection, if it names one, means nothing."""
    place, slash, rest = url.partition("://")[2].partition("/")
    if not slash or place.rpartition("@")[2]:
        raise InvalidRequest(f"{url}: a file URL names an absolute path: file:///…")
    return Path("/", rest.lstrip("/"))


def _object(path: Any, text: str) -> Destination:
    from airflow_provider_buildpixel.client.upload import Upload

    return Upload(path.fs, path.path, text)
