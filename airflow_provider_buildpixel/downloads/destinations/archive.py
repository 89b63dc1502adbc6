"""Unpacks a gzip tarball while it comes in, safely, into a directory that appears as a whole."""

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
from airflow_provider_buildpixel.api.text import KIB, MIB, shown
from airflow_provider_buildpixel.downloads.destinations.archive_guard import (
    MAX_EXTENSIONS,
    MAX_GLOBALS,
    MAX_HEADER,
    ArchiveGuard,
    ArchiveMember,
    limit_for,
    member_refused,
)
from airflow_provider_buildpixel.downloads.destinations.local import (
    check_free_space,
    lock_file,
    sync_directory,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow_provider_buildpixel.downloads.artifacts import ExpectedArtifact


INPUT_SIZE = 64 * KIB
"""Compressed bytes given to zlib at a time: what it leaves over is copied each time."""

GZIP = 16 + zlib.MAX_WBITS
EXTENSIONS = {
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
"""What a file system says of names and kinds that do not go together, rather than of itself."""


class BoundedEntry(tarfile.TarInfo):
    """A header, refused before ``tarfile`` reads something endless into memory for it."""

    extensions = 0

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        """Read what comes after a header, unless it is refused.

        ``tarfile`` names this as the place for subclasses. Newer Pythons, such as 3.14.10, do not
        call its public ``frombuf`` any more.
        """
        kind = type(self)
        kind.extensions = kind.extensions + 1 if self.type in EXTENSIONS else 0
        if self.type in EXTENSIONS and self.size > MAX_HEADER:
            raise member_refused(self.name, f"has a header of {self.size} bytes")
        if kind.extensions > MAX_EXTENSIONS:
            raise member_refused(self.name, f"has more than {MAX_EXTENSIONS} extended headers")
        if self.type == tarfile.GNUTYPE_SPARSE:
            raise member_refused(self.name, "is a sparse file")
        found: tarfile.TarInfo = super()._proc_member(tar)  # type: ignore[misc]  # see above
        return found


class GzipReader:
    """What comes out of a gzip file of one or more members, as a file to read from."""

    def __init__(self, views: Iterator[memoryview], expanded: Callable[[int], None]) -> None:
        self._pieces = self._cut(views)
        self._expanded = expanded
        self._zlib = zlib.decompressobj(GZIP)
        self._input: Any = b""
        self._count = 0
        self._begun = False

    @staticmethod
    def _cut(views: Iterator[memoryview]) -> Iterator[memoryview]:
        for view in views:
            for at in range(0, len(view), INPUT_SIZE):
                yield view[at : at + INPUT_SIZE]

    def read(self, size: int) -> bytes:
        """Give some bytes, at most so many; none at the end."""
        while self._fill():
            data = self._zlib.decompress(self._input, size)
            self._begun = True
            self._input = self._zlib.unconsumed_tail
            if self._zlib.eof:
                self._next_member()
            if data:
                self._count += len(data)
                self._expanded(self._count)
                return data
        return b""

    def _next_member(self) -> None:
        self._input, self._zlib = self._zlib.unused_data, zlib.decompressobj(GZIP)
        self._begun = False

    def _fill(self) -> bool:
        """Make sure that there is input; between two members zeros are padding."""
        while True:
            if not self._begun:
                self._input = bytes(self._input).lstrip(b"\0") if self._count else self._input
            if len(self._input):
                return True
            piece = next(self._pieces, None)
            if piece is None:
                return self._ended()
            self._input = piece

    def _ended(self) -> bool:
        if self._begun:
            raise EOFError("the archive ends in the middle")
        return False

    def drain(self) -> None:
        """Let the rest pass by, without looking at it."""
        for _ in self._pieces:
            pass


class ExtractedDirectory:
    """A directory, unpacked beside its place and moved there when all of it has been verified.

    :param path: absolute.
    :param expansion: how many times its size an archive may unpack to.
    :param checksum_decides: whether the checksum will tell if the archive is damaged; then the damage is
        reported after it.
    """

    def __init__(self, path: Path, *, expansion: float, checksum_decides: bool) -> None:
        self.path, self.name = path, str(path)
        self.etag: str | None = None
        self._expansion, self._checksum_decides = expansion, checksum_decides
        self._work = path.with_name(f".{path.name}.unpacking")
        self._old = path.with_name(f".{path.name}.replaced")
        self._descriptor = -1
        self._limit = float("inf")
        self._damage: UnexpectedAnswer | None = None

    def present(self) -> int | None:
        """Tell whether there is something already; an empty directory is nothing."""
        if self.path.is_dir():
            return -1 if any(self.path.iterdir()) else None
        return -1 if self.path.exists() else None

    def content(self) -> Iterator[memoryview]:
        """Give nothing: a directory does not tell which archive it came from."""
        return iter(())

    def begin(self, expected: ExpectedArtifact) -> int:
        """Make an empty directory to unpack into."""
        if not hasattr(tarfile, "data_filter"):
            raise InvalidRequest(
                "extract needs a Python whose tarfile has filters: 3.11.4 or newer"
            )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._work.mkdir(exist_ok=True)
        if self._descriptor < 0:
            self._descriptor = self._opened()
        for left_over in self._work.iterdir():
            _remove(left_over)
        if expected.size is not None:
            self.reserve(expected.size)
        known = expected.size is not None and expected.md5 is not None
        self._checksum_decides = self._checksum_decides and known
        self._limit = limit_for(expected.size, self._expansion)
        return 0

    def _opened(self) -> int:
        descriptor = os.open(self._work, os.O_RDONLY | os.O_CLOEXEC)
        try:
            lock_file(descriptor, self.name)
        except BuildPixelError:
            os.close(descriptor)
            raise
        return descriptor

    def reserve(self, needed: int) -> None:
        """Check the room for the archive as it is packed: the least that it can need."""
        check_free_space(self.path.parent, needed)

    def left(self) -> Iterator[memoryview]:
        """Give nothing: unpacking is not continued by a later try."""
        return iter(())

    def note(self, expected: ExpectedArtifact, etag: str | None) -> None:
        """Write nothing down: unpacking is not continued by a later try."""

    def consume(self, views: Iterator[memoryview]) -> None:
        """Unpack."""
        guard = ArchiveGuard(self._limit)
        source = GzipReader(views, guard.expanded)
        try:
            self._unpack(source, guard)
        except (zlib.error, EOFError, tarfile.ReadError) as error:
            self._damage = UnexpectedAnswer(
                f"the artifact is no intact gzip tarball: {shown(str(error))}"
            )
            if not self._checksum_decides:
                raise self._damage from None
        except (tarfile.TarError, ValueError, ArithmeticError, RecursionError) as error:
            raise UnexpectedAnswer(f"the artifact is refused: {shown(str(error))}") from None
        except OSError as error:
            if error.errno not in MEMBER_ERRORS:
                raise
            why = f"{type(error).__name__}: its members do not go together"
            raise UnexpectedAnswer(f"the artifact is refused: {why}") from None
        source.drain()

    def _unpack(self, source: GzipReader, guard: ArchiveGuard) -> None:
        stream: Any = source  # all that tarfile asks of a file to read from in order is read()
        counting = type("Entry", (BoundedEntry,), {})  # its count is this archive's
        with tarfile.open(fileobj=stream, mode="r|", bufsize=MIB, tarinfo=counting) as tar:
            while (entry := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # else it remembers all of them
                if len(tar.pax_headers) > MAX_GLOBALS:
                    raise member_refused(entry.name, "comes after too many global headers")
                guard.admit(_member(entry))
                tar.extract(entry, self._work, filter="data")

    def commit(self) -> None:
        """Put the directory in its place; what was there is moved away first and then deleted."""
        if self._damage is not None:
            raise self._damage
        _remove(self._old)
        with contextlib.suppress(FileNotFoundError):
            self.path.rename(self._old)
        self._work.rename(self.path)
        sync_directory(self.path.parent)
        _remove(self._old)

    def discard(self) -> None:
        """Delete what was unpacked."""
        if self._descriptor >= 0:
            _remove(self._work)

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
