"""The body of an answer: unpacked and read, neither of them without bounds.

Whoever answers in BuildPixel's place may send anything. What is read here costs a loop some tens
of milliseconds and a process some tens of megabytes at the very most.
"""

from __future__ import annotations

import json
import zlib
from typing import Any

from airflow_provider_buildpixel.core.sizes import MIB
from airflow_provider_buildpixel.core.text import shown
from airflow_provider_buildpixel.exceptions import UnexpectedAnswer

MAX_BODY = 4 * MIB
"""Bytes of an answer that are read at most; no documented answer comes near."""

MAX_VALUES = 150_000
"""JSON values of an answer that are read at most: an empty list of three bytes takes sixty."""

MAX_DIGITS = 100
"""Digits of a whole number: reading longer ones costs the square of their number."""

GZIP = 16 + zlib.MAX_WBITS


class Body:
    """Takes the bytes of an answer as they come over the wire.

    :param encoding: the answer's ``Content-Encoding``; only gzip was asked for.
    """

    ERRORS = (zlib.error,)
    """What tells that the bytes are not packed as announced."""

    def __init__(self, encoding: str | None) -> None:
        name = (encoding or "").strip().lower()
        if name not in {"", "identity", "gzip", "x-gzip"}:
            said = shown(name, 40)
            raise UnexpectedAnswer(f"the answer is encoded as {said!r}, which was not asked for")
        self._zlib = zlib.decompressobj(GZIP) if "gzip" in name else None
        self._data = bytearray()

    def add(self, chunk: bytes) -> None:
        """Take some more.

        :raises UnexpectedAnswer: it is too much, as it came or unpacked.
        :raises zlib.error: it is not packed as announced.
        """
        if self._zlib is not None:
            chunk = self._zlib.decompress(chunk, MAX_BODY + 1 - len(self._data))
        self._data += chunk
        if len(self._data) > MAX_BODY:
            raise UnexpectedAnswer(f"the answer is longer than {MAX_BODY} bytes")

    def whole(self) -> bytes:
        """Give what came."""
        return bytes(self._data)


def parsed(body: bytes) -> Any:
    """Read JSON; nothing at all is None.

    :raises ValueError: it is no JSON, or one that would cost too much.
    """
    if not body.strip():
        return None
    if body.count(b",") + body.count(b"[") + body.count(b"{") > MAX_VALUES:
        raise ValueError(f"more than {MAX_VALUES} values")
    try:
        return json.loads(body, parse_int=_whole)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _whole(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)
