from __future__ import annotations

import pytest

from airflow_provider_buildpixel.downloads.http_range import (
    FileInfo,
    NoBytes,
    RangeBody,
    RangeRequest,
    ResponseMeaning,
    classify_response,
)

REST = RangeRequest(400)
"""All but the first 400 bytes."""

FILE = FileInfo(size=1000, etag='"one"')
UNKNOWN = FileInfo()


def _range_headers(text: str, **more: str) -> dict[str, str]:
    return {"content-range": text, "etag": '"one"'} | more


RESPONSES: list[tuple[str, int, dict[str, str], FileInfo, RangeBody | NoBytes]] = [
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
    (
        "whole-of-other-size",
        200,
        {"content-length": "999"},
        FILE,
        NoBytes(ResponseMeaning.WRONG_SIZE, size=999),
    ),
    (
        "rest-of-other-size",
        206,
        {"content-range": "bytes 400-1000/1001"},
        FILE,
        NoBytes(ResponseMeaning.WRONG_SIZE, size=1001),
    ),
    (
        "other-etag",
        206,
        {"content-range": "bytes 400-999/1000", "etag": '"two"'},
        FILE,
        NoBytes(ResponseMeaning.FILE_CHANGED, "its ETag is different"),
    ),
    (
        "later-bytes",
        206,
        _range_headers("bytes 401-999/1000"),
        FILE,
        NoBytes(ResponseMeaning.BAD_RANGE, "bytes 401-999 instead of bytes from 400"),
    ),
    (
        "reversed-bytes",
        206,
        _range_headers("bytes 400-399/1000"),
        FILE,
        NoBytes(ResponseMeaning.BAD_RANGE, "bytes 400-399 instead of bytes from 400"),
    ),
    (
        "several-ranges",
        206,
        {},
        FILE,
        NoBytes(ResponseMeaning.BAD_RANGE, "206 without a usable Content-Range"),
    ),
    (
        "206-without-range",
        206,
        _range_headers("bytes */1000"),
        FILE,
        NoBytes(ResponseMeaning.BAD_RANGE, "206 without a usable Content-Range"),
    ),
    (
        "beyond-the-end",
        416,
        _range_headers("bytes */400"),
        FILE,
        NoBytes(ResponseMeaning.WRONG_SIZE, size=400),
    ),
    (
        "beyond-an-empty-file",
        416,
        _range_headers("bytes */0"),
        FILE,
        NoBytes(ResponseMeaning.WRONG_SIZE, size=0),
    ),
    (
        "at-the-end",
        416,
        _range_headers("bytes */400"),
        FileInfo(size=400),
        NoBytes(ResponseMeaning.FILE_COMPLETE),
    ),
    (
        "at-the-end-of-unknown",
        416,
        _range_headers("bytes */400"),
        UNKNOWN,
        NoBytes(ResponseMeaning.FILE_COMPLETE),
    ),
    ("at-the-end-without-total", 416, {}, UNKNOWN, NoBytes(ResponseMeaning.FILE_COMPLETE)),
    (
        "shorter-than-before",
        416,
        _range_headers("bytes */300"),
        UNKNOWN,
        NoBytes(ResponseMeaning.FILE_CHANGED, "it is shorter"),
    ),
    (
        "416-for-existing-bytes",
        416,
        {},
        FILE,
        NoBytes(ResponseMeaning.BAD_RANGE, "416 for bytes that exist"),
    ),
    ("bad-signature", 403, {}, FILE, NoBytes(ResponseMeaning.URL_EXPIRED)),
    ("expired", 401, {}, FILE, NoBytes(ResponseMeaning.URL_EXPIRED)),
    ("expired-elsewhere", 400, {}, FILE, NoBytes(ResponseMeaning.URL_EXPIRED)),
    ("not-found", 404, {}, FILE, NoBytes(ResponseMeaning.FILE_GONE)),
    ("removed", 410, {}, FILE, NoBytes(ResponseMeaning.FILE_GONE)),
    (
        "too-many",
        429,
        {"retry-after": "7"},
        FILE,
        NoBytes(ResponseMeaning.RETRY_LATER, "HTTP 429", 7.0),
    ),
    (
        "too-many-until-a-date",
        429,
        {"retry-after": "Fri"},
        FILE,
        NoBytes(ResponseMeaning.RETRY_LATER, "HTTP 429"),
    ),
    ("slow-down", 503, {}, FILE, NoBytes(ResponseMeaning.RETRY_LATER, "HTTP 503")),
    ("redirect-without-target", 304, {}, FILE, NoBytes(ResponseMeaning.REFUSED)),
    ("teapot", 418, {}, FILE, NoBytes(ResponseMeaning.REFUSED)),
]


@pytest.mark.parametrize(
    ("status", "headers", "file", "result"),
    [response[1:] for response in RESPONSES],
    ids=[response[0] for response in RESPONSES],
)
def test_response_is_classified(
    status: int, headers: dict[str, str], file: FileInfo, result: RangeBody | NoBytes
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
