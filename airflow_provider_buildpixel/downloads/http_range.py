"""Classifies the store's response to a request for a byte range of a file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


# No size has more than 18 digits, and int() itself raises for very long numbers.
_NUMBER = "[0-9]{1,18}"
_CONTENT_RANGE = re.compile(
    rf"\s*bytes\s+(?:({_NUMBER})-({_NUMBER})|\*)/({_NUMBER}|\*)\s*", re.IGNORECASE
)
_DIGITS = re.compile(_NUMBER)

URL_REFUSED_STATUSES = (400, 401, 403)
"""Statuses with which stores reject a signed URL that is invalid or has expired."""

GONE_STATUSES = (404, 410)
TEMPORARY_STATUSES = (408, 425, 429)


@dataclass(frozen=True)
class RangeRequest:
    """The bytes to request.

    :param start: offset of the first byte.
    :param stop: offset after the last byte; None is the end of the file.
    :param use_range: False requests the whole file, where the server's ranges cannot be trusted.
    """

    start: int
    stop: int | None = None
    use_range: bool = True

    @property
    def headers(self) -> dict[str, str]:
        """The request headers: the bytes as stored, in the range."""
        # The first request has a range too: its response contains the size, and shows whether the
        # server supports ranges.
        last = "" if self.stop is None else self.stop - 1
        byte_range = {"Range": f"bytes={self.start}-{last}"} if self.use_range else {}
        return {"Accept-Encoding": "identity", **byte_range}


@dataclass(frozen=True)
class FileInfo:
    """What is known about the file before a response; None is unknown."""

    size: int | None = None
    etag: str | None = None

    def updated_from(self, body: RangeBody) -> FileInfo:
        """Return the same facts, with unknown ones filled in from a response."""
        size = self.size if self.size is not None else body.total
        return FileInfo(size, self.etag if self.etag is not None else body.etag)


@dataclass(frozen=True)
class RangeBody:
    """Bytes of the file follow.

    :param start: offset of the first of them in the file.
    :param length: their number, None if the response does not contain it.
    :param total: size of the whole file, None if the response does not contain it.
    :param supports_ranges: whether the server answers with ranges.
    """

    start: int
    length: int | None
    total: int | None
    etag: str | None
    supports_ranges: bool


class ResponseMeaning(Enum):
    """What a response without bytes to receive means; the values are texts for the log."""

    FILE_COMPLETE = "the file has no more bytes"
    """The data so far is the whole file."""

    URL_EXPIRED = "the signed URL was rejected"
    """A fresh URL is needed."""

    RETRY_LATER = "temporary failure"
    """The same request may succeed later."""

    BAD_RANGE = "wrong range"
    """The response has another range than requested: request the whole file instead."""

    FILE_CHANGED = "the file has changed"
    """The file is not the one that the download began with: start over."""

    WRONG_SIZE = "the file has another size"
    """The file has another size than BuildPixel announced."""

    FILE_GONE = "the file does not exist"

    REFUSED = "permanent failure"
    """A repeated request would fail too."""


@dataclass(frozen=True)
class NoBytes:
    """The response has no bytes to receive.

    :param reason: details for the log.
    :param retry_after: seconds that the server asks to wait, None if it names none.
    :param size: the actual size of a file with the wrong one, in bytes.
    """

    meaning: ResponseMeaning
    reason: str = ""
    retry_after: float | None = None
    size: int = 0


def classify_response(
    status: int, headers: Mapping[str, str], request: RangeRequest, file: FileInfo
) -> RangeBody | NoBytes:
    """Return the meaning of a response to a request.

    :param headers: with names in lower case.
    :param file: what is known about the file so far.
    """
    if status == 200:
        return _check_same_file(_full_body(headers), file)
    if status == 206:
        return _partial_body(headers, request, file)
    if status == 416:
        return _range_not_satisfiable(headers, request, file)
    if status in TEMPORARY_STATUSES or status >= 500:
        return NoBytes(ResponseMeaning.RETRY_LATER, f"HTTP {status}", _retry_after(headers))
    if status in URL_REFUSED_STATUSES:
        return NoBytes(ResponseMeaning.URL_EXPIRED)
    is_gone = status in GONE_STATUSES
    return NoBytes(ResponseMeaning.FILE_GONE if is_gone else ResponseMeaning.REFUSED)


def _full_body(headers: Mapping[str, str]) -> RangeBody:
    length = _parse_number(headers.get("content-length", ""))
    # An encoded body has another length than the file.
    total = None if _is_encoded(headers) else length
    return RangeBody(0, length, total, headers.get("etag"), supports_ranges=False)


def _is_encoded(headers: Mapping[str, str]) -> bool:
    return headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}


def _partial_body(
    headers: Mapping[str, str], request: RangeRequest, file: FileInfo
) -> RangeBody | NoBytes:
    match = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
    if match is None or match[1] is None:
        return NoBytes(ResponseMeaning.BAD_RANGE, "206 without a usable Content-Range")
    start, end, total = int(match[1]), int(match[2]), _parse_number(match[3])
    if start != request.start or end < start:
        return NoBytes(
            ResponseMeaning.BAD_RANGE, f"bytes {start}-{end} instead of bytes from {request.start}"
        )
    content_length = _parse_number(headers.get("content-length", ""))
    length = end + 1 - start if content_length is None else min(end + 1 - start, content_length)
    body = RangeBody(start, length, total, headers.get("etag"), supports_ranges=True)
    return _check_same_file(body, file)


def _range_not_satisfiable(
    headers: Mapping[str, str], request: RangeRequest, file: FileInfo
) -> RangeBody | NoBytes:
    """Classify a 416: the file has no byte in the range."""
    match = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
    total = _parse_number(match[3]) if match else None
    if file.size is not None and total not in {None, file.size}:
        return NoBytes(ResponseMeaning.WRONG_SIZE, size=total or 0)
    size = total if file.size is None else file.size
    if size in {None, request.start}:
        return NoBytes(ResponseMeaning.FILE_COMPLETE)
    if size > request.start:
        return NoBytes(ResponseMeaning.BAD_RANGE, "416 for bytes that exist")
    return NoBytes(ResponseMeaning.FILE_CHANGED, "it is shorter")


def _check_same_file(body: RangeBody, file: FileInfo) -> RangeBody | NoBytes:
    if file.size is not None and body.total is not None and body.total != file.size:
        return NoBytes(ResponseMeaning.WRONG_SIZE, size=body.total)
    if file.etag is not None and body.etag is not None and file.etag != body.etag:
        return NoBytes(ResponseMeaning.FILE_CHANGED, "its ETag is different")
    return body


def _parse_number(text: str) -> int | None:
    digits = text.strip()
    return int(digits) if _DIGITS.fullmatch(digits) else None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return Retry-After in seconds; for a date None, so that our own back-off applies."""
    seconds = _parse_number(headers.get("retry-after", ""))
    return None if seconds is None else float(seconds)
