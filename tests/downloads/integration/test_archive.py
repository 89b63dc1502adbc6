"""Archives as they come, and as nobody should send them, unpacked while they are downloaded."""

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

    from tests.downloads.integration.stores import Shop


def _directory(path: Path, *, patient: bool = True) -> ExtractedDirectory:
    return ExtractedDirectory(path, expansion=50.0, checksum_decides=patient)


def _entry(name: str, kind: bytes, link: str = "", size: int = 0) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname, entry.size = kind, link, size
    return entry


def test_unpacks(shop: Shop, tmp_path: Path) -> None:
    """Files, directories and links inside arrive; owners and set-uid bits do not."""
    mode = _entry("bin/tool", tarfile.REGTYPE)
    mode.mode, mode.uid = 0o4755, 12345
    shop.content = tarball(
        ("Game/a.pak", b"A" * 100_000),
        _entry("Game/Current", tarfile.SYMTYPE, "a.pak"),
        _entry("Game/b.pak", tarfile.LNKTYPE, "Game/a.pak"),
        _entry("empty", tarfile.DIRTYPE),
        mode,
        ("x" * 200 + "/long", b"long"),
    )
    target = tmp_path / "deep" / "game"
    run_download(shop.download(_directory(target)))
    assert (target / "Game/a.pak").read_bytes() == b"A" * 100_000
    assert (target / "Game/Current").readlink().name == "a.pak"
    assert (target / "Game/b.pak").samefile(target / "Game/a.pak")
    assert (target / "bin/tool").stat().st_mode & 0o7777 == 0o755
    assert (target / "bin/tool").stat().st_uid == os.getuid()
    assert (target / ("x" * 200) / "long").read_bytes() == b"long"
    assert [path.name for path in target.parent.iterdir()] == ["game"]


def _zeros(name: str, size: int) -> bytes:
    """Pack a file of zeros of any size in no time: one compressed block, again and again."""
    header = gzip.compress(_entry(name, tarfile.REGTYPE, size=size).tobuf())
    return header + gzip.compress(bytes(8 * MIB)) * (size // (8 * MIB)) + gzip.compress(bytes(1024))


def _long_header() -> bytes:
    entry = _entry("a", tarfile.XHDTYPE, size=GIB)
    return gzip.compress(entry.tobuf(tarfile.GNU_FORMAT)) + gzip.compress(bytes(MIB))


def _chain(count: int) -> bytes:
    """Pack so many long names for one member: each of them is read by recursion."""
    extension = _entry("a", tarfile.GNUTYPE_LONGNAME, size=1).tobuf() + b"n".ljust(512, b"\0")
    return gzip.compress(extension * count + _entry("a", tarfile.REGTYPE).tobuf() + bytes(1024))


def _globals(count: int) -> bytes:
    """Pack so many global headers, which hold up to the archive's end."""
    raw = b""
    for number in range(count):
        header = f"21 key{number:05}=12345678\n".encode()
        raw += _entry("g", tarfile.XGLTYPE, size=len(header)).tobuf() + header.ljust(512, b"\0")
        raw += _entry(f"f{number}", tarfile.REGTYPE).tobuf()
    return gzip.compress(raw + bytes(1024))


def _dated(when: str) -> tarfile.TarInfo:
    entry = _entry("dated", tarfile.REGTYPE)
    entry.pax_headers = {"mtime": when}
    return entry


HOSTILE: dict[str, Callable[[], bytes]] = {
    "absolute": lambda: tarball(("/tmp/buildpixel-hostile", b"x")),  # never written
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
    "never": lambda: tarball(_dated("1e300")),
    "no-time": lambda: tarball(_dated("nan")),
    "in-a-file": lambda: tarball(("a", b""), ("a/b", b"")),
    "over-a-directory": lambda: tarball(("a/b", b""), ("a", b"")),
    "name-too-long": lambda: tarball(("x" * 300, b"")),
    "hard-link-to-nothing": lambda: tarball(_entry("h", tarfile.LNKTYPE, "nothing")),
}


@pytest.mark.parametrize("archive", HOSTILE.values(), ids=HOSTILE)
def test_hostile_archive(shop: Shop, tmp_path: Path, archive: Callable[[], bytes]) -> None:
    """A hostile archive is refused, and leaves nothing anywhere."""
    shop.content = archive()
    (tmp_path / "within").mkdir()
    with pytest.raises(UnexpectedAnswer, match="refused"):
        run_download(shop.download(_directory(tmp_path / "within" / "game")))
    assert [path.name for path in tmp_path.rglob("*")] == ["within"]


DAMAGED = {
    "no-gzip": b"this is no archive" * 100,
    "no-tar": gzip.compress(b"this is no archive" * 100),
    "cut": tarball(("a", os.urandom(100_000)))[:50_000],
    "cut-tar": gzip.compress(gzip.decompress(tarball(("a", os.urandom(100_000))))[:50_000]),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_damaged_archive(shop: Shop, tmp_path: Path, content: bytes) -> None:
    """What is no intact gzip tarball, though it is what was announced, is said to be none."""
    shop.content = content
    with pytest.raises(UnexpectedAnswer, match="no intact gzip tarball"):
        run_download(shop.download(_directory(tmp_path / "game")))
    assert not list(tmp_path.iterdir())


def test_what_follows_the_archive_does_not_matter(shop: Shop, tmp_path: Path) -> None:
    """Bytes behind the end of the archive are hashed, and not looked at otherwise."""
    shop.content = tarball(("a", b"x")) + os.urandom(3_000_000)
    run_download(shop.download(_directory(tmp_path / "game")))
    assert (tmp_path / "game/a").read_bytes() == b"x"


def test_gzip_of_many_members_and_padding(shop: Shop, tmp_path: Path) -> None:
    """A chain of gzip members, padded with zeros, is one archive."""
    raw = gzip.decompress(tarball(("a", b"A" * 300_000)))
    pieces = [gzip.compress(raw[at : at + 65536]) for at in range(0, len(raw), 65536)]
    shop.content = (b"\0" * 512).join(pieces) + b"\0" * 70_000
    run_download(shop.download(_directory(tmp_path / "game")))
    assert (tmp_path / "game/a").read_bytes() == b"A" * 300_000


def test_directory_is_replaced_as_a_whole(shop: Shop, tmp_path: Path) -> None:
    """A directory that is there is refused without overwrite, and with it replaced."""
    shop.content, target = tarball(("new", b"x")), tmp_path / "game"
    target.mkdir()
    run_download(shop.download(_directory(target)))
    with pytest.raises(InvalidRequest, match="overwrite=True"):
        run_download(shop.download(_directory(target)))
    (target / "old").write_bytes(b"x")
    run_download(shop.download(_directory(target), overwrite=True))
    assert [path.name for path in target.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["game"]


def test_leftovers_of_a_killed_try_are_cleared(shop: Shop, tmp_path: Path) -> None:
    """What an earlier try had unpacked when it was killed does not end up in the directory."""
    shop.content = tarball(("new", b"x"))
    left = tmp_path / ".game.unpacking"
    (left / "deep").mkdir(parents=True)
    (left / "deep/file").write_bytes(b"x")
    (left / "link").symlink_to(tmp_path)
    run_download(shop.download(_directory(tmp_path / "game")))
    assert [path.name for path in (tmp_path / "game").iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["game"]


def test_memory_stays_small(shop: Shop, tmp_path: Path) -> None:
    """Many members are not remembered: the archive is read as a stream."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for number in range(2000):
            tar.addfile(_entry(f"f{number}", tarfile.REGTYPE))
    shop.content = gzip.compress(raw.getvalue())
    run_download(shop.download(_directory(tmp_path / "game")))
    assert len(list((tmp_path / "game").iterdir())) == 2000
