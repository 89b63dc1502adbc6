from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest

from airflow_provider_buildpixel.api.model import Artifact, Build, Status
from airflow_provider_buildpixel.api.text import duration_text, size_text
from airflow_provider_buildpixel.downloads.artifacts import (
    Downloaded,
    ExpectedArtifact,
    PartialDownload,
    artifact_unavailable,
    likely_reason,
    md5_hex,
)
from airflow_provider_buildpixel.exceptions import ArtifactUnavailable

HEX = "900150983cd24fb0d6963f7d28e17f72"
EXPECTED = ExpectedArtifact("b1", 3, HEX)


@pytest.mark.parametrize(
    ("text", "md5"),
    [
        (HEX, HEX),
        (HEX.upper(), HEX),
        (f' "{HEX}" ', HEX),
        (base64.b64encode(bytes.fromhex(HEX)).decode(), HEX),
        (None, None),
        ("", None),
        ("not a checksum", None),
        ("YWJj", None),
        ("ä" * 32, None),
        (HEX + "-5", None),
    ],
)
def test_md5_is_parsed(text: str | None, md5: str | None) -> None:
    """An MD5 is accepted in hex of either case and in base64; anything else is not an MD5."""
    assert md5_hex(text) == md5


@pytest.mark.parametrize(
    ("size", "md5", "verify", "message"),
    [
        (3, HEX, True, None),
        (None, HEX, True, "BuildPixel announces no size: not checked"),
        (3, None, True, "BuildPixel announces no MD5: not checked"),
        (3, None, False, None),
        (-1, None, True, "BuildPixel announces no size and no MD5: not checked"),
    ],
)
def test_unchecked_properties_are_named(
    size: int | None,
    md5: str | None,
    verify: bool,  # noqa: FBT001  # a column of the table
    message: str | None,
) -> None:
    """A message names what BuildPixel does not announce, and so is not checked."""
    expected = ExpectedArtifact.from_artifact("b1", Artifact("https://x", None, size, md5))
    assert expected.unchecked_message(verify=verify) == message


def test_mismatches() -> None:
    """Only a value other than the announced one is a mismatch."""
    assert EXPECTED.size_error(3) is None
    assert ExpectedArtifact("b1", None, None).size_error(4) is None
    assert "4 bytes" in str(EXPECTED.size_error(4))
    assert EXPECTED.md5_error(HEX) is None
    assert EXPECTED.md5_error(None) is None
    assert ExpectedArtifact("b1", 3, None).md5_error("f" * 32) is None
    assert HEX in str(EXPECTED.md5_error("f" * 32))


@pytest.mark.parametrize(
    ("part", "same"),
    [
        (PartialDownload("b1", 3, HEX, '"e"'), True),
        (PartialDownload("b2", 3, HEX), False),
        (PartialDownload("b1", 4, HEX), False),
        (PartialDownload("b1", 3, None), False),
    ],
)
def test_part_matches(
    part: PartialDownload,
    same: bool,  # noqa: FBT001  # a column of the table
) -> None:
    """A part file is continued only if build, size and MD5 are the same."""
    assert part.matches(EXPECTED) is same
    assert PartialDownload.from_json(part.to_json()) == part


def test_part_without_md5_and_etag() -> None:
    """Without MD5 and ETag a wrong continuation would go unnoticed: a part is not continued."""
    unknown = ExpectedArtifact("b1", 3, None)
    assert PartialDownload("b1", 3, None, '"e"').matches(unknown)
    assert not PartialDownload("b1", 3, None).matches(unknown)


@pytest.mark.parametrize("data", [None, [], {}, {"build_id": 3}, "text"])
def test_invalid_sidecar_is_none(data: object) -> None:
    """A sidecar with anything else counts as missing."""
    assert PartialDownload.from_json(data) is None


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (None, "no such build"),
        (Build("b1", Status("complete")), "retention"),
        (
            Build("b1", Status("failed"), finished_at=datetime(2026, 5, 1, tzinfo=UTC)),
            "failed since 2026-05-01T00:00:00+00:00, so it most likely never produced one",
        ),
        (Build("b1", Status("superseded")), "never produced one"),
        (Build("b1", Status("running")), "wait until the build finishes"),
        (Build("b1", Status("brand-new")), "wait until the build finishes"),
    ],
)
def test_likely_reason(build: Build | None, reason: str) -> None:
    """The likeliest reason for a missing artifact depends on the build's status."""
    refused = ArtifactUnavailable("no", status_code=404, code="not_found", request_id="r")
    error = artifact_unavailable("b1", refused, likely_reason(build))
    assert reason in str(error)
    assert (error.status_code, error.code, error.request_id) == (404, "not_found", "r")


def test_result() -> None:
    """The result of a download has a summary for the log, and a JSON form."""
    result = Downloaded("/x", 2048, HEX)
    assert result.summary() == f"/x: 2.0 KiB, MD5 {HEX}"
    assert Downloaded("/x", 1, None).summary() == "/x: 1 B, checksum not computed"
    assert result.to_json() == {"path": "/x", "size_bytes": 2048, "checksum_md5": HEX}


def test_sizes_and_durations() -> None:
    """Sizes and durations are formatted with a unit that fits their magnitude."""
    assert [size_text(n) for n in (0, 1023, 1024, 5 << 20, 3 << 29)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "5.0 MiB",
        "1.5 GiB",
    ]
    durations = [duration_text(seconds, decimals=0) for seconds in (0.4, 59, 61, 3661)]
    assert durations == ["0 s", "59 s", "1 min 1 s", "1 h 1 min"]
