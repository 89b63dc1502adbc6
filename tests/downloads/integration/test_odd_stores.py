"""Downloads from a store that behaves unlike the sandbox's."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from airflow_provider_buildpixel.downloads.destinations.local import LocalFile
from airflow_provider_buildpixel.downloads.download import run_download
from airflow_provider_buildpixel.exceptions import (
    ArtifactUnavailable,
    BuildPixelError,
    ChecksumMismatch,
    InvalidRequest,
    UnexpectedAnswer,
    Unreachable,
)
from tests.downloads.integration.stores import SIGNATURE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.downloads.integration.stores import FakeStore


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "no-ranges"])
@pytest.mark.parametrize("lengths", [True, False], ids=["length", "chunked"])
@pytest.mark.parametrize("size", [-1, None], ids=["announced", "unannounced"])
def test_every_kind_of_response(
    filled_store: FakeStore,
    destination: LocalFile,
    ranges: bool,  # noqa: FBT001  # a column of the table
    lengths: bool,  # noqa: FBT001  # a column of the table
    size: int | None,
) -> None:
    """A file is complete with or without ranges, Content-Length and announced size."""
    store = filled_store
    store.ranges, store.lengths, store.announced_size = ranges, lengths, size
    assert run_download(store.job(destination)).size_bytes == len(store.content)
    assert destination.path.read_bytes() == store.content


def test_unchecked_properties_are_logged(filled_store: FakeStore, destination: LocalFile) -> None:
    """Without size and checksum the file is downloaded, and the log names what was not checked."""
    filled_store.announced_size = filled_store.announced_md5 = None
    lines: list[str] = []
    run_download(filled_store.job(destination, report=lines.append))
    assert lines[0] == "BuildPixel announces no size and no MD5: not checked"
    assert destination.path.read_bytes() == filled_store.content


def test_empty_artifact(store: FakeStore, destination: LocalFile) -> None:
    """An artifact of no bytes is a file of no bytes."""
    assert run_download(store.job(destination)).size_bytes == 0
    store.announced_size = None
    assert run_download(store.job(destination, overwrite=True)).size_bytes == 0
    assert destination.path.read_bytes() == b""


def test_content_encoding_is_ignored(filled_store: FakeStore, destination: LocalFile) -> None:
    """A tarball that the store labels as encoded is written as stored: nothing is decoded."""
    filled_store.headers = {"Content-Encoding": "gzip"}
    filled_store.ranges = False
    run_download(filled_store.job(destination))
    assert destination.path.read_bytes() == filled_store.content


@pytest.mark.parametrize("size", [2_999_999, 3_000_001])
def test_other_size_than_announced(
    filled_store: FakeStore, destination: LocalFile, size: int
) -> None:
    """A wrong size is a mismatch before any byte is downloaded, verified or not."""
    filled_store.announced_size = size
    with pytest.raises(ChecksumMismatch, match=str(size)):
        run_download(filled_store.job(destination, verify=False))
    assert not list(destination.path.parent.iterdir())


def test_redirects_without_the_token(filled_store: FakeStore, destination: LocalFile) -> None:
    """Redirects of the store are followed, and no request has an Authorization header."""
    filled_store.redirect = f"{filled_store.url}/there?{SIGNATURE}"
    run_download(filled_store.job(destination))
    assert [path.partition("?")[0] for path in filled_store.paths] == ["/a.tar.gz", "/there"]
    assert not [headers for headers in filled_store.requests if "Authorization" in headers]


def test_endless_redirects_show_no_signature(
    filled_store: FakeStore, destination: LocalFile
) -> None:
    """A store that redirects in circles fails the download, and the error has no signed URL."""
    filled_store.redirect = f"/a.tar.gz?{SIGNATURE}"
    job = filled_store.job(destination)
    job.jitter = lambda: -1.0
    with pytest.raises(Unreachable) as caught:
        run_download(job)
    assert "s3cr3t" not in f"{caught.value!s} {caught.value!r}"


def test_changed_file_starts_over(filled_store: FakeStore, destination: LocalFile) -> None:
    """A file that changes during the download is detected by its ETag and downloaded again."""

    def change(store: FakeStore) -> None:
        store.cut_at = 1_000_000 if len(store.requests) == 1 else None
        if len(store.requests) == 2:
            store.content, store.etag = os.urandom(3_000_000), '"two"'

    filled_store.on_request = change
    filled_store.ranges, filled_store.announced_md5 = False, None
    lines: list[str] = []
    run_download(filled_store.job(destination, report=lines.append))
    assert destination.path.read_bytes() == filled_store.content
    assert [line for line in lines if "has changed (its ETag" in line]


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, ArtifactUnavailable), (410, ArtifactUnavailable), (418, UnexpectedAnswer)],
)
def test_permanent_refusals(
    filled_store: FakeStore, destination: LocalFile, status: int, error: type[Exception]
) -> None:
    """A permanent refusal ends the download after one request."""
    filled_store.on_request = lambda _: status
    with pytest.raises(error):
        run_download(filled_store.job(destination))
    assert len(filled_store.requests) == 1


def test_url_of_a_new_artifact_starts_over(filled_store: FakeStore, destination: LocalFile) -> None:
    """If a fresh URL is for another artifact, that one is downloaded from the start."""

    def replace(store: FakeStore) -> int | None:
        if len(store.requests) == 1:
            store.content = os.urandom(1_000_000)
            return 403
        return None

    filled_store.on_request = replace
    run_download(filled_store.job(destination))
    assert destination.path.read_bytes() == filled_store.content


def test_slow_connection_is_replaced(filled_store: FakeStore, destination: LocalFile) -> None:
    """A connection below the minimum rate is replaced, and the download resumes."""

    def slow_down(store: FakeStore) -> None:
        store.pause = 0.2 if len(store.requests) == 1 else 0.0

    filled_store.content = os.urandom(6_000_000)  # several buffers
    filled_store.on_request = slow_down
    lines: list[str] = []
    run_download(
        filled_store.job(destination, report=lines.append, min_rate=1e12, stall_window=0.5)
    )
    assert destination.path.read_bytes() == filled_store.content
    assert [line for line in lines if "too slow" in line]


def test_silent_store_is_noticed(filled_store: FakeStore, destination: LocalFile) -> None:
    """A connection on which nothing arrives counts as broken after the stall window."""
    silence = threading.Event()

    def hang(store: FakeStore) -> None:
        if len(store.requests) == 1:
            silence.wait(5)

    filled_store.on_request = hang
    lines: list[str] = []
    run_download(filled_store.job(destination, report=lines.append, stall_window=0.2))
    silence.set()
    assert "imed out" in lines[0]
    assert destination.path.read_bytes() == filled_store.content


def test_full_disk_fails_first(filled_store: FakeStore, destination: LocalFile) -> None:
    """Too little space on the disk is an error before the first request."""
    filled_store.announced_size = 1 << 60
    with pytest.raises(BuildPixelError, match="free some"):
        run_download(filled_store.job(destination))
    assert not filled_store.requests
    assert not list(destination.path.parent.iterdir())


def test_directory_instead_of_a_file(filled_store: FakeStore, tmp_path: Path) -> None:
    """A directory at the path of the file is refused and unchanged."""
    (tmp_path / "game").mkdir()
    for overwrite in (False, True):
        with pytest.raises(InvalidRequest, match="is a directory"):
            run_download(filled_store.job(LocalFile(tmp_path / "game"), overwrite=overwrite))
    assert not filled_store.requests


def test_several_connections_if_faster(filled_store: FakeStore, destination: LocalFile) -> None:
    """Where each connection is slow, several are tried, kept, and download the same file."""
    filled_store.content, filled_store.pause = os.urandom(40_000_000), 0.2
    lines: list[str] = []
    run_download(filled_store.job(destination, report=lines.append, probe_seconds=0.1))
    assert destination.path.read_bytes() == filled_store.content
    assert "Trying 4 connections at once" in lines
    assert not [line for line in lines if "not faster" in line]
    assert len(filled_store.requests) > 4


def test_one_connection_if_several_fail(filled_store: FakeStore, destination: LocalFile) -> None:
    """A store that refuses parallel ranges costs nothing but the attempt."""

    def refuse_blocks(store: FakeStore) -> int | None:
        return None if store.requests[-1]["Range"].endswith("-") else 503

    filled_store.content, filled_store.pause = os.urandom(40_000_000), 0.05
    filled_store.on_request = refuse_blocks
    lines: list[str] = []
    run_download(filled_store.job(destination, report=lines.append, probe_seconds=0.1))
    assert destination.path.read_bytes() == filled_store.content
    assert [line for line in lines if "A parallel connection failed" in line]
