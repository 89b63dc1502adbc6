"""Limits for the body of a response, and for the ids and texts in it."""

from __future__ import annotations

import gzip
import zlib

import pytest

from airflow_provider_buildpixel.api import endpoints
from airflow_provider_buildpixel.api.endpoints import MAX_PAGE_ITEMS
from airflow_provider_buildpixel.api.http_messages import (
    MAX_BODY,
    MAX_VALUES,
    BodyReader,
    Reply,
    decode,
    parse_json,
)
from airflow_provider_buildpixel.api.text import storable
from airflow_provider_buildpixel.exceptions import UnexpectedAnswer


@pytest.mark.parametrize("encoding", ["gzip", "X-Gzip ", "identity", "", None])
def test_body_in_chunks(encoding: str | None) -> None:
    """A body is joined from its chunks, and decompressed if it is gzip."""
    body, packed = BodyReader(encoding), "gzip" in (encoding or "").lower()
    data = gzip.compress(b"{}" * 100) if packed else b"{}" * 100
    for start in range(0, len(data), 7):
        body.add(data[start : start + 7])
    assert body.content() == b"{}" * 100


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "\x1b[2J"])
def test_unrequested_encoding(encoding: str) -> None:
    """A content encoding that was not requested is rejected."""
    with pytest.raises(UnexpectedAnswer, match="not requested"):
        BodyReader(encoding)


@pytest.mark.parametrize("packed", [False, True])
def test_body_above_the_size_limit(*, packed: bool) -> None:
    """A body above the size limit is rejected, as received or decompressed."""
    body, data = BodyReader("gzip" if packed else None), bytes(MAX_BODY + 1)
    with pytest.raises(UnexpectedAnswer, match="longer than"):
        body.add(gzip.compress(data) if packed else data)
    assert len(body.content()) == MAX_BODY + 1


def test_invalid_gzip() -> None:
    """Invalid gzip raises zlib's error."""
    with pytest.raises(zlib.error):
        BodyReader("gzip").add(b"this is not gzip")


@pytest.mark.parametrize(
    ("body", "found"),
    [(b"", None), (b" \n", None), (b"[1, 2.5]", [1, 2.5]), (b'{"a": -7}', {"a": -7})],
)
def test_valid_json(body: bytes, found: object) -> None:
    """JSON is decoded, and an empty body is None."""
    assert parse_json(body) == found


@pytest.mark.parametrize(
    "body",
    [b"{", b"[" * 100_000, b"[" + b"1," * MAX_VALUES + b"1]", b"9" * 101, b"\xff"],
    ids=["broken", "nested", "many-values", "many-digits", "no-text"],
)
def test_invalid_or_expensive_json(body: bytes) -> None:
    """A body that is not JSON, or too expensive to decode, is rejected."""
    with pytest.raises(ValueError, match=r".+"):
        parse_json(body)


def test_response_about_another_build() -> None:
    """A response about another build than the requested one is rejected."""
    reply = Reply(200, {}, b'{"id": "b", "status": "complete"}')
    assert decode(endpoints.get_build(" b "), reply).id == "b"
    with pytest.raises(UnexpectedAnswer, match="it is about build b, not c"):
        decode(endpoints.get_build("c"), reply)


def test_page_with_too_many_items() -> None:
    """A page with so many items that parsing would block an event loop is rejected."""
    items = ",".join(['{"id": "b", "status": "x"}'] * (MAX_PAGE_ITEMS + 1))
    with pytest.raises(UnexpectedAnswer, match="too long"):
        decode(endpoints.list_builds(), Reply(200, {}, f"[{items}]".encode()))


@pytest.mark.parametrize(
    "build_id", ["../x", ".", "..", ".hidden", "a/b", "a b", "é", "x" * 129, ""]
)
def test_unsafe_ids(build_id: str) -> None:
    """An id that is unsafe in a URL path or a file name is rejected."""
    body = f'{{"buildId": "{build_id}"}}'.encode()
    with pytest.raises(UnexpectedAnswer, match="buildId"):
        decode(endpoints.trigger_build("p", "s"), Reply(201, {}, body))


def test_storable_text() -> None:
    """Characters that databases reject are replaced, and long text is cut."""
    assert storable("a\x00b\ud800c") == "a\ufffdb\ufffdc"
    assert len(storable("x" * 5_000)) == 1_000
