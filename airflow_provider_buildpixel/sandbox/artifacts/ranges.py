"""The byte range that a download request asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_SINGLE_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(frozen=True)
class ByteRange:
    """Bytes from start up to, not including, stop; the whole file if it is not partial."""

    start: int
    stop: int
    partial: bool

    def shifted(self, shift: int, size: int) -> ByteRange:
        """Return a range that starts and ends `shift` bytes later."""
        start = min(self.start + shift, size - 1)
        return ByteRange(start, min(self.stop + shift, size), self.partial)


class RangeNotSatisfiable(Exception):
    """No byte of a file of this size is in the requested range."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


def requested_range(headers: Mapping[str, str], size: int, etag: str, modified: str) -> ByteRange:
    """Return the range to send; a malformed, multiple or outdated range means the whole file.

    :raises RangeNotSatisfiable: if the range is beyond the end of the file.
    """
    whole = ByteRange(0, size, partial=False)
    match = _SINGLE_RANGE.fullmatch(headers.get("Range", "").replace(" ", ""))
    if match is None or match.groups() == ("", ""):
        return whole
    if headers.get("If-Range", etag) not in {etag, modified}:
        return whole
    first, last = match.groups()
    if not first:
        return _satisfiable(max(size - int(last), 0), size, size)
    stop = min(int(last) + 1, size) if last else size
    if last and int(last) < int(first):
        return whole
    return _satisfiable(int(first), stop, size)


def _satisfiable(start: int, stop: int, size: int) -> ByteRange:
    if start >= size or start >= stop:
        raise RangeNotSatisfiable(size)
    return ByteRange(start, stop, partial=True)
