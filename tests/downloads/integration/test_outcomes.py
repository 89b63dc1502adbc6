"""Results of downloads from the sandbox: files, directories, errors."""

from __future__ import annotations

import hashlib
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from airflow_provider_buildpixel.exceptions import (
    ArtifactUnavailable,
    ChecksumMismatch,
    InvalidRequest,
    UnexpectedAnswer,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_buildpixel.hooks.buildpixel import BuildPixelHook
    from airflow_provider_buildpixel.sandbox import Sandbox

ROUTE = "GET artifact"
SIZE = 3_000_000


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def _leftovers(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.name != "game.tar.gz")


@pytest.mark.parametrize(
    ("outcome", "removed", "reason"),
    [
        ("complete", True, "retention has most likely removed"),
        ("failed", False, "it most likely never produced one"),
        ("hangs", False, "wait until the build finishes"),
    ],
)
def test_missing_artifact_has_a_reason(
    buildpixel_sandbox: Sandbox,
    hook: BuildPixelHook,
    built: Callable[..., str],
    tmp_path: Path,
    outcome: str,
    removed: bool,  # noqa: FBT001  # a column of the table
    reason: str,
) -> None:
    """The error for a missing artifact names the likeliest reason, after one read of the build."""
    build_id = built(outcome=outcome)
    if removed:
        buildpixel_sandbox.remove_artifact(build_id)
    with pytest.raises(ArtifactUnavailable, match=reason):
        hook.download_artifact(build_id, tmp_path / "game.tar.gz")
    assert len(buildpixel_sandbox.requests_to("GET /builds/:id")) == 1
    assert not list(tmp_path.iterdir())


def test_build_that_does_not_exist(hook: BuildPixelHook, tmp_path: Path) -> None:
    """The error for an unknown build names that as the reason."""
    with pytest.raises(ArtifactUnavailable, match="no such build"):
        hook.download_artifact("x" * 24, tmp_path / "game.tar.gz")


def test_existing_file(
    buildpixel_sandbox: Sandbox, hook: BuildPixelHook, built: Callable[..., str], tmp_path: Path
) -> None:
    """Without overwrite the right file is a success without a download, any other an error."""
    build_id, path = built(), tmp_path / "game.tar.gz"
    first = hook.download_artifact(build_id, path)
    requests = len(buildpixel_sandbox.requests_to(ROUTE))
    assert hook.download_artifact(build_id, path) == first
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    for other in (bytes(content), b"short"):
        path.write_bytes(other)
        with pytest.raises(InvalidRequest, match="overwrite=True"):
            hook.download_artifact(build_id, path)
        assert path.read_bytes() == other
    assert len(buildpixel_sandbox.requests_to(ROUTE)) == requests
    assert hook.download_artifact(build_id, path, overwrite=True) == first
    assert _md5(path) == first.checksum_md5


@pytest.mark.parametrize("unverified", ["verify", "checksum"])
def test_existing_file_of_another_build(
    buildpixel_sandbox: Sandbox,
    hook: BuildPixelHook,
    built: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    unverified: str,
) -> None:
    """A file of the right size is not accepted as the artifact without a compared checksum."""
    path = tmp_path / "game.tar.gz"
    hook.download_artifact(built(100_000), path)
    if unverified == "checksum":
        original = hook.get_artifact
        monkeypatch.setattr(
            hook, "get_artifact", lambda id_: replace(original(id_), checksum_md5=None)
        )
    with pytest.raises(InvalidRequest, match="overwrite=True"):
        hook.download_artifact(built(100_000), path, verify=unverified != "verify")
    assert len(buildpixel_sandbox.requests_to(ROUTE)) == 1


def test_old_file_stays_until_the_new_one_is_verified(
    buildpixel_sandbox: Sandbox, hook: BuildPixelHook, built: Callable[..., str], tmp_path: Path
) -> None:
    """A failed download leaves the existing file unchanged."""
    build_id, path = built(), tmp_path / "game.tar.gz"
    path.write_bytes(b"old")
    buildpixel_sandbox.fault("artifact-corrupt", at=5)
    with pytest.raises(ChecksumMismatch):
        hook.download_artifact(build_id, path, overwrite=True)
    assert path.read_bytes() == b"old"


def test_unpacks_while_downloading(
    buildpixel_sandbox: Sandbox, hook: BuildPixelHook, built: Callable[..., str], tmp_path: Path
) -> None:
    """Members are unpacked over interruptions of the connection, without a tarball on disk."""
    build_id, target = built(), tmp_path / "game"
    buildpixel_sandbox.fault("artifact-breaks", at=700_000, times=3)
    found = hook.download_artifact(build_id, target, extract=True)
    assert (found.path, found.size_bytes) == (str(target), SIZE)
    assert (target / "Build.json").read_text().count(build_id) == 1
    hook.download_artifact(build_id, tmp_path / "packed")
    with tarfile.open(tmp_path / "packed") as tar:
        for member in tar:
            assert (target / member.name).stat().st_size == member.size
    assert sorted(p.name for p in tmp_path.iterdir()) == ["game", "packed"]


def test_damaged_tarball_is_a_mismatch(
    buildpixel_sandbox: Sandbox, hook: BuildPixelHook, built: Callable[..., str], tmp_path: Path
) -> None:
    """A wrong byte raises ChecksumMismatch when unpacking too, and no directory appears."""
    build_id = built()
    buildpixel_sandbox.fault("artifact-corrupt", at=1_000_000)
    with pytest.raises(ChecksumMismatch):
        hook.download_artifact(build_id, f"{tmp_path}/game/")
    with pytest.raises(UnexpectedAnswer, match="not an intact gzip tarball"):
        hook.download_artifact(build_id, f"{tmp_path}/game/", verify=False)
    assert not list(tmp_path.iterdir())
