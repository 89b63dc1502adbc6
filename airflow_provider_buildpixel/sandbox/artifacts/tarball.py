"""Artifacts: gzip tarballs of any size, generated chunk by chunk and never wholly in memory.

The content is stored, not compressed. A tarball consists of a head (the gzip header and the tar
header of one big file), blocks of equal length that differ only in the number at their start, and a
tail (the rest of the big file, a small file that names the build, and the end of the archive). The
block that contains a given byte is found by division, and the total length is exactly the requested
one. Checksums take one pass over everything but the tail, once per length.
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

BLOCK_CONTENT = 256 * 1024
_TAR_BLOCK = 512
_MAX_STORED = 65535
_OVERHEAD = 5
_NUMBER = struct.Struct(">Q")
# The content of the tail: a small file with its header, and the end of the archive.
_TAIL_CONTENT = 4 * _TAR_BLOCK


@dataclass(frozen=True)
class Layout:
    """The number of blocks, the length of the big file's end in the tail, and the padding."""

    blocks: int
    fill: int
    padding: int

    @property
    def content(self) -> int:
        """Return the length of the big file."""
        return self.blocks * BLOCK_CONTENT + self.fill


@dataclass(frozen=True)
class Tarball:
    """The artifact of one build."""

    build_id: str
    requested_size: int

    @property
    def size(self) -> int:
        """Return the length in bytes: the requested one, or the minimum if that is larger."""
        return max(self.requested_size, MIN_SIZE)

    @cached_property
    def md5(self) -> bytes:
        """Return the MD5 of the whole tarball."""
        digest = _without_tail(self.size)[0].copy()
        digest.update(self._tail)
        return digest.digest()

    def chunks(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from start to stop, in chunks."""
        stop = self.size if stop is None else min(stop, self.size)
        while start < stop:
            part, skip = self._part(start)
            chunk = part[skip : skip + stop - start]
            start += len(chunk)
            yield chunk

    def _part(self, offset: int) -> tuple[bytes, int]:
        head = _head(self.size)
        if offset < len(head):
            return head, offset
        number, skip = divmod(offset - len(head), _BLOCK_SIZE)
        if number < _layout(self.size).blocks:
            return _block(number), skip
        return self._tail, self._tail_offset(offset)

    def _tail_offset(self, offset: int) -> int:
        return offset - len(_head(self.size)) - _layout(self.size).blocks * _BLOCK_SIZE

    @cached_property
    def _tail(self) -> bytes:
        layout = _layout(self.size)
        content = json.dumps({"buildId": self.build_id}).encode()
        small_file = _tar_header("Build.json", len(content)) + content.ljust(_TAR_BLOCK, b"\0")
        payload = _random_bytes()[: layout.fill] + small_file + bytes(2 * _TAR_BLOCK)
        crc = zlib.crc32(payload, _without_tail(self.size)[1])
        length = _TAR_BLOCK + layout.blocks * BLOCK_CONTENT + len(payload)
        return _stored(payload, final=True) + struct.pack("<II", crc, length & 0xFFFFFFFF)


def _stored(payload: bytes, *, final: bool = False) -> bytes:
    """Return deflate blocks without compression, the same for every version of zlib."""
    blocks = []
    for cut in range(0, len(payload), _MAX_STORED):
        part = payload[cut : cut + _MAX_STORED]
        last = final and cut + _MAX_STORED >= len(payload)
        blocks.append(struct.pack("<BHH", last, len(part), len(part) ^ 0xFFFF) + part)
    return b"".join(blocks)


def _stored_length(payload: int) -> int:
    """Return the stored length of a payload."""
    return payload + _OVERHEAD * -(-payload // _MAX_STORED)


_GZIP_HEADER = 10
_GZIP_TRAILER = 8
_BLOCK_SIZE = _stored_length(BLOCK_CONTENT)
_MIN_TAIL = _stored_length(_TAIL_CONTENT) + _GZIP_TRAILER
MIN_SIZE = _GZIP_HEADER + _stored_length(_TAR_BLOCK) + _MIN_TAIL


def _layout(size: int) -> Layout:
    blocks, left = divmod(size - MIN_SIZE, _BLOCK_SIZE)
    fill = left // _TAR_BLOCK * _TAR_BLOCK
    while _stored_length(_TAIL_CONTENT + fill) - _stored_length(_TAIL_CONTENT) > left:
        fill -= _TAR_BLOCK
    return Layout(
        blocks, fill, left - (_stored_length(_TAIL_CONTENT + fill) - _stored_length(_TAIL_CONTENT))
    )


def _tar_header(name: str, size: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry.tobuf(tarfile.GNU_FORMAT)


@lru_cache(maxsize=64)
def _head(size: int) -> bytes:
    layout = _layout(size)
    # A comment in the gzip header pads the file to the requested size.
    comment = b"." * (layout.padding - 1) + b"\0" if layout.padding else b""
    flags = 0x10 if comment else 0
    header = struct.pack("<BBBBIBB", 0x1F, 0x8B, 8, flags, 0, 0, 255)
    return header + comment + _stored(_first_entry(layout))


def _first_entry(layout: Layout) -> bytes:
    return _tar_header("Game/Content/Paks/pakchunk0.pak", layout.content)


@lru_cache(maxsize=1)
def _random_bytes() -> bytes:
    return random.Random(20260510).randbytes(BLOCK_CONTENT)  # noqa: S311  # content, not a secret


@lru_cache(maxsize=1)
def _block_header() -> bytes:
    return _stored(_random_bytes())[:_OVERHEAD]


@lru_cache(maxsize=1)
def _after_number() -> bytes:
    return _stored(_random_bytes())[_OVERHEAD + _NUMBER.size :]


@lru_cache(maxsize=4)
def _block(number: int) -> bytes:
    return _block_header() + _NUMBER.pack(number) + _after_number()


@lru_cache(maxsize=64)
def _without_tail(size: int) -> tuple[hashlib._Hash, int]:
    """Return the MD5 of the file and the CRC-32 of its content, both without the tail."""
    layout = _layout(size)
    md5 = hashlib.md5(_head(size), usedforsecurity=False)
    crc = zlib.crc32(_first_entry(layout))
    header, rest = _block_header(), _after_number()
    content = memoryview(_random_bytes())[_NUMBER.size :]
    for number in range(layout.blocks):
        number_bytes = _NUMBER.pack(number)
        md5.update(header + number_bytes)
        md5.update(rest)
        crc = zlib.crc32(content, zlib.crc32(number_bytes, crc))
    return md5, crc
