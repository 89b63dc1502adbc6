"""What of an answer's body is read, and what is too much."""

from __future__ import annotations

import gzip
import zlib

import pytest

from airflow_provider_buildpixel.api import endpoints
from airflow_provider_buildpixel.api.http_messages import (
    MAX_BODY,
    MAX_VALUES,
    BodyReader,
    Reply,
    decode,
    parse_json,
)
from airflow_provider_buildpixel.api.model import MAX_MEMBERS
from airflow_provider_buildpixel.api.text import storable
from airflow_provider_buildpixel.exceptions import UnexpectedAnswer


@pytest.mark.parametrize("encoding", ["gzip", "X-Gzip ", "identity", "", None])
def test_a_body_in_pieces(encoding: str | None) -> None:
    """A body is put together of its pieces, and unpacked if it says that it is packed."""
    body, packed = BodyReader(encoding), "gzip" in (encoding or "").lower()
    data = gzip.compress(b"{}" * 100) if packed else b"{}" * 100
    for at in range(0, len(data), 7):
        body.add(data[at : at + 7])
    assert body.whole() == b"{}" * 100


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "\x1b[2J"])
def test_another_encoding(encoding: str) -> None:
    """What was not asked for is not unpacked."""
    with pytest.raises(UnexpectedAnswer, match="not asked for"):
        BodyReader(encoding)


@pytest.mark.parametrize("packed", [False, True])
def test_too_long(*, packed: bool) -> None:
    """Neither what comes nor what is unpacked of it may be longer than any answer is."""
    body, data = BodyReader("gzip" if packed else None), bytes(MAX_BODY + 1)
    with pytest.raises(UnexpectedAnswer, match="longer than"):
        body.add(gzip.compress(data) if packed else data)
    assert len(body.whole()) == MAX_BODY + 1


def test_not_packed() -> None:
    """What is not packed as announced is told from what is."""
    with pytest.raises(zlib.error):
        BodyReader("gzip").add(b"this is no gzip")


@pytest.mark.parametrize(
    ("body", "found"),
    [(b"", None), (b" \n", None), (b"[1, 2.5]", [1, 2.5]), (b'{"a": -7}', {"a": -7})],
)
def test_parsed(body: bytes, found: object) -> None:
    """JSON is read, and nothing is None."""
    assert parse_json(body) == found


@pytest.mark.parametrize(
    "body",
    [b"{", b"[" * 100_000, b"[" + b"1," * MAX_VALUES + b"1]", b"9" * 101, b"\xff"],
    ids=["broken", "deep", "many", "digits", "no-text"],
)
def test_not_parsed(body: bytes) -> None:
    """What is no JSON, or would cost too much, is refused."""
    with pytest.raises(ValueError, match=r".+"):
        parse_json(body)


def test_another_build() -> None:
    """An answer about another build than was asked for is no answer."""
    reply = Reply(200, {}, b'{"id": "b", "status": "complete"}')
    assert decode(endpoints.get_build(" b "), reply).id == "b"
    with pytest.raises(UnexpectedAnswer, match="it is about build b, not c"):
        decode(endpoints.get_build("c"), reply)


def test_a_long_page() -> None:
    """A page of more members than a loop can bear is refused."""
    members = ",".join(['{"id": "b", "status": "x"}'] * (MAX_MEMBERS + 1))
    with pytest.raises(UnexpectedAnswer, match="too long"):
        decode(endpoints.list_builds(), Reply(200, {}, f"[{members}]".encode()))


@pytest.mark.parametrize("wrong", ["../x", ".", "..", ".hidden", "a/b", "a b", "é", "x" * 129, ""])
def test_ids_that_are_no_ids(wrong: str) -> None:
    """An id that could be another place in a path or a file system is refused."""
    body = f'{{"buildId": "{wrong}"}}'.encode()
    with pytest.raises(UnexpectedAnswer, match="buildId"):
        decode(endpoints.trigger_build("p", "s"), Reply(201, {}, body))


def test_storable() -> None:
    """What no database takes is replaced, and what is endless is cut."""
    assert storable("a\x00b\ud800c") == "a\ufffdb\ufffdc"
    assert len(storable("x" * 5_000)) == 1_000
