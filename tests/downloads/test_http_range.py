from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_buildpixel.downloads.http_range import (
    BadRange,
    FileChanged,
    FileComplete,
    FileGone,
    FileInfo,
    RangeBody,
    RangeRequest,
    RequestRefused,
    RetryLater,
    UrlExpired,
    WrongSize,
    classify_response,
)

if TYPE_CHECKING:
    from airflow_provider_buildpixel.downloads.http_range import RangeResult

REST = RangeRequest(400)
"""All but the first 400 bytes."""

FILE = FileInfo(size=1000, etag='"one"')
UNKNOWN = FileInfo()


def _range(text: str, **more: str) -> dict[str, str]:
    return {"content-range": text, "etag": '"one"'} | more


ANSWERS: list[tuple[str, int, dict[str, str], FileInfo, RangeResult]] = [
    (
        "rest",
        206,
        _range("bytes 400-999/1000"),
        FILE,
        RangeBody(400, 600, 1000, '"one"', ranged=True),
    ),
    (
        "rest-cut-short",
        206,
        _range("bytes 400-999/1000", **{"content-length": "599"}),
        FILE,
        RangeBody(400, 599, 1000, '"one"', ranged=True),
    ),
    (
        "rest-of-unknown-size",
        206,
        {"content-range": "Bytes 400-999/*"},
        FILE,
        RangeBody(400, 600, None, None, ranged=True),
    ),
    (
        "whole-though-rest-asked",
        200,
        {"content-length": "1000"},
        FILE,
        RangeBody(0, 1000, 1000, None, ranged=False),
    ),
    ("whole-without-length", 200, {}, FILE, RangeBody(0, None, None, None, ranged=False)),
    (
        "encoded-length-says-nothing",
        200,
        {"content-length": "90", "content-encoding": "gzip"},
        FILE,
        RangeBody(0, 90, None, None, ranged=False),
    ),
    ("whole-of-other-size", 200, {"content-length": "999"}, FILE, WrongSize(999)),
    (
        "rest-of-other-size",
        206,
        {"content-range": "bytes 400-1000/1001"},
        FILE,
        WrongSize(1001),
    ),
    (
        "other-etag",
        206,
        {"content-range": "bytes 400-999/1000", "etag": '"two"'},
        FILE,
        FileChanged("its ETag is another one"),
    ),
    (
        "later-bytes",
        206,
        _range("bytes 401-999/1000"),
        FILE,
        BadRange("bytes 401-999 instead of those from 400"),
    ),
    (
        "reversed-bytes",
        206,
        _range("bytes 400-399/1000"),
        FILE,
        BadRange("bytes 400-399 instead of those from 400"),
    ),
    ("several-ranges", 206, {}, FILE, BadRange("206 without a usable Content-Range")),
    (
        "no-range-in-206",
        206,
        _range("bytes */1000"),
        FILE,
        BadRange("206 without a usable Content-Range"),
    ),
    ("beyond-the-end", 416, _range("bytes */400"), FILE, WrongSize(400)),
    ("beyond-an-empty-file", 416, _range("bytes */0"), FILE, WrongSize(0)),
    ("at-the-end", 416, _range("bytes */400"), FileInfo(size=400), FileComplete()),
    ("at-the-end-of-unknown", 416, _range("bytes */400"), UNKNOWN, FileComplete()),
    ("at-the-end-without-total", 416, {}, UNKNOWN, FileComplete()),
    ("shorter-than-before", 416, _range("bytes */300"), UNKNOWN, FileChanged("it is shorter")),
    ("416-for-what-exists", 416, {}, FILE, BadRange("416 for bytes that exist")),
    ("bad-signature", 403, {}, FILE, UrlExpired(403)),
    ("expired", 401, {}, FILE, UrlExpired(401)),
    ("expired-elsewhere", 400, {}, FILE, UrlExpired(400)),
    ("not-there", 404, {}, FILE, FileGone(404)),
    ("removed", 410, {}, FILE, FileGone(410)),
    ("too-many", 429, {"retry-after": "7"}, FILE, RetryLater("HTTP 429", 7.0)),
    ("too-many-until-a-date", 429, {"retry-after": "Fri"}, FILE, RetryLater("HTTP 429")),
    ("slow-down", 503, {}, FILE, RetryLater("HTTP 503")),
    ("redirect-to-nowhere", 304, {}, FILE, RequestRefused(304)),
    ("teapot", 418, {}, FILE, RequestRefused(418)),
]


@pytest.mark.parametrize(
    ("status", "headers", "known", "means"),
    [answer[1:] for answer in ANSWERS],
    ids=[answer[0] for answer in ANSWERS],
)
def test_answer_means(
    status: int, headers: dict[str, str], known: FileInfo, means: RangeResult
) -> None:
    """Each answer to a request for the rest of a file has one meaning."""
    assert classify_response(status, headers, REST, known) == means


@pytest.mark.parametrize(
    ("wish", "header"),
    [
        (RangeRequest(0), "bytes=0-"),
        (RangeRequest(400), "bytes=400-"),
        (RangeRequest(400, 500), "bytes=400-499"),
        (RangeRequest(0, ranged=False), None),
    ],
)
def test_wish_is_spelt(wish: RangeRequest, header: str | None) -> None:
    """A wish asks for its bytes, and always for them as they are stored."""
    assert wish.headers.get("Range") == header
    assert wish.headers["Accept-Encoding"] == "identity"


def test_what_was_known_stays_known() -> None:
    """An answer adds to what is known of the file, and takes nothing away."""
    body = RangeBody(0, 10, 10, '"one"', ranged=True)
    assert UNKNOWN.learn(body) == FileInfo(10, '"one"')
    assert FILE.learn(RangeBody(0, None, None, None, ranged=False)) == FILE
