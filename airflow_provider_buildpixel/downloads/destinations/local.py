"""Where an artifact goes, and the usual such place: a file that appears whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from typing import TYPE_CHECKING

from airflow_provider_buildpixel.api.errors import BuildPixelError, InvalidRequest
from airflow_provider_buildpixel.api.text import KIB, MIB, size_text
from airflow_provider_buildpixel.downloads.artifacts import PartialDownload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow_provider_buildpixel.downloads.artifacts import ExpectedArtifact


SPARE_BYTES = 64 * MIB
"""Bytes that stay free on the disk."""

WRITE_SIZE = 32 * KIB
"""Bytes of one write: for more, Linux takes memory in larger pieces, which can be much dearer."""

LOCKED_ERRORS = (errno.EWOULDBLOCK, errno.EACCES)


def read_views(read_into: Callable[[memoryview], int | None]) -> Iterator[memoryview]:
    """Read to the end, into one buffer."""
    view = memoryview(bytearray(MIB))
    while count := read_into(view):
        yield view[:count]


def lock_file(descriptor: int, name: str) -> None:
    """Make sure that no other task writes here; file systems without locks are trusted.

    :raises BuildPixelError: another one does.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in LOCKED_ERRORS:
            raise BuildPixelError(f"another task is downloading to {name} just now") from None


def check_free_space(directory: Path, needed: int) -> None:
    """Check the free space.

    :raises BuildPixelError: it is not enough.
    """
    free = shutil.disk_usage(directory).free
    if needed + SPARE_BYTES > free:
        raise BuildPixelError(
            f"{directory} has {size_text(free)} free and the artifact still needs "
            f"{size_text(needed)}: free some, or choose another destination"
        )


def sync_directory(directory: Path) -> None:
    """Make a rename survive a power failure."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class LocalFile:
    """A file. It is written beside its place as ``….part``, which a later try continues.

    :param path: absolute.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, str(path)
        self.etag: str | None = None
        self._part = path.with_name(f"{path.name}.part")
        self._note = path.with_name(f"{path.name}.part.json")
        self._descriptor = -1

    def present(self) -> int | None:
        """Give the size of the file that is there already."""
        if self.path.is_dir():
            raise InvalidRequest(f"{self.name} is a directory: name a file, or set extract=True")
        return self.path.stat().st_size if self.path.exists() else None

    def content(self) -> Iterator[memoryview]:
        """Give the bytes of the file that is there already."""
        with self.path.open("rb", buffering=0) as file:
            yield from read_views(file.readinto)

    def begin(self, expected: ExpectedArtifact) -> int:
        """Open the part file; one of another artifact is emptied."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        while not self._is_part():
            self.close()
            self._descriptor = self._opened()
        facts = self._facts()
        size = os.fstat(self._descriptor).st_size
        kept = facts is not None and facts.belongs_to(expected)
        if not kept or (expected.size is not None and size > expected.size):
            os.ftruncate(self._descriptor, 0)
            facts, size = None, 0
        self.etag = facts.etag if facts else None
        if expected.size is not None:
            self.reserve(expected.size - size)
        return size

    def reserve(self, needed: int) -> None:
        """Check the room on the disk."""
        check_free_space(self.path.parent, needed)

    def _opened(self) -> int:
        descriptor = os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            lock_file(descriptor, self.name)
        except BuildPixelError:
            os.close(descriptor)
            raise
        return descriptor

    def _is_part(self) -> bool:
        """Tell whether what is open is still the part file, which another task may have renamed."""
        try:
            return self._descriptor >= 0 and os.path.samestat(
                os.fstat(self._descriptor), self._part.stat()
            )
        except FileNotFoundError:
            return False

    def _facts(self) -> PartialDownload | None:
        try:
            return PartialDownload.from_json(json.loads(self._note.read_bytes()))
        except (FileNotFoundError, ValueError):
            return None

    def left(self) -> Iterator[memoryview]:
        """Give the bytes of the part file, and get ready to write behind them."""
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        return read_views(lambda view: os.readv(self._descriptor, [view]))

    def note(self, expected: ExpectedArtifact, etag: str | None) -> None:
        """Write down beside the part file what it is a part of."""
        self.etag = etag
        facts = PartialDownload(expected.build_id, expected.size, expected.md5, etag)
        self._note.write_text(json.dumps(facts.to_json()))

    def consume(self, views: Iterator[memoryview]) -> None:
        """Write behind what is there."""
        os.lseek(self._descriptor, 0, os.SEEK_END)
        for view in views:
            at = 0
            while at < len(view):
                at += os.write(self._descriptor, view[at : at + WRITE_SIZE])

    def commit(self) -> None:
        """Put the part file, once it is safely on the disk, in the place of the file."""
        os.fsync(self._descriptor)
        self._part.replace(self.path)
        self._note.unlink(missing_ok=True)
        sync_directory(self.path.parent)

    def discard(self) -> None:
        """Delete the part file."""
        self._note.unlink(missing_ok=True)
        self._part.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Close the part file and let it lie; an empty one is no use."""
        if self._descriptor < 0:
            return
        if os.fstat(self._descriptor).st_size == 0:
            self._note.unlink(missing_ok=True)
            self._part.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = -1
