from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest

from airflow_provider_buildpixel.api.model import Artifact, Build, Status
from airflow_provider_buildpixel.api.text import size_text, time_text
from airflow_provider_buildpixel.downloads.artifacts import (
    Downloaded,
    ExpectedArtifact,
    PartialDownload,
    explain_unavailable,
    md5_hex,
)
from airflow_provider_buildpixel.exceptions import ArtifactUnavailable

HEX = "900150983cd24fb0d6963f7d28e17f72"
EXPECTED = ExpectedArtifact("b1", 3, HEX)


@pytest.mark.parametrize(
    ("text", "found"),
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
def test_md5_is_read(text: str | None, found: str | None) -> None:
    """An MD5 is read in hex of either case and in base64, and nothing else is taken for one."""
    assert md5_hex(text) == found


@pytest.mark.parametrize(
    ("size", "md5", "verify", "gaps"),
    [
        (3, HEX, True, None),
        (None, HEX, True, "BuildPixel announces no size: not checked"),
        (3, None, True, "BuildPixel announces no MD5: not checked"),
        (3, None, False, None),
        (-1, None, True, "BuildPixel announces no size and no MD5: not checked"),
    ],
)
def test_gaps_are_named(
    size: int | None, md5: str | None, verify: bool, gaps: str | None
) -> None:  # a column of the table
    """What BuildPixel does not announce, and so is not checked, is said."""
    expected = ExpectedArtifact.of("b1", Artifact("https://x", None, size, md5))
    assert expected.gaps(verify=verify) == gaps


def test_mismatches() -> None:
    """Only another value than the announced one is a mismatch."""
    assert EXPECTED.size_differs(3) is None
    assert ExpectedArtifact("b1", None, None).size_differs(4) is None
    assert "4 bytes" in str(EXPECTED.size_differs(4))
    assert EXPECTED.md5_differs(HEX) is None
    assert EXPECTED.md5_differs(None) is None
    assert ExpectedArtifact("b1", 3, None).md5_differs("f" * 32) is None
    assert HEX in str(EXPECTED.md5_differs("f" * 32))


@pytest.mark.parametrize(
    ("part", "same"),
    [
        (PartialDownload("b1", 3, HEX, '"e"'), True),
        (PartialDownload("b2", 3, HEX), False),
        (PartialDownload("b1", 4, HEX), False),
        (PartialDownload("b1", 3, None), False),
    ],
)
def test_part_belongs(part: PartialDownload, same: bool) -> None:  # a column of the table
    """A part is continued only if build, size and MD5 are the same."""
    assert part.belongs_to(EXPECTED) is same
    assert PartialDownload.from_json(part.to_json()) == part


def test_part_without_anything_to_tell_it_by() -> None:
    """Without MD5 and ETag nothing could tell a wrong continuation: there is none."""
    unknown = ExpectedArtifact("b1", 3, None)
    assert PartialDownload("b1", 3, None, '"e"').belongs_to(unknown)
    assert not PartialDownload("b1", 3, None).belongs_to(unknown)


@pytest.mark.parametrize("data", [None, [], {}, {"build_id": 3}, "text"])
def test_odd_sidecar_is_none(data: object) -> None:
    """A sidecar that holds anything else is as good as none."""
    assert PartialDownload.from_json(data) is None


@pytest.mark.parametrize(
    ("build", "word"),
    [
        (None, "no such build"),
        (Build("b1", Status("complete")), "retention"),
        (
            Build("b1", Status("failed"), finished_at=datetime(2026, 5, 1, tzinfo=UTC)),
            "is failed at 2026-05-01T00:00:00+00:00, so most likely it never made one",
        ),
        (Build("b1", Status("superseded")), "never made one"),
        (Build("b1", Status("running")), "has not ended"),
        (Build("b1", Status("brand-new")), "has not ended"),
    ],
)
def test_likelier_reason(build: Build | None, word: str) -> None:
    """The build's status tells which reason for a missing artifact is likelier."""
    refused = ArtifactUnavailable("no", status_code=404, code="not_found", request_id="r")
    error = explain_unavailable("b1", refused, build)
    assert word in str(error)
    assert (error.status_code, error.code, error.request_id) == (404, "not_found", "r")


def test_result_is_told() -> None:
    """What came of a download can be said and returned as JSON."""
    found = Downloaded("/x", 2048, HEX)
    assert found.summary() == f"/x: 2.0 KiB, MD5 {HEX}"
    assert Downloaded("/x", 1, None).summary() == "/x: 1 B, checksum not computed"
    assert found.to_json() == {"path": "/x", "size_bytes": 2048, "checksum_md5": HEX}


def test_sizes_and_times_are_told() -> None:
    """Sizes and durations have units that suit them."""
    assert [size_text(n) for n in (0, 1023, 1024, 5 << 20, 3 << 29)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "5.0 MiB",
        "1.5 GiB",
    ]
    assert [time_text(s) for s in (0.4, 59, 61, 3661)] == ["0 s", "59 s", "1 min 1 s", "1 h 1 min"]
