"""Intact, damaged and hostile archives, unpacked while they are downloaded."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from airflow_provider_buildpixel.api.text import GIB, MIB
from airflow_provider_buildpixel.downloads.destinations.archive import ExtractedDirectory
from airflow_provider_buildpixel.downloads.download import run_download
from airflow_provider_buildpixel.exceptions import InvalidRequest, UnexpectedAnswer
from tests.downloads.integration.stores import tarball

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.downloads.integration.stores import FakeStore


def _directory(path: Path) -> ExtractedDirectory:
    return ExtractedDirectory(path, max_expansion=50.0, checksum_decides=True)


def _entry(name: str, kind: bytes, link: str = "", size: int = 0) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname, entry.size = kind, link, size
    return entry


def test_unpacks(store: FakeStore, tmp_path: Path) -> None:
    """Files, directories and inner links are unpacked; owners and set-uid bits are dropped."""
    mode = _entry("bin/tool", tarfile.REGTYPE)
    mode.mode, mode.uid = 0o4755, 12345
    store.content = tarball(
        ("Game/a.pak", b"A" * 100_000),
        _entry("Game/Current", tarfile.SYMTYPE, "a.pak"),
        _entry("Game/b.pak", tarfile.LNKTYPE, "Game/a.pak"),
        _entry("empty", tarfile.DIRTYPE),
        mode,
        ("x" * 200 + "/long", b"long"),
    )
    target = tmp_path / "deep" / "game"
    run_download(store.job(_directory(target)))
    assert (target / "Game/a.pak").read_bytes() == b"A" * 100_000
    assert (target / "Game/Current").readlink().name == "a.pak"
    assert (target / "Game/b.pak").samefile(target / "Game/a.pak")
    assert (target / "bin/tool").stat().st_mode & 0o7777 == 0o755
    assert (target / "bin/tool").stat().st_uid == os.getuid()
    assert (target / ("x" * 200) / "long").read_bytes() == b"long"
    assert [path.name for path in target.parent.iterdir()] == ["game"]


def _zeros(name: str, size: int) -> bytes:
    """Return an archive with a file of zeros, made fast by repeating one compressed block."""
    header = gzip.compress(_entry(name, tarfile.REGTYPE, size=size).tobuf())
    return header + gzip.compress(bytes(8 * MIB)) * (size // (8 * MIB)) + gzip.compress(bytes(1024))


def _long_header() -> bytes:
    entry = _entry("a", tarfile.XHDTYPE, size=GIB)
    return gzip.compress(entry.tobuf(tarfile.GNU_FORMAT)) + gzip.compress(bytes(MIB))


def _chain(count: int) -> bytes:
    """Return an archive with many long names for one member, which tarfile reads recursively."""
    extension = _entry("a", tarfile.GNUTYPE_LONGNAME, size=1).tobuf() + b"n".ljust(512, b"\0")
    return gzip.compress(extension * count + _entry("a", tarfile.REGTYPE).tobuf() + bytes(1024))


def _globals(count: int) -> bytes:
    """Return an archive with many global headers, which apply until its end."""
    raw = b""
    for number in range(count):
        header = f"21 key{number:05}=12345678\n".encode()
        raw += _entry("g", tarfile.XGLTYPE, size=len(header)).tobuf() + header.ljust(512, b"\0")
        raw += _entry(f"f{number}", tarfile.REGTYPE).tobuf()
    return gzip.compress(raw + bytes(1024))


def _with_mtime(mtime: str) -> tarfile.TarInfo:
    entry = _entry("with-mtime", tarfile.REGTYPE)
    entry.pax_headers = {"mtime": mtime}
    return entry


HOSTILE: dict[str, Callable[[], bytes]] = {
    "absolute": lambda: tarball(("/tmp/buildpixel-hostile", b"x")),  # noqa: S108  # never written
    "dots": lambda: tarball(("../hostile", b"x")),
    "dots-inside": lambda: tarball(("a/../../hostile", b"x")),
    "link-out": lambda: tarball(_entry("l", tarfile.SYMTYPE, "..")),
    "absolute-link": lambda: tarball(_entry("l", tarfile.SYMTYPE, "/etc/passwd")),
    "through-link": lambda: tarball(_entry("l", tarfile.SYMTYPE, "."), ("l/../hostile", b"x")),
    "over-link": lambda: tarball(_entry("l", tarfile.SYMTYPE, "x"), ("l", b"x")),
    "hard-link-out": lambda: tarball(_entry("h", tarfile.LNKTYPE, "../hostile")),
    "device": lambda: tarball(_entry("null", tarfile.CHRTYPE)),
    "block-device": lambda: tarball(_entry("sda", tarfile.BLKTYPE)),
    "pipe": lambda: tarball(_entry("pipe", tarfile.FIFOTYPE)),
    "sparse": lambda: gzip.compress(_entry("s", tarfile.GNUTYPE_SPARSE).tobuf() + bytes(1024)),
    "bomb": lambda: _zeros("bomb", 2 * GIB),
    "huge-header": _long_header,
    "many-headers": lambda: _chain(1000),
    "many-global-headers": lambda: _globals(200),
    "long-path": lambda: tarball(("a/" * 50_000 + "x", b"")),
    "long-link": lambda: tarball(_entry("l", tarfile.SYMTYPE, "a/" * 50_000)),
    "infinite-time": lambda: tarball(_with_mtime("1e300")),
    "invalid-time": lambda: tarball(_with_mtime("nan")),
    "in-a-file": lambda: tarball(("a", b""), ("a/b", b"")),
    "over-a-directory": lambda: tarball(("a/b", b""), ("a", b"")),
    "name-too-long": lambda: tarball(("x" * 300, b"")),
    "hard-link-to-nothing": lambda: tarball(_entry("h", tarfile.LNKTYPE, "nothing")),
}


@pytest.mark.parametrize("archive", HOSTILE.values(), ids=HOSTILE)
def test_hostile_archive(store: FakeStore, tmp_path: Path, archive: Callable[[], bytes]) -> None:
    """A hostile archive is refused, and leaves no file anywhere."""
    store.content = archive()
    (tmp_path / "within").mkdir()
    with pytest.raises(UnexpectedAnswer, match="refused"):
        run_download(store.job(_directory(tmp_path / "within" / "game")))
    assert [path.name for path in tmp_path.rglob("*")] == ["within"]


DAMAGED = {
    "no-gzip": b"this is not an archive" * 100,
    "no-tar": gzip.compress(b"this is not an archive" * 100),
    "cut": tarball(("a", os.urandom(100_000)))[:50_000],
    "cut-tar": gzip.compress(gzip.decompress(tarball(("a", os.urandom(100_000))))[:50_000]),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_damaged_archive(store: FakeStore, tmp_path: Path, content: bytes) -> None:
    """An artifact that matches its checksum but is not an intact gzip tarball is an error."""
    store.content = content
    with pytest.raises(UnexpectedAnswer, match="not an intact gzip tarball"):
        run_download(store.job(_directory(tmp_path / "game")))
    assert not list(tmp_path.iterdir())


def test_bytes_after_the_archive_are_ignored(store: FakeStore, tmp_path: Path) -> None:
    """Bytes after the end of the archive are hashed, and ignored otherwise."""
    store.content = tarball(("a", b"x")) + os.urandom(3_000_000)
    run_download(store.job(_directory(tmp_path / "game")))
    assert (tmp_path / "game/a").read_bytes() == b"x"


def test_gzip_of_many_members_and_padding(store: FakeStore, tmp_path: Path) -> None:
    """A chain of gzip members, padded with zeros, is one archive."""
    raw = gzip.decompress(tarball(("a", b"A" * 300_000)))
    pieces = [gzip.compress(raw[at : at + 65536]) for at in range(0, len(raw), 65536)]
    store.content = (b"\0" * 512).join(pieces) + b"\0" * 70_000
    run_download(store.job(_directory(tmp_path / "game")))
    assert (tmp_path / "game/a").read_bytes() == b"A" * 300_000


def test_directory_is_replaced_as_a_whole(store: FakeStore, tmp_path: Path) -> None:
    """An existing directory is refused without overwrite, and replaced with it."""
    store.content, target = tarball(("new", b"x")), tmp_path / "game"
    target.mkdir()
    run_download(store.job(_directory(target)))
    with pytest.raises(InvalidRequest, match="overwrite=True"):
        run_download(store.job(_directory(target)))
    (target / "old").write_bytes(b"x")
    run_download(store.job(_directory(target), overwrite=True))
    assert [path.name for path in target.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["game"]


def test_leftovers_of_a_killed_try_are_deleted(store: FakeStore, tmp_path: Path) -> None:
    """What a killed try had unpacked does not end up in the directory."""
    store.content = tarball(("new", b"x"))
    staging = tmp_path / ".game.unpacking"
    (staging / "deep").mkdir(parents=True)
    (staging / "deep/file").write_bytes(b"x")
    (staging / "link").symlink_to(tmp_path)
    run_download(store.job(_directory(tmp_path / "game")))
    assert [path.name for path in (tmp_path / "game").iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["game"]


def test_memory_stays_small(store: FakeStore, tmp_path: Path) -> None:
    """An archive of many members is read as a stream, without keeping them in memory."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for number in range(2000):
            tar.addfile(_entry(f"f{number}", tarfile.REGTYPE))
    store.content = gzip.compress(raw.getvalue())
    run_download(store.job(_directory(tmp_path / "game")))
    assert len(list((tmp_path / "game").iterdir())) == 2000
