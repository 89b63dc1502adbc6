"""Which bytes of a file are asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_ONE_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(frozen=True)
class Span:
    """Bytes from start up to, not including, stop; the whole file if it is not partial."""

    start: int
    stop: int
    partial: bool

    def shifted(self, shift: int, size: int) -> Span:
        """Return a span of other bytes than those asked for."""
        start = min(self.start + shift, size - 1)
        return Span(start, min(self.stop + shift, size), self.partial)


class Unsatisfiable(Exception):
    """No byte of the file is in the range; it has so many."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


def span_asked(headers: Mapping[str, str], size: int, etag: str, modified: str) -> Span:
    """Return what a request asks for; odd, several or outdated ranges mean the whole."""
    whole = Span(0, size, partial=False)
    asked = _ONE_RANGE.fullmatch(headers.get("Range", "").replace(" ", ""))
    if asked is None or asked.groups() == ("", ""):
        return whole
    if headers.get("If-Range", etag) not in {etag, modified}:
        return whole
    first, last = asked.groups()
    if not first:
        return _checked(max(size - int(last), 0), size, size)
    stop = min(int(last) + 1, size) if last else size
    if last and int(last) < int(first):
        return whole
    return _checked(int(first), stop, size)


def _checked(start: int, stop: int, size: int) -> Span:
    if start >= size or start >= stop:
        raise Unsatisfiable(size)
    return Span(start, stop, partial=True)
