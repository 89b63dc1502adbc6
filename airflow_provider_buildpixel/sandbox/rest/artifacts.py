"""The download URL of a build's artifact."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from airflow_provider_buildpixel.sandbox.artifacts.signing import URL_LIFETIME
from airflow_provider_buildpixel.sandbox.artifacts.tarball import Tarball
from airflow_provider_buildpixel.sandbox.rest.messages import ApiResponse
from airflow_provider_buildpixel.sandbox.world.clock import iso
from airflow_provider_buildpixel.sandbox.world.errors import ApiError
from airflow_provider_buildpixel.sandbox.world.payloads import with_extra_fields

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox.rest.messages import ApiRequest
    from airflow_provider_buildpixel.sandbox.world.model import StoredBuild
    from airflow_provider_buildpixel.sandbox.world.world import World


def get_download(world: World, request: ApiRequest) -> ApiResponse:
    """Return a signed URL for the artifact of a build."""
    with world.lock:
        build = world.build_for(request.token, request.params["id"])
        tarball = tarball_of(build, request.at)
        expires_at = float(int(request.at + URL_LIFETIME))
        url = world.signer.url(build.project.organization.slug, build.id, expires_at)
    # The first checksum of a size takes long, so it is computed without the lock.
    fields = {
        "url": url,
        "expiresAt": iso(expires_at),
        "sizeBytes": tarball.size,
        "checksumMd5": _encoded(world.variants.checksum, tarball.md5),
    }
    return ApiResponse(200, with_extra_fields(world.variants, fields))


def tarball_of(build: StoredBuild, at: float) -> Tarball:
    """Return the artifact of a build.

    :raises ApiError: if the build has no artifact, or retention removed it.
    """
    if build.status_at(at) != "complete" or build.artifact_bytes is None:
        raise ApiError(404, "not_found", "This build has no artifact.")
    if build.artifact_removed:
        raise ApiError(404, "not_found", "The artifact was removed by retention.")
    return Tarball(build.id, build.artifact_bytes)


def _encoded(encoding: str, checksum: bytes) -> str:
    match encoding:
        case "HEX":
            return checksum.hex().upper()
        case "base64":
            return base64.b64encode(checksum).decode()
        case _:
            return checksum.hex()
