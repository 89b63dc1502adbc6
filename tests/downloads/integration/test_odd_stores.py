"""Downloads from a store that does what the sandbox's never does."""

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

    from tests.downloads.integration.stores import Shop


@pytest.fixture
def place(tmp_path: Path) -> LocalFile:
    """Name a file to download to."""
    return LocalFile(tmp_path / "game.tar.gz")


@pytest.fixture
def filled(shop: Shop, noise: bytes) -> Shop:
    """Fill the shop with a few megabytes."""
    shop.content = noise
    return shop


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "no-ranges"])
@pytest.mark.parametrize("lengths", [True, False], ids=["length", "chunked"])
@pytest.mark.parametrize("size", [-1, None], ids=["announced", "unannounced"])
def test_every_kind_of_answer(
    filled: Shop,
    place: LocalFile,
    ranges: bool,  # a column of the table
    lengths: bool,  # a column of the table
    size: int | None,
) -> None:
    """A file arrives with or without ranges, Content-Length and announced size."""
    filled.ranges, filled.lengths, filled.size = ranges, lengths, size
    assert run_download(filled.download(place)).size_bytes == len(filled.content)
    assert place.path.read_bytes() == filled.content


def test_what_is_not_announced_is_said(filled: Shop, place: LocalFile) -> None:
    """Without size and checksum the file arrives, and the log says what was not checked."""
    filled.size = filled.md5 = None
    lines: list[str] = []
    run_download(filled.download(place, tell=lines.append))
    assert lines[0] == "BuildPixel announces no size and no MD5: not checked"
    assert place.path.read_bytes() == filled.content


def test_empty_artifact(shop: Shop, place: LocalFile) -> None:
    """An artifact of no bytes is a file of no bytes."""
    assert run_download(shop.download(place)).size_bytes == 0
    shop.size = None
    assert run_download(shop.download(place, overwrite=True)).size_bytes == 0
    assert place.path.read_bytes() == b""


def test_content_encoding_is_left_alone(filled: Shop, place: LocalFile) -> None:
    """A store that stored the tarball as encoded gives it as it is stored: nothing is decoded."""
    filled.headers = {"Content-Encoding": "gzip"}
    filled.ranges = False
    run_download(filled.download(place))
    assert place.path.read_bytes() == filled.content


@pytest.mark.parametrize("size", [2_999_999, 3_000_001])
def test_other_size_than_announced(filled: Shop, place: LocalFile, size: int) -> None:
    """Another size than announced is a mismatch before anything is fetched, verified or not."""
    filled.size = size
    with pytest.raises(ChecksumMismatch, match=str(size)):
        run_download(filled.download(place, verify=False))
    assert not list(place.path.parent.iterdir())


def test_redirects_are_followed_without_the_token(filled: Shop, place: LocalFile) -> None:
    """A store may redirect; no request on the way has an Authorization header."""
    filled.redirect = f"{filled.url}/there?{SIGNATURE}"
    run_download(filled.download(place))
    assert [path.partition("?")[0] for path in filled.paths] == ["/a.tar.gz", "/there"]
    assert not [asked for asked in filled.asked if "Authorization" in asked]


def test_endless_redirects_show_no_signature(filled: Shop, place: LocalFile) -> None:
    """A store that redirects in circles is given up, and the error shows no signed URL."""
    filled.redirect = f"/a.tar.gz?{SIGNATURE}"
    job = filled.download(place)
    job.jitter = lambda: -1.0
    with pytest.raises(Unreachable) as caught:
        run_download(job)
    assert "s3cr3t" not in f"{caught.value!s} {caught.value!r}"


def test_changed_file_is_begun_anew(filled: Shop, place: LocalFile) -> None:
    """A file that changes while it is fetched is noticed by its ETag and fetched from the start."""

    def change(shop: Shop) -> None:
        shop.cut = 1_000_000 if len(shop.asked) == 1 else None
        if len(shop.asked) == 2:
            shop.content, shop.etag = os.urandom(3_000_000), '"two"'

    filled.before = change
    filled.ranges, filled.md5 = False, None
    lines: list[str] = []
    run_download(filled.download(place, tell=lines.append))
    assert place.path.read_bytes() == filled.content
    assert [line for line in lines if "has changed (its ETag" in line]


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, ArtifactUnavailable), (410, ArtifactUnavailable), (418, UnexpectedAnswer)],
)
def test_refusals(filled: Shop, place: LocalFile, status: int, error: type[Exception]) -> None:
    """What asking again cannot change ends the download at once."""
    filled.before = lambda _: status
    with pytest.raises(error):
        run_download(filled.download(place))
    assert len(filled.asked) == 1


def test_url_of_a_new_artifact_begins_anew(filled: Shop, place: LocalFile) -> None:
    """If a fresh URL is for another artifact, that one is fetched, from the start."""

    def replace(shop: Shop) -> int | None:
        if len(shop.asked) == 1:
            shop.content = os.urandom(1_000_000)
            return 403
        return None

    filled.before = replace
    run_download(filled.download(place))
    assert place.path.read_bytes() == filled.content


def test_slow_connection_is_given_up(filled: Shop, place: LocalFile) -> None:
    """A connection below the least rate is replaced, and goes on where it was."""

    def dawdle(shop: Shop) -> None:
        shop.pause = 0.2 if len(shop.asked) == 1 else 0.0

    filled.content = os.urandom(6_000_000)  # several buffers
    filled.before = dawdle
    lines: list[str] = []
    run_download(filled.download(place, tell=lines.append, least_rate=1e12, window=0.5))
    assert place.path.read_bytes() == filled.content
    assert [line for line in lines if "too slow" in line]


def test_silent_store_is_noticed(filled: Shop, place: LocalFile) -> None:
    """A connection on which nothing comes counts as broken after the window."""
    silence = threading.Event()

    def hang(shop: Shop) -> None:
        if len(shop.asked) == 1:
            silence.wait(5)

    filled.before = hang
    lines: list[str] = []
    run_download(filled.download(place, tell=lines.append, window=0.2))
    silence.set()
    assert "imed out" in lines[0]
    assert place.path.read_bytes() == filled.content


def test_no_room_is_said_first(filled: Shop, place: LocalFile) -> None:
    """Too little space on the disk is said before the first byte is asked for."""
    filled.size = 1 << 60
    with pytest.raises(BuildPixelError, match="free some"):
        run_download(filled.download(place))
    assert not filled.asked
    assert not list(place.path.parent.iterdir())


def test_directory_is_no_file(filled: Shop, tmp_path: Path) -> None:
    """A directory in the place of the file is refused, and left alone."""
    (tmp_path / "game").mkdir()
    for overwrite in (False, True):
        with pytest.raises(InvalidRequest, match="is a directory"):
            run_download(filled.download(LocalFile(tmp_path / "game"), overwrite=overwrite))
    assert not filled.asked


def test_several_connections_are_used_if_they_pay(filled: Shop, place: LocalFile) -> None:
    """Where each connection is slow, several are tried, kept, and give the same file."""
    filled.content, filled.pause = os.urandom(40_000_000), 0.2
    lines: list[str] = []
    run_download(filled.download(place, tell=lines.append, trial=0.1))
    assert place.path.read_bytes() == filled.content
    assert "Trying 4 connections at once" in lines
    assert not [line for line in lines if "not faster" in line]
    assert len(filled.asked) > 4


def test_one_connection_goes_on_if_several_break(filled: Shop, place: LocalFile) -> None:
    """A store that refuses ranges in parallel costs nothing but the attempt."""
    filled.content, filled.pause = os.urandom(40_000_000), 0.05
    filled.before = lambda shop: 503 if not shop.asked[-1]["Range"].endswith("-") else None
    lines: list[str] = []
    run_download(filled.download(place, tell=lines.append, trial=0.1))
    assert place.path.read_bytes() == filled.content
    assert [line for line in lines if "One of several connections broke" in line]
