"""Downloads from the sandbox's store through the hook, with each of its faults."""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_buildpixel.api.model import Artifact
from airflow_provider_buildpixel.downloads.download import run_download
from airflow_provider_buildpixel.downloads.store import redact_url_logs
from airflow_provider_buildpixel.exceptions import (
    ArtifactUnavailable,
    ChecksumMismatch,
    UnexpectedAnswer,
    Unreachable,
)
from airflow_provider_buildpixel.hooks import downloads
from airflow_provider_buildpixel.sandbox import Sandbox, Variants

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_buildpixel.hooks.buildpixel import BuildPixelHook

ROUTE = "GET artifact"
SIZE = 3_000_000


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def _leftovers(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.name != "game.tar.gz")


SURVIVED_FAULTS: dict[str, tuple[str, dict[str, Any]]] = {
    "none": ("artifact-breaks", {"times": 0}),
    "breaks": ("artifact-breaks", {"times": 3, "at": 700_000}),
    "breaks-at-once": ("artifact-breaks", {"times": 3, "at": 0}),
    "wrong-range": ("artifact-wrong-range", {}),
    "short": ("artifact-short", {"times": 1}),
    "expired": ("artifact-expired", {"times": 2}),
    "busy": ("refuse", {"times": 2, "status": 503}),
    "rate-limited": ("429", {"times": 1, "retry_after": 0}),
    "reset": ("reset", {"times": 2}),
    "token-like-refusal": ("401", {"times": 1}),
    "bad-request": ("refuse", {"times": 1, "status": 400}),
}


@pytest.mark.parametrize(("fault", "params"), SURVIVED_FAULTS.values(), ids=SURVIVED_FAULTS)
def test_survives(
    buildpixel_sandbox: Sandbox,
    hook: BuildPixelHook,
    built: Callable[..., str],
    tmp_path: Path,
    fault: str,
    params: dict[str, Any],
) -> None:
    """A download survives each fault of the store that is temporary or has a workaround."""
    build_id, path = built(), tmp_path / "game.tar.gz"
    buildpixel_sandbox.fault(fault, route=ROUTE, **params)
    result = hook.download_artifact(build_id, path)
    assert (result.path, result.size_bytes) == (str(path), SIZE)
    assert result.checksum_md5 == _md5(path)
    assert not _leftovers(tmp_path)


def test_resumes_at_the_right_byte(
    buildpixel_sandbox: Sandbox, hook: BuildPixelHook, built: Callable[..., str], tmp_path: Path
) -> None:
    """After an interruption only the missing bytes are requested."""
    build_id = built()
    buildpixel_sandbox.fault("artifact-breaks", at=1_000_000, times=1)
    hook.download_artifact(build_id, tmp_path / "game.tar.gz")
    ranges = [r.headers["Range"] for r in buildpixel_sandbox.requests_to(ROUTE)]
    assert ranges == ["bytes=0-", "bytes=1000000-"]


def test_ignored_range_is_noticed(
    buildpixel_sandbox: Sandbox, hook: BuildPixelHook, built: Callable[..., str], tmp_path: Path
) -> None:
    """A store that ignores the range and sends the whole file causes no error."""
    build_id, path = built(), tmp_path / "game.tar.gz"
    buildpixel_sandbox.fault("artifact-breaks", at=1_000_000, times=1)
    buildpixel_sandbox.fault("artifact-ignores-range")
    assert hook.download_artifact(build_id, path).checksum_md5 == _md5(path)


def test_wrong_byte_is_a_mismatch(
    buildpixel_sandbox: Sandbox, hook: BuildPixelHook, built: Callable[..., str], tmp_path: Path
) -> None:
    """One wrong byte raises ChecksumMismatch and leaves no file; without verify it is accepted."""
    build_id, path = built(), tmp_path / "game.tar.gz"
    buildpixel_sandbox.fault("artifact-corrupt", at=2_000_000)
    with pytest.raises(ChecksumMismatch):
        hook.download_artifact(build_id, path)
    assert not list(tmp_path.iterdir())
    result = hook.download_artifact(build_id, path, verify=False)
    assert (result.size_bytes, result.checksum_md5) == (SIZE, None)


@pytest.mark.parametrize("encoding", Variants.points()["checksum"])
def test_checksum_in_every_encoding(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, encoding: str
) -> None:
    """The checksum is compared in each encoding: hex of either case, and base64."""
    from airflow_provider_buildpixel.hooks.buildpixel import BuildPixelHook

    with Sandbox(variants=Variants(checksum=encoding)) as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_BUILDPIXEL_DEFAULT", sandbox.connection_uri)
        sandbox.plan(artifact_bytes=100_000, queue=0.0, run=1.0)
        build_id = sandbox.push(sandbox.settings("MyGame")[0]["id"])
        sandbox.advance(60)
        hook = BuildPixelHook()
        hook.download_artifact(build_id, tmp_path / "a")
        sandbox.fault("artifact-corrupt", at=50_000)
        with pytest.raises(ChecksumMismatch):
            hook.download_artifact(build_id, tmp_path / "b")
        hook.close()


def test_refused_urls_end_the_download(
    buildpixel_sandbox: Sandbox, hook: BuildPixelHook, built: Callable[..., str], tmp_path: Path
) -> None:
    """A store that refuses every fresh URL ends the download after a few of them."""
    build_id = built()
    buildpixel_sandbox.fault("artifact-expired")
    with pytest.raises(UnexpectedAnswer, match="refuses fresh signed URLs"):
        hook.download_artifact(build_id, tmp_path / "game.tar.gz")
    assert len(buildpixel_sandbox.requests_to("GET /builds/:id/download")) == 3


def test_retry_continues_the_part_file(
    buildpixel_sandbox: Sandbox, hook: BuildPixelHook, built: Callable[..., str], tmp_path: Path
) -> None:
    """A retry requests only the missing bytes, and still verifies the whole file."""
    build_id, path = built(), tmp_path / "game.tar.gz"
    gone = buildpixel_sandbox.fault("artifact-gone", after=1)
    buildpixel_sandbox.fault("artifact-breaks", at=1_500_000, times=1)
    with pytest.raises(ArtifactUnavailable):
        hook.download_artifact(build_id, path)
    assert _leftovers(tmp_path) == ["game.tar.gz.part", "game.tar.gz.part.json"]
    gone.remove()
    assert hook.download_artifact(build_id, path).checksum_md5 == _md5(path)
    assert buildpixel_sandbox.requests_to(ROUTE)[-1].headers["Range"] == "bytes=1500000-"
    assert not _leftovers(tmp_path)


def test_part_of_another_build_is_not_continued(
    buildpixel_sandbox: Sandbox, hook: BuildPixelHook, built: Callable[..., str], tmp_path: Path
) -> None:
    """A part file is continued only for the same artifact."""
    first, second, path = built(), built(), tmp_path / "game.tar.gz"
    gone = buildpixel_sandbox.fault("artifact-gone", after=1)
    buildpixel_sandbox.fault("artifact-breaks", at=1_500_000, times=1)
    with pytest.raises(ArtifactUnavailable):
        hook.download_artifact(first, path)
    gone.remove()
    assert hook.download_artifact(second, path).checksum_md5 == _md5(path)
    assert buildpixel_sandbox.requests_to(ROUTE)[-1].headers["Range"] == "bytes=0-"


def test_token_never_reaches_the_store(
    buildpixel_sandbox: Sandbox,
    hook: BuildPixelHook,
    built: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No request to the store has an Authorization header, even if .netrc has a password for it."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    build_id = built()
    buildpixel_sandbox.fault("artifact-breaks", at=1_000_000, times=2)
    hook.download_artifact(build_id, tmp_path / "game.tar.gz")
    for request in buildpixel_sandbox.requests_to(ROUTE):
        assert "authorization" not in {name.lower() for name in request.headers}


@pytest.mark.parametrize("fault", ["artifact-expired", "reset", "artifact-breaks"])
def test_signature_is_never_shown(
    buildpixel_sandbox: Sandbox,
    hook: BuildPixelHook,
    built: Callable[..., str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    fault: str,
) -> None:
    """Neither errors nor logs, including those of libraries at DEBUG, contain a signed URL."""
    build_id = built()
    signature = hook.get_artifact(build_id).url.partition("Signature=")[2]
    buildpixel_sandbox.fault(fault, route=ROUTE, times=2, at=100)
    with caplog.at_level(logging.DEBUG):
        if fault == "artifact-breaks":
            hook.download_artifact(build_id, tmp_path / "game.tar.gz")
        else:
            buildpixel_sandbox.fault("artifact-gone")
            with pytest.raises(ArtifactUnavailable) as caught:
                hook.download_artifact(build_id, tmp_path / "game.tar.gz")
            assert signature not in repr(caught.value)
    assert len(signature) == 64
    assert caplog.records
    assert signature not in caplog.text


@pytest.mark.parametrize("target", ["/store/the-signature/1.tar.gz", "/1.tar.gz?the-signature"])
def test_signature_in_other_places(target: str, caplog: pytest.LogCaptureFixture) -> None:
    """A signature in the path, or as the whole query, is removed from urllib3's messages too."""
    log = logging.getLogger("urllib3.connectionpool")
    with caplog.at_level(logging.DEBUG), redact_url_logs():
        log.debug('%s://%s:%s "%s %s %s" %s %s', "http", "store", 80, "GET", target, "1.1", 200, 5)
    assert "the-signature" not in caplog.text
    assert 'http://store:80 "GET *** 1.1" 200 5' in caplog.text


def test_long_paths_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow masks a query, and a path that is long enough to contain a signature."""
    masked: list[str] = []
    monkeypatch.setattr(downloads, "mask_secret", masked.append)
    for url in ("https://store/1.tar.gz?sig=1", f"https://store/{'s' * 40}/1.tar.gz"):
        downloads.mask_signed_url(Artifact(url, None, None, None))
    assert masked == ["sig=1", f"/{'s' * 40}/1.tar.gz"]


def test_endless_interruptions_end_the_download(
    buildpixel_sandbox: Sandbox, hook: BuildPixelHook, built: Callable[..., str], tmp_path: Path
) -> None:
    """A download that is interrupted after a few bytes each time fails, and keeps the part file."""
    from airflow_provider_buildpixel.downloads.destinations.local import LocalFile
    from airflow_provider_buildpixel.downloads.job import DownloadJob

    build_id = built()
    buildpixel_sandbox.fault("artifact-breaks", at=1000)
    destination = LocalFile(tmp_path / "game.tar.gz")
    job = DownloadJob(
        build_id,
        lambda: hook.get_artifact(build_id),
        destination,
        hook.settings,
        lambda _: None,
        jitter=lambda: -1.0,
    )
    with pytest.raises(Unreachable, match="interrupted too often"):
        run_download(job)
    assert (tmp_path / "game.tar.gz.part").stat().st_size == 8000
