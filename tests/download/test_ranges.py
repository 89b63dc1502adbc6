from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_buildpixel.core.ranges import (
    Again,
    Body,
    Changed,
    Complete,
    Distrust,
    Gone,
    Known,
    Refused,
    Renew,
    Wish,
    WrongSize,
    meaning,
)

if TYPE_CHECKING:
    from airflow_provider_buildpixel.core.ranges import Meaning

REST = Wish(400)
"""All but the first 400 bytes."""

FILE = Known(size=1000, etag='"one"')
UNKNOWN = Known()


def _range(text: str, **more: str) -> dict[str, str]:
    return {"content-range": text, "etag": '"one"'} | more


ANSWERS: list[tuple[str, int, dict[str, str], Known, Meaning]] = [
    ("rest", 206, _range("bytes 400-999/1000"), FILE, Body(400, 600, 1000, '"one"', ranged=True)),
    (
        "rest-cut-short",
        206,
        _range("bytes 400-999/1000", **{"content-length": "599"}),
        FILE,
        Body(400, 599, 1000, '"one"', ranged=True),
    ),
    (
        "rest-of-unknown-size",
        206,
        {"content-range": "Bytes 400-999/*"},
        FILE,
        Body(400, 600, None, None, ranged=True),
    ),
    (
        "whole-though-rest-asked",
        200,
        {"content-length": "1000"},
        FILE,
        Body(0, 1000, 1000, None, ranged=False),
    ),
    ("whole-without-length", 200, {}, FILE, Body(0, None, None, None, ranged=False)),
    (
        "encoded-length-says-nothing",
        200,
        {"content-length": "90", "content-encoding": "gzip"},
        FILE,
        Body(0, 90, None, None, ranged=False),
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
        Changed("its ETag is another one"),
    ),
    (
        "later-bytes",
        206,
        _range("bytes 401-999/1000"),
        FILE,
        Distrust("bytes 401-999 instead of those from 400"),
    ),
    (
        "reversed-bytes",
        206,
        _range("bytes 400-399/1000"),
        FILE,
        Distrust("bytes 400-399 instead of those from 400"),
    ),
    ("several-ranges", 206, {}, FILE, Distrust("206 without a usable Content-Range")),
    (
        "no-range-in-206",
        206,
        _range("bytes */1000"),
        FILE,
        Distrust("206 without a usable Content-Range"),
    ),
    ("beyond-the-end", 416, _range("bytes */400"), FILE, WrongSize(400)),
    ("beyond-an-empty-file", 416, _range("bytes */0"), FILE, WrongSize(0)),
    ("at-the-end", 416, _range("bytes */400"), Known(size=400), Complete()),
    ("at-the-end-of-unknown", 416, _range("bytes */400"), UNKNOWN, Complete()),
    ("at-the-end-without-total", 416, {}, UNKNOWN, Complete()),
    ("shorter-than-before", 416, _range("bytes */300"), UNKNOWN, Changed("it is shorter")),
    ("416-for-what-exists", 416, {}, FILE, Distrust("416 for bytes that exist")),
    ("bad-signature", 403, {}, FILE, Renew(403)),
    ("expired", 401, {}, FILE, Renew(401)),
    ("expired-elsewhere", 400, {}, FILE, Renew(400)),
    ("not-there", 404, {}, FILE, Gone(404)),
    ("removed", 410, {}, FILE, Gone(410)),
    ("too-many", 429, {"retry-after": "7"}, FILE, Again("HTTP 429", 7.0)),
    ("too-many-until-a-date", 429, {"retry-after": "Fri"}, FILE, Again("HTTP 429")),
    ("slow-down", 503, {}, FILE, Again("HTTP 503")),
    ("redirect-to-nowhere", 304, {}, FILE, Refused(304)),
    ("teapot", 418, {}, FILE, Refused(418)),
]


@pytest.mark.parametrize(
    ("status", "headers", "known", "means"),
    [answer[1:] for answer in ANSWERS],
    ids=[answer[0] for answer in ANSWERS],
)
def test_answer_means(status: int, headers: dict[str, str], known: Known, means: Meaning) -> None:
    """Each answer to a request for the rest of a file has one meaning."""
    assert meaning(status, headers, REST, known) == means


@pytest.mark.parametrize(
    ("wish", "header"),
    [
        (Wish(0), "bytes=0-"),
        (Wish(400), "bytes=400-"),
        (Wish(400, 500), "bytes=400-499"),
        (Wish(0, ranged=False), None),
    ],
)
def test_wish_is_spelt(wish: Wish, header: str | None) -> None:
    """A wish asks for its bytes, and always for them as they are stored."""
    assert wish.headers.get("Range") == header
    assert wish.headers["Accept-Encoding"] == "identity"


def test_what_was_known_stays_known() -> None:
    """An answer adds to what is known of the file, and takes nothing away."""
    body = Body(0, 10, 10, '"one"', ranged=True)
    assert UNKNOWN.learn(body) == Known(10, '"one"')
    assert FILE.learn(Body(0, None, None, None, ranged=False)) == FILE
