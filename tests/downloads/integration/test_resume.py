"""Part files: continued, refused, and kept when a task is killed."""

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


def test_two_tasks_do_not_write_one_file(filled: Shop, tmp_path: Path) -> None:
    """While one task downloads to a file, another one is refused."""
    first, second = LocalFile(tmp_path / "a"), LocalFile(tmp_path / "a")
    error: list[str] = []

    def meanwhile(shop: Shop) -> None:
        shop.before = lambda _: None
        with pytest.raises(BuildPixelError, match="another task") as caught:
            run_download(shop.download(second))
        error.append(str(caught.value))

    filled.before = meanwhile
    run_download(filled.download(first))
    assert error
    assert first.path.read_bytes() == filled.content


def test_kill_stops_at_once_and_keeps_the_part(filled: Shop, place: LocalFile) -> None:
    """Pulling the brake ends a download that waits for the network; what came so far stays."""
    waiting, over = threading.Event(), threading.Event()

    def half(shop: Shop) -> None:
        shop.cut = 1_000_000
        if len(shop.asked) == 2:
            waiting.set()
            over.wait(10)

    filled.before = half
    cancel_token, whole = CancelToken(), filled.content

    def cancel() -> None:
        waiting.wait(5)
        cancel_token.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    began = time.monotonic()
    with pytest.raises(DownloadCancelledError):
        run_download(filled.download(place, cancel_token))
    assert time.monotonic() - began < 4
    thread.join()
    over.set()
    part = place.path.with_name("game.tar.gz.part")
    assert part.read_bytes() == whole[:1_000_000]
    filled.cut, filled.before = None, lambda _: None
    run_download(filled.download(LocalFile(place.path)))
    assert place.path.read_bytes() == whole
    assert filled.asked[-1]["Range"] == "bytes=1000000-"


def test_brake_that_is_pulled_before(filled: Shop, place: LocalFile) -> None:
    """A download whose task is killed before it begins asks for nothing."""
    cancel_token = CancelToken()
    cancel_token.cancel()
    with pytest.raises(DownloadCancelledError):
        run_download(filled.download(place, cancel_token))
    assert not filled.asked


@pytest.mark.parametrize("note", ["", "{", "[]", "null", '{"build_id": 7}'])
def test_odd_sidecar_is_no_part(filled: Shop, place: LocalFile, note: str) -> None:
    """A part file whose sidecar cannot be read is not continued."""
    part = place.path.with_name("game.tar.gz.part")
    part.write_bytes(b"something else")
    part.with_name("game.tar.gz.part.json").write_text(note)
    run_download(filled.download(place))
    assert place.path.read_bytes() == filled.content
    assert [path.name for path in place.path.parent.iterdir()] == ["game.tar.gz"]


def test_whole_part_only_lacks_its_name(filled: Shop, place: LocalFile) -> None:
    """A part file that is complete is verified and renamed; nothing is fetched."""
    part = place.path.with_name("game.tar.gz.part")
    part.write_bytes(filled.content)
    artifact = run_download(filled.download(place))
    place.path.rename(part)
    facts = {"build_id": "b1", "size": len(filled.content), "md5": artifact.checksum_md5}
    part.with_name("game.tar.gz.part.json").write_text(json.dumps(facts))
    asked = len(filled.asked)
    assert run_download(filled.download(LocalFile(place.path))) == artifact
    assert len(filled.asked) == asked


def test_part_with_wrong_bytes_is_a_mismatch(filled: Shop, place: LocalFile) -> None:
    """Wrong bytes in a continued part are found by the checksum, and then all is deleted."""
    artifact = filled.artifact()
    part = place.path.with_name("game.tar.gz.part")
    part.write_bytes(b"x" * 1000)
    found = run_download(filled.download(LocalFile(place.path.with_name("other"))))
    facts = {"build_id": "b1", "size": artifact.size_bytes, "md5": found.checksum_md5}
    part.with_name("game.tar.gz.part.json").write_text(json.dumps(facts))
    with pytest.raises(ChecksumMismatch):
        run_download(filled.download(place))
    assert [path.name for path in place.path.parent.iterdir()] == ["other"]
