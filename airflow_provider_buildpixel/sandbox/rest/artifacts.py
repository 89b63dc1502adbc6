"""Where the artifact of a build can be downloaded."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from airflow_provider_buildpixel.sandbox.answers import Answer, Refusal
from airflow_provider_buildpixel.sandbox.clock import iso
from airflow_provider_buildpixel.sandbox.signing import GOOD_FOR
from airflow_provider_buildpixel.sandbox.tarball import Tarball
from airflow_provider_buildpixel.sandbox.views import dressed

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox.answers import Ask
    from airflow_provider_buildpixel.sandbox.model import Build
    from airflow_provider_buildpixel.sandbox.world import World


def get_download(world: World, ask: Ask) -> Answer:
    """Sign an address for the artifact of a build."""
    with world.lock:
        build = world.build_for(ask.token, ask.params["id"])
        tarball = tarball_of(build, ask.at)
        expires_at = float(int(ask.at + GOOD_FOR))
        url = world.signer.url(build.project.organization.slug, build.id, expires_at)
    # The checksum takes its time the first time; the world goes on meanwhile.
    fields = {
        "url": url,
        "expiresAt": iso(expires_at),
        "sizeBytes": tarball.size,
        "checksumMd5": _spelt(world.variants.checksum, tarball.md5),
    }
    return Answer(200, dressed(world.variants, fields))


def tarball_of(build: Build, at: float) -> Tarball:
    """Return the artifact of a build, if it made one and it is still there."""
    if build.status_at(at) != "complete" or build.artifact_bytes is None:
        raise Refusal(404, "not_found", "This build has no artifact.")
    if build.artifact_removed:
        raise Refusal(404, "not_found", "The artifact was removed by retention.")
    return Tarball(build.id, build.artifact_bytes)


def _spelt(spelling: str, checksum: bytes) -> str:
    match spelling:
        case "HEX":
            return checksum.hex().upper()
        case "base64":
            return base64.b64encode(checksum).decode()
        case _:
            return checksum.hex()
