"""Artifacts: gzip tarballs of any size that are never in memory as a whole.

They are stored, not compressed: a head (the gzip header and the tar header of one big file),
middles of equal length that differ in the number they begin with, and a tail (the rest of the big
file, a small file that names the build, and the end). So any byte is found by division, and the
length comes out exactly as asked. Checksums take one pass over all but the tail, once per length.
"""

from __future__ import annotations

import hashlib
import json
import random
import struct
import tarfile
import zlib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PAYLOAD = 256 * 1024
_TAR_BLOCK = 512
_MOST_STORED = 65535
_OVERHEAD = 5
_NUMBER = struct.Struct(">Q")
# A small file with its header, and the end of the archive.
_ENDING = 4 * _TAR_BLOCK


@dataclass(frozen=True)
class Layout:
    """How many middles there are, how much of the big file is in the tail, and the padding."""

    middles: int
    fill: int
    padding: int

    @property
    def content(self) -> int:
        """Return the length of the big file."""
        return self.middles * PAYLOAD + self.fill


@dataclass(frozen=True)
class Tarball:
    """The artifact of one build."""

    build_id: str
    wanted: int

    @property
    def size(self) -> int:
        """Return the length in bytes: what was wanted, unless no tarball is that short."""
        return max(self.wanted, LEAST)

    @cached_property
    def md5(self) -> bytes:
        """Return the checksum of the whole."""
        digest = _without_tail(self.size)[0].copy()
        digest.update(self._tail)
        return digest.digest()

    def pieces(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from start to stop."""
        stop = self.size if stop is None else min(stop, self.size)
        while start < stop:
            part, skip = self._part(start)
            piece = part[skip : skip + stop - start]
            start += len(piece)
            yield piece

    def _part(self, offset: int) -> tuple[bytes, int]:
        head = _head(self.size)
        if offset < len(head):
            return head, offset
        number, skip = divmod(offset - len(head), _MIDDLE)
        if number < _layout(self.size).middles:
            return _middle(number), skip
        return self._tail, self._tail_offset(offset)

    def _tail_offset(self, offset: int) -> int:
        return offset - len(_head(self.size)) - _layout(self.size).middles * _MIDDLE

    @cached_property
    def _tail(self) -> bytes:
        layout = _layout(self.size)
        facts = json.dumps({"buildId": self.build_id}).encode()
        about = _tar_header("Build.json", len(facts)) + facts.ljust(_TAR_BLOCK, b"\0")
        payload = _noise()[: layout.fill] + about + bytes(2 * _TAR_BLOCK)
        crc = zlib.crc32(payload, _without_tail(self.size)[1])
        length = _TAR_BLOCK + layout.middles * PAYLOAD + len(payload)
        return _stored(payload, final=True) + struct.pack("<II", crc, length & 0xFFFFFFFF)


def _stored(payload: bytes, *, final: bool = False) -> bytes:
    """Return deflate blocks without compression, cut in the same way by every zlib."""
    blocks = []
    for cut in range(0, len(payload), _MOST_STORED):
        part = payload[cut : cut + _MOST_STORED]
        last = final and cut + _MOST_STORED >= len(payload)
        blocks.append(struct.pack("<BHH", last, len(part), len(part) ^ 0xFFFF) + part)
    return b"".join(blocks)


def _length(payload: int) -> int:
    """Return how long so much payload is when stored."""
    return payload + _OVERHEAD * -(-payload // _MOST_STORED)


_GZIP_HEADER = 10
_GZIP_TRAILER = 8
_MIDDLE = _length(PAYLOAD)
_LEAST_TAIL = _length(_ENDING) + _GZIP_TRAILER
LEAST = _GZIP_HEADER + _length(_TAR_BLOCK) + _LEAST_TAIL


def _layout(size: int) -> Layout:
    middles, left = divmod(size - LEAST, _MIDDLE)
    fill = left // _TAR_BLOCK * _TAR_BLOCK
    while _length(_ENDING + fill) - _length(_ENDING) > left:
        fill -= _TAR_BLOCK
    return Layout(middles, fill, left - (_length(_ENDING + fill) - _length(_ENDING)))


def _tar_header(name: str, size: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry.tobuf(tarfile.GNU_FORMAT)


@lru_cache(maxsize=64)
def _head(size: int) -> bytes:
    layout = _layout(size)
    # A comment in the gzip header makes up for what the blocks leave over.
    comment = b"." * (layout.padding - 1) + b"\0" if layout.padding else b""
    flags = 0x10 if comment else 0
    header = struct.pack("<BBBBIBB", 0x1F, 0x8B, 8, flags, 0, 0, 255)
    return header + comment + _stored(_first_entry(layout))


def _first_entry(layout: Layout) -> bytes:
    return _tar_header("Game/Content/Paks/pakchunk0.pak", layout.content)


@lru_cache(maxsize=1)
def _noise() -> bytes:
    return random.Random(20260510).randbytes(PAYLOAD)


@lru_cache(maxsize=1)
def _opening() -> bytes:
    return _stored(_noise())[:_OVERHEAD]


@lru_cache(maxsize=1)
def _after_number() -> bytes:
    return _stored(_noise())[_OVERHEAD + _NUMBER.size :]


@lru_cache(maxsize=4)
def _middle(number: int) -> bytes:
    return _opening() + _NUMBER.pack(number) + _after_number()


@lru_cache(maxsize=64)
def _without_tail(size: int) -> tuple[hashlib._Hash, int]:
    """Return the MD5 of the file and the CRC of its content, both up to the tail."""
    layout = _layout(size)
    md5 = hashlib.md5(_head(size), usedforsecurity=False)
    crc = zlib.crc32(_first_entry(layout))
    opening, rest = _opening(), _after_number()
    content = memoryview(_noise())[_NUMBER.size :]
    for number in range(layout.middles):
        stamp = _NUMBER.pack(number)
        md5.update(opening + stamp)
        md5.update(rest)
        crc = zlib.crc32(content, zlib.crc32(stamp, crc))
    return md5, crc
