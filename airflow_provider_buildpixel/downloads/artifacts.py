"""What an artifact must be, what came of it, and what to say when it is not there."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.api import fields
from airflow_provider_buildpixel.api.errors import (
    ArtifactUnavailable,
    ChecksumMismatch,
    UnexpectedAnswer,
)
from airflow_provider_buildpixel.api.model import Build
from airflow_provider_buildpixel.api.text import shown, size_text

if TYPE_CHECKING:
    from airflow_provider_buildpixel.api.errors import NotFound
    from airflow_provider_buildpixel.api.model import Artifact, Build


_HEX = re.compile(r"[0-9a-fA-F]{32}")
MD5_BYTES = 16


def checked_artifact_url(url: str, base_url: str) -> str:
    """Give a signed URL back, if it is one that may be asked: as safe as the API itself is.

    :raises UnexpectedAnswer: it is no web address, or one in clear where the API is not.
    """
    scheme = url.strip().partition(":")[0].lower()
    if scheme == "https" or (scheme == "http" and base_url.startswith("http:")):
        return url
    raise UnexpectedAnswer(
        f"the artifact's address is {shown(scheme, 20)!r}, where https was expected; it is not used"
    )


@dataclass(frozen=True)
class ExpectedArtifact:
    """What BuildPixel says of an artifact; None is what it does not say.

    :param md5: in lower-case hex.
    """

    build_id: str
    size: int | None
    md5: str | None

    @classmethod
    def of(cls, build_id: str, artifact: Artifact) -> ExpectedArtifact:
        """Take it from the API's answer; a size below zero is none."""
        size = artifact.size_bytes
        known = size if size is not None and size >= 0 else None
        return cls(build_id, known, md5_hex(artifact.checksum_md5))

    def size_differs(self, found: int) -> ChecksumMismatch | None:
        """Give the error of another size than announced."""
        if self.size in (None, found):
            return None
        return ChecksumMismatch(
            f"the artifact of build {self.build_id} has {found} bytes where BuildPixel announced "
            f"{self.size}; what was written is deleted, a retry fetches it anew"
        )

    def md5_differs(self, found: str | None) -> ChecksumMismatch | None:
        """Give the error of another checksum than announced; None was not computed."""
        if found is None or self.md5 in (None, found):
            return None
        return ChecksumMismatch(
            f"the artifact of build {self.build_id} has the MD5 {found} where BuildPixel announced "
            f"{self.md5}; what was written is deleted, a retry fetches it anew"
        )

    def gaps(self, *, verify: bool) -> str | None:
        """Say what cannot be checked because BuildPixel does not announce it."""
        lacking = [
            name
            for name, value in (("size", self.size), ("MD5", self.md5 if verify else ""))
            if value is None
        ]
        return (
            f"BuildPixel announces no {' and no '.join(lacking)}: not checked" if lacking else None
        )


def md5_hex(text: str | None) -> str | None:
    """Read an MD5 in hex of either case or in base64, which the API leaves open; else None."""
    text = (text or "").strip().strip('"')
    if _HEX.fullmatch(text):
        return text.lower()
    try:
        digest = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return digest.hex() if len(digest) == MD5_BYTES else None


@dataclass(frozen=True)
class PartialDownload:
    """What a part file is a part of, as the small file beside it tells.

    :param etag: as the store gave it, None if it gave none.
    """

    build_id: str
    size: int | None
    md5: str | None
    etag: str | None = None

    @classmethod
    def from_json(cls, data: Any) -> PartialDownload | None:
        """Read what :meth:`to_json` wrote, None if it is anything else."""
        if not isinstance(data, dict) or not isinstance(data.get("build_id"), str):
            return None
        return cls(
            data["build_id"],
            fields.whole(data.get("size")),
            fields.text(data.get("md5")),
            fields.text(data.get("etag")),
        )

    def to_json(self) -> dict[str, Any]:
        """Give it as plain JSON; there is no secret in it."""
        return asdict(self)

    def belongs_to(self, expected: ExpectedArtifact) -> bool:
        """Tell whether going on with the part can give the artifact.

        Where neither an MD5 nor an ETag can tell in the end, it is not gone on with.
        """
        announced = (expected.build_id, expected.size, expected.md5)
        same = (self.build_id, self.size, self.md5) == announced
        return same and (self.md5 is not None or self.etag is not None)


@dataclass(frozen=True)
class Downloaded:
    """Where an artifact is and what was found of it.

    :param path: the file, directory or object.
    :param size_bytes: of the tarball.
    :param checksum_md5: of the tarball in hex, None where it was not computed.
    """

    path: str
    size_bytes: int
    checksum_md5: str | None

    def to_json(self) -> dict[str, Any]:
        """Give it as plain JSON, as an operator returns it."""
        return asdict(self)

    def summary(self) -> str:
        """Say it to people."""
        checked = f", MD5 {self.checksum_md5}" if self.checksum_md5 else ", checksum not computed"
        return f"{self.path}: {size_text(self.size_bytes)}{checked}"


def explain_unavailable(
    build_id: str, error: ArtifactUnavailable, build: Build | None
) -> ArtifactUnavailable:
    """Say which is likelier: that the build never made an artifact, or that it was removed.

    :param build: as read after the refusal, None if it could not be read.
    """
    return ArtifactUnavailable(
        f"build {build_id} has no artifact: {_likely_reason(build)}",
        status_code=error.status_code,
        code=error.code,
        request_id=error.request_id,
    )


def _likely_reason(build: Build | None) -> str:
    if build is None:
        return "there is no such build, or this token may not see it"
    ended = f" at {build.finished_at.isoformat()}" if build.finished_at else ""
    if build.status.succeeded:
        return (
            f"it is {build.status}{ended}, so retention has most likely removed the artifact "
            "since; build again to have it"
        )
    if build.status.terminal:
        return f"it is {build.status}{ended}, so most likely it never made one"
    return f"it is {build.status} and has not ended, so most likely there is none yet; wait for it"


def artifact_unavailable(build_id: str, error: NotFound) -> ArtifactUnavailable:
    """Say that a build has no artifact."""
    return ArtifactUnavailable(
        f"build {build_id} has no artifact: it never made one, or retention removed it",
        status_code=error.status_code,
        code=error.code,
        request_id=error.request_id,
    )
