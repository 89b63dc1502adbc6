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


def _range_headers(text: str, **more: str) -> dict[str, str]:
    return {"content-range": text, "etag": '"one"'} | more


RESPONSES: list[tuple[str, int, dict[str, str], FileInfo, RangeResult]] = [
    (
        "rest",
        206,
        _range_headers("bytes 400-999/1000"),
        FILE,
        RangeBody(400, 600, 1000, '"one"', supports_ranges=True),
    ),
    (
        "rest-cut-short",
        206,
        _range_headers("bytes 400-999/1000", **{"content-length": "599"}),
        FILE,
        RangeBody(400, 599, 1000, '"one"', supports_ranges=True),
    ),
    (
        "rest-of-unknown-size",
        206,
        {"content-range": "Bytes 400-999/*"},
        FILE,
        RangeBody(400, 600, None, None, supports_ranges=True),
    ),
    (
        "whole-although-rest-requested",
        200,
        {"content-length": "1000"},
        FILE,
        RangeBody(0, 1000, 1000, None, supports_ranges=False),
    ),
    ("whole-without-length", 200, {}, FILE, RangeBody(0, None, None, None, supports_ranges=False)),
    (
        "encoded-length-is-ignored",
        200,
        {"content-length": "90", "content-encoding": "gzip"},
        FILE,
        RangeBody(0, 90, None, None, supports_ranges=False),
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
        FileChanged("its ETag is different"),
    ),
    (
        "later-bytes",
        206,
        _range_headers("bytes 401-999/1000"),
        FILE,
        BadRange("bytes 401-999 instead of bytes from 400"),
    ),
    (
        "reversed-bytes",
        206,
        _range_headers("bytes 400-399/1000"),
        FILE,
        BadRange("bytes 400-399 instead of bytes from 400"),
    ),
    ("several-ranges", 206, {}, FILE, BadRange("206 without a usable Content-Range")),
    (
        "206-without-range",
        206,
        _range_headers("bytes */1000"),
        FILE,
        BadRange("206 without a usable Content-Range"),
    ),
    ("beyond-the-end", 416, _range_headers("bytes */400"), FILE, WrongSize(400)),
    ("beyond-an-empty-file", 416, _range_headers("bytes */0"), FILE, WrongSize(0)),
    ("at-the-end", 416, _range_headers("bytes */400"), FileInfo(size=400), FileComplete()),
    ("at-the-end-of-unknown", 416, _range_headers("bytes */400"), UNKNOWN, FileComplete()),
    ("at-the-end-without-total", 416, {}, UNKNOWN, FileComplete()),
    (
        "shorter-than-before",
        416,
        _range_headers("bytes */300"),
        UNKNOWN,
        FileChanged("it is shorter"),
    ),
    ("416-for-existing-bytes", 416, {}, FILE, BadRange("416 for bytes that exist")),
    ("bad-signature", 403, {}, FILE, UrlExpired(403)),
    ("expired", 401, {}, FILE, UrlExpired(401)),
    ("expired-elsewhere", 400, {}, FILE, UrlExpired(400)),
    ("not-found", 404, {}, FILE, FileGone(404)),
    ("removed", 410, {}, FILE, FileGone(410)),
    ("too-many", 429, {"retry-after": "7"}, FILE, RetryLater("HTTP 429", 7.0)),
    ("too-many-until-a-date", 429, {"retry-after": "Fri"}, FILE, RetryLater("HTTP 429")),
    ("slow-down", 503, {}, FILE, RetryLater("HTTP 503")),
    ("redirect-without-target", 304, {}, FILE, RequestRefused(304)),
    ("teapot", 418, {}, FILE, RequestRefused(418)),
]


@pytest.mark.parametrize(
    ("status", "headers", "file", "result"),
    [response[1:] for response in RESPONSES],
    ids=[response[0] for response in RESPONSES],
)
def test_response_is_classified(
    status: int, headers: dict[str, str], file: FileInfo, result: RangeResult
) -> None:
    """Each response to a request for the rest of a file has one meaning."""
    assert classify_response(status, headers, REST, file) == result


@pytest.mark.parametrize(
    ("request_", "header"),
    [
        (RangeRequest(0), "bytes=0-"),
        (RangeRequest(400), "bytes=400-"),
        (RangeRequest(400, 500), "bytes=400-499"),
        (RangeRequest(0, use_range=False), None),
    ],
)
def test_request_headers(request_: RangeRequest, header: str | None) -> None:
    """A request has the header of its range, and always asks for the bytes as stored."""
    assert request_.headers.get("Range") == header
    assert request_.headers["Accept-Encoding"] == "identity"


def test_known_facts_are_kept() -> None:
    """A response fills in unknown facts about the file, and changes no known one."""
    body = RangeBody(0, 10, 10, '"one"', supports_ranges=True)
    assert UNKNOWN.updated_from(body) == FileInfo(10, '"one"')
    assert FILE.updated_from(RangeBody(0, None, None, None, supports_ranges=False)) == FILE
