"""The expected and the downloaded artifact as values, and the error for a missing one."""

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
from airflow_provider_buildpixel.api.text import safe_text, size_text

if TYPE_CHECKING:
    from airflow_provider_buildpixel.api.errors import BuildPixelError
    from airflow_provider_buildpixel.api.model import Artifact, Build


_HEX = re.compile(r"[0-9a-fA-F]{32}")
MD5_BYTES = 16


def checked_artifact_url(url: str, base_url: str) -> str:
    """Return the signed URL unchanged if it is as secure as the API's own URL.

    :raises UnexpectedAnswer: it is not a web URL, or it is http where the API is https.
    """
    scheme = url.strip().partition(":")[0].lower()
    if scheme == "https" or (scheme == "http" and base_url.startswith("http:")):
        return url
    raise UnexpectedAnswer(
        f"the artifact's URL has the scheme {safe_text(scheme, 20)!r} where https was expected; "
        "it was not requested"
    )


@dataclass(frozen=True)
class ExpectedArtifact:
    """The size and checksum that BuildPixel announces; None where it announces none.

    :param md5: in lower-case hex.
    """

    build_id: str
    size: int | None
    md5: str | None

    @classmethod
    def from_artifact(cls, build_id: str, artifact: Artifact) -> ExpectedArtifact:
        """Read the API's answer; a negative size counts as not announced."""
        size = artifact.size_bytes
        known_size = size if size is not None and size >= 0 else None
        return cls(build_id, known_size, md5_hex(artifact.checksum_md5))

    def size_error(self, size: int) -> ChecksumMismatch | None:
        """Return an error if the size is not the announced one."""
        if self.size in (None, size):
            return None
        return ChecksumMismatch(
            f"the artifact of build {self.build_id} has {size} bytes where BuildPixel announced "
            f"{self.size}; the downloaded data was deleted, a retry downloads it again"
        )

    def md5_error(self, md5: str | None) -> ChecksumMismatch | None:
        """Return an error if the checksum is not the announced one; None was not computed."""
        if md5 is None or self.md5 in (None, md5):
            return None
        return ChecksumMismatch(
            f"the artifact of build {self.build_id} has the MD5 {md5} where BuildPixel announced "
            f"{self.md5}; the downloaded data was deleted, a retry downloads it again"
        )

    def unchecked_message(self, *, verify: bool) -> str | None:
        """Return a message that names what cannot be checked, None if everything can."""
        missing = [
            name
            for name, value in (("size", self.size), ("MD5", self.md5 if verify else ""))
            if value is None
        ]
        if not missing:
            return None
        return f"BuildPixel announces no {' and no '.join(missing)}: not checked"


def md5_hex(text: str | None) -> str | None:
    """Return an MD5 in lower-case hex, None if the text is not an MD5.

    The API does not document the encoding: hex in either case and base64 are accepted.
    """
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
    """The artifact that a part file belongs to, as stored in the JSON file beside it.

    :param etag: as the store sent it, None if it sent none.
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
            fields.integer(data.get("size")),
            fields.text(data.get("md5")),
            fields.text(data.get("etag")),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the values as plain JSON, without secrets."""
        return asdict(self)

    def matches(self, expected: ExpectedArtifact) -> bool:
        """Whether the part file can be continued to the expected artifact.

        Without an MD5 and an ETag a wrong continuation would go unnoticed: it is not continued.
        """
        announced = (expected.build_id, expected.size, expected.md5)
        same = (self.build_id, self.size, self.md5) == announced
        return same and (self.md5 is not None or self.etag is not None)


@dataclass(frozen=True)
class Downloaded:
    """The result of a download.

    :param path: the file, directory or object.
    :param size_bytes: of the tarball.
    :param checksum_md5: of the tarball in hex, None where it was not computed.
    """

    path: str
    size_bytes: int
    checksum_md5: str | None

    def to_json(self) -> dict[str, Any]:
        """Return the values as plain JSON, as the operator returns them."""
        return asdict(self)

    def summary(self) -> str:
        """Return a log line with path, size and checksum."""
        checksum = f"MD5 {self.checksum_md5}" if self.checksum_md5 else "checksum not computed"
        return f"{self.path}: {size_text(self.size_bytes)}, {checksum}"


def artifact_unavailable(
    build_id: str,
    error: BuildPixelError,
    reason: str = "it never produced one, or retention removed it",
) -> ArtifactUnavailable:
    """Return the error for a build without an artifact.

    :param error: the API's or the store's; status, code and request id are copied from it.
    """
    return ArtifactUnavailable(
        f"build {build_id} has no artifact: {reason}",
        status_code=error.status_code,
        code=error.code,
        request_id=error.request_id,
    )


def likely_reason(build: Build | None) -> str:
    """Return the likeliest reason for a missing artifact, from the state of the build.

    :param build: as read after the request for the artifact failed, None if it was not found.
    """
    if build is None:
        return "there is no such build, or this token has no access to it"
    finished = f" since {build.finished_at.isoformat()}" if build.finished_at else ""
    if build.status.succeeded:
        return (
            f"its status is {build.status}{finished}, so retention has most likely removed the "
            "artifact; run the build again to get one"
        )
    if build.status.terminal:
        return f"its status is {build.status}{finished}, so it most likely never produced one"
    return (
        f"its status is {build.status}, so there is most likely none yet; "
        "wait until the build finishes"
    )
