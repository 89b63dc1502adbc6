"""Part files: continued, rejected, and kept when a task is killed."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING

import pytest

from airflow_provider_buildpixel.downloads.cancel import CancelToken, DownloadCancelledError
from airflow_provider_buildpixel.downloads.destinations.local import LocalFile
from airflow_provider_buildpixel.downloads.download import run_download
from airflow_provider_buildpixel.exceptions import (
    BuildPixelError,
    ChecksumMismatch,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.downloads.integration.stores import FakeStore


@pytest.fixture
def part(destination: LocalFile) -> Path:
    """Return the path of the part file."""
    return destination.path.with_name("game.tar.gz.part")


@pytest.fixture
def sidecar(destination: LocalFile) -> Path:
    """Return the path of the JSON file beside the part file."""
    return destination.path.with_name("game.tar.gz.part.json")


def test_two_tasks_with_one_file(filled_store: FakeStore, tmp_path: Path) -> None:
    """While one task downloads to a file, another one is refused."""
    first, second = LocalFile(tmp_path / "a"), LocalFile(tmp_path / "a")
    error: list[str] = []

    def download_second(store: FakeStore) -> None:
        store.on_request = lambda _: None
        with pytest.raises(BuildPixelError, match="another task") as caught:
            run_download(store.job(second))
        error.append(str(caught.value))

    filled_store.on_request = download_second
    run_download(filled_store.job(first))
    assert error
    assert first.path.read_bytes() == filled_store.content


def test_cancel_stops_at_once_and_keeps_the_part(
    filled_store: FakeStore, destination: LocalFile, part: Path
) -> None:
    """Cancelling ends a download that waits for the network; the part file stays."""
    waiting, cancelled = threading.Event(), threading.Event()

    def send_part(store: FakeStore) -> None:
        store.cut_at = 1_000_000
        if len(store.requests) == 2:
            waiting.set()
            cancelled.wait(10)

    filled_store.on_request = send_part
    cancel_token, content = CancelToken(), filled_store.content

    def cancel() -> None:
        waiting.wait(5)
        cancel_token.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    started_at = time.monotonic()
    with pytest.raises(DownloadCancelledError):
        run_download(filled_store.job(destination, cancel_token))
    assert time.monotonic() - started_at < 4
    thread.join()
    cancelled.set()
    assert part.read_bytes() == content[:1_000_000]
    filled_store.cut_at, filled_store.on_request = None, lambda _: None
    run_download(filled_store.job(LocalFile(destination.path)))
    assert destination.path.read_bytes() == content
    assert filled_store.requests[-1]["Range"] == "bytes=1000000-"


def test_cancelled_before_the_start(filled_store: FakeStore, destination: LocalFile) -> None:
    """A download whose task is killed before it begins sends no request."""
    cancel_token = CancelToken()
    cancel_token.cancel()
    with pytest.raises(DownloadCancelledError):
        run_download(filled_store.job(destination, cancel_token))
    assert not filled_store.requests


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"build_id": 7}'])
def test_invalid_sidecar(
    filled_store: FakeStore, destination: LocalFile, part: Path, sidecar: Path, text: str
) -> None:
    """A part file whose sidecar cannot be read is not continued."""
    part.write_bytes(b"something else")
    sidecar.write_text(text)
    run_download(filled_store.job(destination))
    assert destination.path.read_bytes() == filled_store.content
    assert [path.name for path in destination.path.parent.iterdir()] == ["game.tar.gz"]


def test_complete_part_is_only_renamed(
    filled_store: FakeStore, destination: LocalFile, part: Path, sidecar: Path
) -> None:
    """A part file that is complete is verified and renamed; nothing is downloaded."""
    part.write_bytes(filled_store.content)
    downloaded = run_download(filled_store.job(destination))
    destination.path.rename(part)
    md5 = downloaded.checksum_md5
    values = {"build_id": "b1", "size": len(filled_store.content), "md5": md5}
    sidecar.write_text(json.dumps(values))
    requests = len(filled_store.requests)
    assert run_download(filled_store.job(LocalFile(destination.path))) == downloaded
    assert len(filled_store.requests) == requests


def test_part_with_wrong_bytes_is_a_mismatch(
    filled_store: FakeStore, destination: LocalFile, part: Path, sidecar: Path
) -> None:
    """Wrong bytes in a continued part are found by the checksum, and the part is deleted."""
    artifact = filled_store.artifact()
    part.write_bytes(b"x" * 1000)
    other = run_download(filled_store.job(LocalFile(destination.path.with_name("other"))))
    values = {"build_id": "b1", "size": artifact.size_bytes, "md5": other.checksum_md5}
    sidecar.write_text(json.dumps(values))
    with pytest.raises(ChecksumMismatch):
        run_download(filled_store.job(destination))
    assert [path.name for path in destination.path.parent.iterdir()] == ["other"]
