"""Unpacks a gzip tarball while it is downloaded, into a directory that appears as a whole."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tarfile
import zlib
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.api.errors import (
    BuildPixelError,
    InvalidRequest,
    UnexpectedAnswer,
)
from airflow_provider_buildpixel.api.text import KIB, MIB, safe_text
from airflow_provider_buildpixel.downloads.destinations.archive_guard import (
    MAX_EXTENSIONS,
    MAX_GLOBALS,
    MAX_HEADER,
    ArchiveGuard,
    ArchiveMember,
    member_refused,
    unpacked_limit,
)
from airflow_provider_buildpixel.downloads.destinations.local import (
    lock_file,
    require_free_space,
    sync_directory,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow_provider_buildpixel.downloads.artifacts import ExpectedArtifact


INPUT_SIZE = 64 * KIB
"""Compressed bytes passed to zlib at a time: it copies what it does not consume."""

GZIP_WINDOW = 16 + zlib.MAX_WBITS
EXTENSION_TYPES = {
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
}
MEMBER_KINDS = {
    tarfile.DIRTYPE: "directory",
    tarfile.SYMTYPE: "symlink",
    tarfile.LNKTYPE: "hardlink",
    tarfile.CHRTYPE: "character device",
    tarfile.BLKTYPE: "block device",
    tarfile.FIFOTYPE: "pipe",
}


MEMBER_ERRORS = (
    *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOENT, errno.ELOOP),
    *(errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.ENOTEMPTY),
)
"""Errors caused by the names and kinds of the members, rather than by the file system's state."""


class BoundedEntry(tarfile.TarInfo):
    """A header that is refused before ``tarfile`` reads unlimited data into memory for it."""

    extensions = 0

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        """Read what follows a header, unless it is refused.

        ``tarfile`` documents this method as the one to override. Newer Pythons, such as 3.14.10, no
        longer call its public ``frombuf``.
        """
        kind = type(self)
        kind.extensions = kind.extensions + 1 if self.type in EXTENSION_TYPES else 0
        if self.type in EXTENSION_TYPES and self.size > MAX_HEADER:
            raise member_refused(self.name, f"has a header of {self.size} bytes")
        if kind.extensions > MAX_EXTENSIONS:
            raise member_refused(self.name, f"has more than {MAX_EXTENSIONS} extended headers")
        if self.type == tarfile.GNUTYPE_SPARSE:
            raise member_refused(self.name, "is a sparse file")
        found: tarfile.TarInfo = super()._proc_member(tar)  # type: ignore[misc]  # see above
        return found


class GzipReader:
    """A file-like reader of the decompressed data of a gzip file with one or more members.

    :param on_unpacked: receives the number of decompressed bytes so far.
    """

    def __init__(self, views: Iterator[memoryview], on_unpacked: Callable[[int], None]) -> None:
        self._chunks = self._split(views)
        self._on_unpacked = on_unpacked
        self._zlib = zlib.decompressobj(GZIP_WINDOW)
        self._input: Any = b""
        self._unpacked = 0
        self._in_member = False

    @staticmethod
    def _split(views: Iterator[memoryview]) -> Iterator[memoryview]:
        for view in views:
            for offset in range(0, len(view), INPUT_SIZE):
                yield view[offset : offset + INPUT_SIZE]

    def read(self, size: int) -> bytes:
        """Return at most ``size`` bytes; none at the end."""
        while self._has_input():
            data = self._zlib.decompress(self._input, size)
            self._in_member = True
            self._input = self._zlib.unconsumed_tail
            if self._zlib.eof:
                self._end_member()
            if data:
                self._unpacked += len(data)
                self._on_unpacked(self._unpacked)
                return data
        return b""

    def _end_member(self) -> None:
        self._input, self._zlib = self._zlib.unused_data, zlib.decompressobj(GZIP_WINDOW)
        self._in_member = False

    def _has_input(self) -> bool:
        """Whether there is input, read now if needed; zeros between two members are padding."""
        while True:
            if not self._in_member and self._unpacked:
                self._input = bytes(self._input).lstrip(b"\0")
            if len(self._input):
                return True
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            self._input = chunk
        if self._in_member:
            raise EOFError("the archive is truncated")
        return False

    def drain(self) -> None:
        """Read the rest of the input without decompressing it."""
        for _ in self._chunks:
            pass


class ExtractedDirectory:
    """A directory, unpacked beside its final path and moved there once it has been verified.

    :param path: absolute.
    :param max_expansion: how many times its size an archive may unpack to.
    :param checksum_decides: whether the checksum is compared; a damaged archive is then reported
        only if the checksum is right.
    """

    def __init__(self, path: Path, *, max_expansion: float, checksum_decides: bool) -> None:
        self.path, self.name = path, str(path)
        self.etag: str | None = None
        self._max_expansion, self._checksum_decides = max_expansion, checksum_decides
        self._staging = path.with_name(f".{path.name}.unpacking")
        self._replaced = path.with_name(f".{path.name}.replaced")
        self._descriptor = -1
        self._limit = float("inf")
        self._damage: UnexpectedAnswer | None = None

    def existing_size(self) -> int | None:
        """Return -1 if something exists, as no size can be compared; None if nothing does.

        An empty directory counts as nothing.
        """
        if self.path.is_dir():
            return -1 if any(self.path.iterdir()) else None
        return -1 if self.path.exists() else None

    def read_existing(self) -> Iterator[memoryview]:
        """Yield nothing: the archive that a directory came from is not stored."""
        return iter(())

    def open(self, expected: ExpectedArtifact) -> int:
        """Create an empty directory to unpack into; return 0."""
        if not hasattr(tarfile, "data_filter"):
            raise InvalidRequest(
                "extract needs a Python whose tarfile has filters: 3.11.4 or newer"
            )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._staging.mkdir(exist_ok=True)
        if self._descriptor < 0:
            self._descriptor = self._open_locked()
        for leftover in self._staging.iterdir():
            _remove(leftover)
        if expected.size is not None:
            self.check_free_space(expected.size)
        announced = expected.size is not None and expected.md5 is not None
        self._checksum_decides = self._checksum_decides and announced
        self._limit = unpacked_limit(expected.size, self._max_expansion)
        return 0

    def _open_locked(self) -> int:
        descriptor = os.open(self._staging, os.O_RDONLY | os.O_CLOEXEC)
        try:
            lock_file(descriptor, self.name)
        except BuildPixelError:
            os.close(descriptor)
            raise
        return descriptor

    def check_free_space(self, needed: int) -> None:
        """Check that the disk has room for the compressed archive, the least that it can need."""
        require_free_space(self.path.parent, needed)

    def read_partial(self) -> Iterator[memoryview]:
        """Yield nothing: a later try does not continue unpacking."""
        return iter(())

    def save_progress(self, expected: ExpectedArtifact, etag: str | None) -> None:
        """Store nothing: a later try does not continue unpacking."""

    def write(self, views: Iterator[memoryview]) -> None:
        """Unpack the archive."""
        guard = ArchiveGuard(self._limit)
        source = GzipReader(views, guard.check_unpacked_size)
        try:
            self._unpack(source, guard)
        except (zlib.error, EOFError, tarfile.ReadError) as error:
            self._damage = UnexpectedAnswer(
                f"the artifact is not an intact gzip tarball: {safe_text(str(error))}"
            )
            if not self._checksum_decides:
                raise self._damage from None
        except (tarfile.TarError, ValueError, ArithmeticError, RecursionError) as error:
            raise UnexpectedAnswer(f"the artifact is refused: {safe_text(str(error))}") from None
        except OSError as error:
            if error.errno not in MEMBER_ERRORS:
                raise
            reason = f"{type(error).__name__}: the names of its members conflict or are unusable"
            raise UnexpectedAnswer(f"the artifact is refused: {reason}") from None
        source.drain()

    def _unpack(self, source: GzipReader, guard: ArchiveGuard) -> None:
        stream: Any = source  # tarfile uses only read() of a file that it reads in order
        entry_class = type("Entry", (BoundedEntry,), {})  # its counter is this archive's
        with tarfile.open(fileobj=stream, mode="r|", bufsize=MIB, tarinfo=entry_class) as tar:
            while (entry := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # else it keeps all of them
                if len(tar.pax_headers) > MAX_GLOBALS:
                    raise member_refused(entry.name, "follows too many global headers")
                guard.check_member(_member(entry))
                tar.extract(entry, self._staging, filter="data")

    def commit(self) -> None:
        """Move the directory to its final path; an existing one is moved away, then deleted."""
        if self._damage is not None:
            raise self._damage
        _remove(self._replaced)
        with contextlib.suppress(FileNotFoundError):
            self.path.rename(self._replaced)
        self._staging.rename(self.path)
        sync_directory(self.path.parent)
        _remove(self._replaced)

    def discard(self) -> None:
        """Delete what was unpacked."""
        if self._descriptor >= 0:
            _remove(self._staging)

    def close(self) -> None:
        """Delete what was not committed."""
        self.discard()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _member(entry: tarfile.TarInfo) -> ArchiveMember:
    kind = "file" if entry.isreg() else MEMBER_KINDS.get(entry.type, "member of unknown kind")
    if entry.issparse():
        kind = "sparse file"
    return ArchiveMember(entry.name, kind, entry.size, entry.linkname)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
