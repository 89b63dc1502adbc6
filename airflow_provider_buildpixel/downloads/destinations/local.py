"""A local file as destination: it appears complete or not at all."""

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
"""Bytes of one write: for more, Linux allocates memory in larger pieces, at a much higher cost."""

LOCKED_ERRORS = (errno.EWOULDBLOCK, errno.EACCES)


def read_views(read_into: Callable[[memoryview], int | None]) -> Iterator[memoryview]:
    """Yield everything up to the end, in one buffer that is used again."""
    view = memoryview(bytearray(MIB))
    while count := read_into(view):
        yield view[:count]


def lock_file(descriptor: int, name: str) -> None:
    """Lock a file or directory against other tasks; does nothing on file systems without locks.

    :raises BuildPixelError: another task holds the lock.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in LOCKED_ERRORS:
            raise BuildPixelError(f"another task is downloading to {name} right now") from None


def require_free_space(directory: Path, needed: int) -> None:
    """Check that the disk has room for ``needed`` bytes.

    :raises BuildPixelError: it has not.
    """
    free = shutil.disk_usage(directory).free
    if needed + SPARE_BYTES > free:
        raise BuildPixelError(
            f"{directory} has {size_text(free)} free and the artifact still needs "
            f"{size_text(needed)}: free some space, or choose another destination"
        )


def sync_directory(directory: Path) -> None:
    """Make a rename survive a power failure."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class LocalFile:
    """A file. It is written beside its final path as ``….part``, which a later try continues.

    :param path: absolute.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, str(path)
        self.etag: str | None = None
        self._part = path.with_name(f"{path.name}.part")
        self._sidecar = path.with_name(f"{path.name}.part.json")
        self._descriptor = -1

    def existing_size(self) -> int | None:
        """Return the size of the existing file in bytes, None if there is none."""
        if self.path.is_dir():
            raise InvalidRequest(f"{self.name} is a directory: name a file, or set extract=True")
        return self.path.stat().st_size if self.path.exists() else None

    def read_existing(self) -> Iterator[memoryview]:
        """Yield the bytes of the existing file."""
        with self.path.open("rb", buffering=0) as file:
            yield from read_views(file.readinto)

    def open(self, expected: ExpectedArtifact) -> int:
        """Open the part file and return its size; one of another artifact is emptied."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        while not self._is_part_open():
            self.close()
            self._descriptor = self._open_locked()
        stored = self._read_sidecar()
        size = os.fstat(self._descriptor).st_size
        usable = stored is not None and stored.matches(expected)
        if not usable or (expected.size is not None and size > expected.size):
            os.ftruncate(self._descriptor, 0)
            stored, size = None, 0
        self.etag = stored.etag if stored else None
        if expected.size is not None:
            self.check_free_space(expected.size - size)
        return size

    def check_free_space(self, needed: int) -> None:
        """Check that the disk has room for ``needed`` more bytes."""
        require_free_space(self.path.parent, needed)

    def _open_locked(self) -> int:
        descriptor = os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            lock_file(descriptor, self.name)
        except BuildPixelError:
            os.close(descriptor)
            raise
        return descriptor

    def _is_part_open(self) -> bool:
        """Whether the open file is still the part file, which another task may have renamed."""
        try:
            return self._descriptor >= 0 and os.path.samestat(
                os.fstat(self._descriptor), self._part.stat()
            )
        except FileNotFoundError:
            return False

    def _read_sidecar(self) -> PartialDownload | None:
        try:
            return PartialDownload.from_json(json.loads(self._sidecar.read_bytes()))
        except (FileNotFoundError, ValueError):
            return None

    def read_partial(self) -> Iterator[memoryview]:
        """Yield the bytes of the part file."""
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        return read_views(lambda view: os.readv(self._descriptor, [view]))

    def save_progress(self, expected: ExpectedArtifact, etag: str | None) -> None:
        """Store beside the part file which artifact it belongs to."""
        self.etag = etag
        partial = PartialDownload(expected.build_id, expected.size, expected.md5, etag)
        self._sidecar.write_text(json.dumps(partial.to_json()))

    def write(self, views: Iterator[memoryview]) -> None:
        """Append to the part file."""
        os.lseek(self._descriptor, 0, os.SEEK_END)
        for view in views:
            offset = 0
            while offset < len(view):
                offset += os.write(self._descriptor, view[offset : offset + WRITE_SIZE])

    def commit(self) -> None:
        """Flush the part file to the disk, and rename it to the final path."""
        os.fsync(self._descriptor)
        self._part.replace(self.path)
        self._sidecar.unlink(missing_ok=True)
        sync_directory(self.path.parent)

    def discard(self) -> None:
        """Delete the part file."""
        self._sidecar.unlink(missing_ok=True)
        self._part.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Close the part file and keep it, unless it is empty."""
        if self._descriptor < 0:
            return
        if os.fstat(self._descriptor).st_size == 0:
            self._sidecar.unlink(missing_ok=True)
            self._part.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = -1
