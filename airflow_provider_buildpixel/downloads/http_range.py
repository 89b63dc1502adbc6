"""What a store's answer to a request for the rest of a file means."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


# More digits than 18 are no size of anything, and longer ones are an error of int() itself.
_NUMBER = "[0-9]{1,18}"
_CONTENT_RANGE = re.compile(
    rf"\s*bytes\s+(?:({_NUMBER})-({_NUMBER})|\*)/({_NUMBER}|\*)\s*", re.IGNORECASE
)
_DIGITS = re.compile(_NUMBER)

URL_REFUSED_STATUSES = (400, 401, 403)
"""How stores say that a signed URL is not good, or no longer."""

GONE_STATUSES = (404, 410)
TEMPORARY_STATUSES = (408, 425, 429)


@dataclass(frozen=True)
class RangeRequest:
    """The bytes that are wanted.

    :param start: the first of them.
    :param stop: the one after the last; None is the end of the file.
    :param ranged: False to ask for the whole, where the server's ranges cannot be trusted.
    """

    start: int
    stop: int | None = None
    ranged: bool = True

    @property
    def headers(self) -> dict[str, str]:
        """The request's headers: as stored, from here on."""
        # The first request is for a range too: the answer tells the size, and if there are ranges.
        last = "" if self.stop is None else self.stop - 1
        wanted = {"Range": f"bytes={self.start}-{last}"} if self.ranged else {}
        return {"Accept-Encoding": "identity", **wanted}


@dataclass(frozen=True)
class FileInfo:
    """What is known of the file before an answer; None is unknown."""

    size: int | None = None
    etag: str | None = None

    def learn(self, body: RangeBody) -> FileInfo:
        """Add what an answer tells."""
        size = self.size if self.size is not None else body.total
        return FileInfo(size, self.etag if self.etag is not None else body.etag)


@dataclass(frozen=True)
class RangeBody:
    """Bytes of the file follow.

    :param start: place of the first of them in the file.
    :param length: how many follow, None if the answer does not say.
    :param total: size of the whole file, None if the answer does not say.
    :param ranged: whether the server gives ranges.
    """

    start: int
    length: int | None
    total: int | None
    etag: str | None
    ranged: bool


@dataclass(frozen=True)
class FileComplete:
    """There are no more bytes: what is there is the whole file."""


@dataclass(frozen=True)
class UrlExpired:
    """The signed URL is refused: a fresh one is needed."""

    status: int


@dataclass(frozen=True)
class RetryLater:
    """It may work later.

    :param wait: seconds to wait as the server asks, None if it does not say.
    """

    reason: str
    wait: float | None = None


@dataclass(frozen=True)
class BadRange:
    """The range in the answer is not the one asked for: ask for the whole file instead."""

    reason: str


@dataclass(frozen=True)
class FileChanged:
    """What answers now is another file than the one begun with: begin anew."""

    reason: str


@dataclass(frozen=True)
class WrongSize:
    """The file has another size than BuildPixel announced."""

    found: int


@dataclass(frozen=True)
class FileGone:
    """The file is not there."""

    status: int


@dataclass(frozen=True)
class RequestRefused:
    """Nothing that asking again could change."""

    status: int


RangeResult = (
    RangeBody
    | FileComplete
    | UrlExpired
    | RetryLater
    | BadRange
    | FileChanged
    | WrongSize
    | FileGone
    | RequestRefused
)


def classify_response(
    status: int, headers: Mapping[str, str], wish: RangeRequest, known: FileInfo
) -> RangeResult:
    """Say what an answer means.

    :param headers: with names in lower case.
    """
    if status == 200:
        return _checked(_whole(headers), known)
    if status == 206:
        return _part(headers, wish, known)
    if status == 416:
        return _beyond(headers, wish, known)
    if status in TEMPORARY_STATUSES or status >= 500:
        return RetryLater(f"HTTP {status}", _retry_after(headers))
    return UrlExpired(status) if status in URL_REFUSED_STATUSES else _permanent(status)


def _permanent(status: int) -> FileGone | RequestRefused:
    return FileGone(status) if status in GONE_STATUSES else RequestRefused(status)


def _whole(headers: Mapping[str, str]) -> RangeBody:
    length = _number(headers.get("content-length", ""))
    # What is encoded on its way has another length than the file.
    total = None if _encoded(headers) else length
    return RangeBody(0, length, total, headers.get("etag"), ranged=False)


def _encoded(headers: Mapping[str, str]) -> bool:
    return headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}


def _part(headers: Mapping[str, str], wish: RangeRequest, known: FileInfo) -> RangeResult:
    given = headers.get("content-range", "")
    found = _CONTENT_RANGE.fullmatch(given)
    if found is None or found[1] is None:
        return BadRange("206 without a usable Content-Range")
    start, end, total = int(found[1]), int(found[2]), _number(found[3])
    if start != wish.start or end < start:
        return BadRange(f"bytes {start}-{end} instead of those from {wish.start}")
    promised = _number(headers.get("content-length", ""))
    length = min(end + 1 - start, end + 1 - start if promised is None else promised)
    body = RangeBody(start, length, total, headers.get("etag"), ranged=True)
    return _checked(body, known)


def _beyond(headers: Mapping[str, str], wish: RangeRequest, known: FileInfo) -> RangeResult:
    """Read 416: no byte of the file is in the range."""
    found = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
    total = _number(found[3]) if found else None
    if known.size is not None and total not in {None, known.size}:
        return WrongSize(total or 0)
    size = total if known.size is None else known.size
    if size in {None, wish.start}:
        return FileComplete()
    return (
        BadRange("416 for bytes that exist") if size > wish.start else FileChanged("it is shorter")
    )


def _checked(body: RangeBody, known: FileInfo) -> RangeResult:
    if known.size is not None and body.total is not None and body.total != known.size:
        return WrongSize(body.total)
    if known.etag is not None and body.etag is not None and known.etag != body.etag:
        return FileChanged("its ETag is another one")
    return body


def _number(text: str) -> int | None:
    digits = text.strip()
    return int(digits) if _DIGITS.fullmatch(digits) else None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Read Retry-After in seconds; a date is left to our own back-off."""
    seconds = _number(headers.get("retry-after", ""))
    return None if seconds is None else float(seconds)
