"""A call as the bytes that go over the wire: the same from both shells."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

from airflow_provider_buildpixel.api import fields
from airflow_provider_buildpixel.api.errors import (
    Forbidden,
    InvalidRequest,
    NotFound,
    RateLimited,
    ServerFault,
    Unauthorized,
    UnexpectedAnswer,
)
from airflow_provider_buildpixel.api.text import MIB, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_buildpixel.api.endpoints import Call
    from airflow_provider_buildpixel.api.errors import BuildPixelError
    from airflow_provider_buildpixel.api.settings import Settings


@dataclass(frozen=True)
class HttpRequest:
    """One HTTP request; its headers hold the token, so they are never shown."""

    method: str
    url: str
    headers: dict[str, str] = field(repr=False)
    body: bytes | None = None


def build_request(settings: Settings, call: Call[Any]) -> HttpRequest:
    """Build the request of a call."""
    headers = {
        "Authorization": f"Bearer {settings.token}",
        "Accept": "application/json",
        "Accept-Encoding": "gzip",
        "User-Agent": settings.user_agent,
    }
    body = None
    if call.body is not None:
        headers["Content-Type"] = "application/json"
        body = json.dumps(call.body).encode()
    query = f"?{urlencode(call.query)}" if call.query else ""
    return HttpRequest(call.method, f"{settings.base_url}{call.path}{query}", headers, body)


MAX_BODY = 4 * MIB
"""Bytes of an answer that are read at most; no documented answer comes near."""

MAX_VALUES = 150_000
"""JSON values of an answer that are read at most: an empty list of three bytes takes sixty."""

MAX_DIGITS = 100
"""Digits of a whole number: reading longer ones costs the square of their number."""

GZIP = 16 + zlib.MAX_WBITS


class BodyReader:
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


def parse_json(body: bytes) -> Any:
    """Read JSON; nothing at all is None.

    :raises ValueError: it is no JSON, or one that would cost too much.
    """
    if not body.strip():
        return None
    if body.count(b",") + body.count(b"[") + body.count(b"{") > MAX_VALUES:
        raise ValueError(f"more than {MAX_VALUES} values")
    try:
        return json.loads(body, parse_int=_parse_int)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _parse_int(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


T = TypeVar("T")

ERROR_BY_STATUS: dict[int, type[BuildPixelError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    410: NotFound,
    408: ServerFault,  # said by proxies; whether the request ran is as open as after a 5xx
    425: ServerFault,
}

ADVICE_BY_CODE = {
    "engine_not_found": "choose another ueVersion in the build setting",
    "repo_not_accessible": "give the BuildPixel GitHub App access to the repository again",
    "perforce_auth_failed": "store a fresh Perforce ticket in BuildPixel's integration settings",
    "insufficient_scope": "use the token of a member, admin or owner: a viewer cannot do this",
}

ADVICE = {
    Unauthorized: "put a valid API token into the password of the Airflow connection",
    Forbidden: "use a token whose role permits it: a viewer cannot trigger builds",
    NotFound: "check the id, and that the token's organization owns it",
    RateLimited: "send fewer requests, or raise poll_interval",
    ServerFault: "try again later; BuildPixel's support asks for the request id",
}


@dataclass(frozen=True)
class Reply:
    """One HTTP answer.

    :param headers: by lower-case name.
    :param received_at: seconds since the epoch on this machine's clock.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    received_at: float = 0.0

    @property
    def server_time(self) -> float | None:
        """The server's clock in seconds since the epoch, from its ``Date`` header."""
        return _http_date(self.headers.get("date"))

    @property
    def retry_after(self) -> float | None:
        """Seconds to wait, from ``Retry-After`` as a number or as an HTTP date."""
        value = self.headers.get("retry-after")
        seconds = fields.number(value)
        if seconds is None:
            until = _http_date(value)
            now = self.server_time or self.received_at
            seconds = None if until is None else until - now
        return None if seconds is None else max(0.0, seconds)


def decode(call: Call[T], reply: Reply) -> T:
    """Give what the call promises, or raise the error that the answer means."""
    if 200 <= reply.status < 300:  # the range is the definition of success
        return _value(call, reply)
    raise error_from_reply(call, reply)


def _value(call: Call[T], reply: Reply) -> T:
    try:
        return call.parse(parse_json(reply.body))
    except UnexpectedAnswer as error:
        problem = error.message
    except ValueError:
        what = reply.headers.get("content-type", "no content type")
        problem = f"it is no JSON but {len(reply.body)} bytes of {shown(what, 60)}"
    raise UnexpectedAnswer(
        f"{call.title}: BuildPixel's answer cannot be understood: {problem}; check the host of "
        "the Airflow connection, and that no proxy answers in BuildPixel's place",
        status_code=reply.status,
        request_id=_request_id({}, reply),
    )


def error_from_reply(call: Call[Any], reply: Reply) -> BuildPixelError:
    """Give the error that an answer other than 2xx means."""
    body = _error_body(reply)
    code = fields.text(body.get("error"))
    about = {
        "status_code": reply.status,
        "code": shown(code, 80) if code else None,
        "request_id": _request_id(body, reply),
    }
    said = fields.text(body.get("message"))
    kind = _error_class(reply.status)
    advice = ADVICE_BY_CODE.get(code or "") or ADVICE.get(kind)
    message = f"{call.title}: {shown(said) if said else _default_message(reply.status)}"
    message += f"; {advice}" if advice else ""
    if kind is RateLimited:
        return RateLimited(message, wait=reply.retry_after, **about)  # type: ignore[arg-type]
    return kind(message, **about)  # type: ignore[arg-type]


def _error_class(status: int) -> type[BuildPixelError]:
    if status == 429:  # its error takes one argument more
        return RateLimited
    if status in ERROR_BY_STATUS:
        return ERROR_BY_STATUS[status]
    if status >= 500:  # as HTTP defines it
        return ServerFault
    return InvalidRequest if status >= 400 else UnexpectedAnswer  # likewise


def _default_message(status: int) -> str:
    """Describe a refusal whose body says nothing: gateways answer with HTML or with nothing."""
    if 300 <= status < 400:  # as HTTP defines it
        return (
            "redirected elsewhere, which is not followed, as the token belongs to the configured "
            "host only; put the final address into the Airflow connection"
        )
    return f"refused with HTTP status {status} and no explanation"


def _error_body(reply: Reply) -> dict[str, Any]:
    try:
        body = parse_json(reply.body)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _request_id(body: dict[str, Any], reply: Reply) -> str | None:
    found = fields.text(body.get("requestId")) or reply.headers.get("x-request-id")
    return shown(found, 80) if found else None


def _http_date(value: str | None) -> float | None:
    try:
        found = parsedate_to_datetime(value or "")
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
