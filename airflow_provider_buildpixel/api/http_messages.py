"""Converts calls to HTTP requests, and HTTP responses to values or errors, for both clients."""

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
from airflow_provider_buildpixel.api.text import MIB, safe_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_buildpixel.api.endpoints import Call
    from airflow_provider_buildpixel.api.errors import BuildPixelError
    from airflow_provider_buildpixel.api.settings import Settings


@dataclass(frozen=True)
class HttpRequest:
    """One HTTP request; its headers contain the token, so ``repr`` omits them."""

    method: str
    url: str
    headers: dict[str, str] = field(repr=False)
    body: bytes | None = None


def build_request(settings: Settings, call: Call[Any]) -> HttpRequest:
    """Return the HTTP request of a call."""
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
"""Maximum bytes of a response body; documented responses are far smaller."""

MAX_VALUES = 150_000
"""Maximum JSON values of a response body: an empty list of three bytes takes sixty in memory."""

MAX_DIGITS = 100
"""Maximum digits of a whole number: the cost of parsing grows with the square of their count."""

GZIP_WBITS = 16 + zlib.MAX_WBITS


class BodyReader:
    """Collects and decompresses the body of a response, bounded in size.

    :param encoding: the ``Content-Encoding`` of the response; requests accept gzip only.
    :raises UnexpectedAnswer: the encoding is a different one.
    """

    def __init__(self, encoding: str | None) -> None:
        name = (encoding or "").strip().lower()
        if name not in {"", "identity", "gzip", "x-gzip"}:
            encoding = safe_text(name, 40)
            raise UnexpectedAnswer(f"its content encoding {encoding!r} was not requested")
        self._zlib = zlib.decompressobj(GZIP_WBITS) if "gzip" in name else None
        self._data = bytearray()

    def add(self, chunk: bytes) -> None:
        """Add a chunk as received.

        :raises UnexpectedAnswer: the body is too long, as received or decompressed.
        :raises zlib.error: it is not valid gzip.
        """
        if self._zlib is not None:
            chunk = self._zlib.decompress(chunk, MAX_BODY + 1 - len(self._data))
        self._data += chunk
        if len(self._data) > MAX_BODY:
            raise UnexpectedAnswer(f"it is longer than {MAX_BODY} bytes")

    def content(self) -> bytes:
        """Return the decompressed body."""
        return bytes(self._data)


def parse_json(body: bytes) -> Any:
    """Return the decoded JSON, None for an empty body.

    :raises ValueError: the body is not JSON, or too expensive to decode.
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
    408: ServerFault,  # from proxies; as with a 5xx, it is unknown whether the request ran
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
    """One HTTP response.

    :param headers: by lower-case name.
    :param received_at: seconds since the epoch, by this machine's clock.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    received_at: float = 0.0

    @property
    def server_time(self) -> float | None:
        """The server's time in seconds since the epoch, from the ``Date`` header."""
        return _http_date(self.headers.get("date"))

    @property
    def retry_after(self) -> float | None:
        """Seconds to wait, from a ``Retry-After`` header that holds a number or an HTTP date."""
        value = self.headers.get("retry-after")
        seconds = fields.number(value)
        if seconds is None:
            until = _http_date(value)
            now = self.server_time or self.received_at
            seconds = None if until is None else until - now
        return None if seconds is None else max(0.0, seconds)


def decode(call: Call[T], reply: Reply) -> T:
    """Return the parsed response, or raise the error of its status.

    :raises UnexpectedAnswer: the response is successful, but its body is not as documented.
    """
    if 200 <= reply.status < 300:  # every 2xx is a success
        return _parse_body(call, reply)
    raise error_from_reply(call, reply)


def _parse_body(call: Call[T], reply: Reply) -> T:
    try:
        return call.parse(parse_json(reply.body))
    except UnexpectedAnswer as error:
        problem = error.message
    except ValueError:
        content_type = reply.headers.get("content-type", "no content type")
        problem = f"it is not JSON but {len(reply.body)} bytes of {safe_text(content_type, 60)}"
    raise UnexpectedAnswer(
        f"{call.title}: BuildPixel's response is not as documented: {problem}; check the host of "
        "the Airflow connection, and whether a proxy responds instead of BuildPixel",
        status_code=reply.status,
        request_id=_request_id({}, reply),
    )


def error_from_reply(call: Call[Any], reply: Reply) -> BuildPixelError:
    """Return the error for a response whose status is not 2xx."""
    body = _error_body(reply)
    code = fields.text(body.get("error"))
    details = {
        "status_code": reply.status,
        "code": safe_text(code, 80) if code else None,
        "request_id": _request_id(body, reply),
    }
    reason = fields.text(body.get("message"))
    class_ = _error_class(reply.status)
    advice = ADVICE_BY_CODE.get(code or "") or ADVICE.get(class_)
    message = f"{call.title}: {safe_text(reason) if reason else _default_message(reply.status)}"
    message += f"; {advice}" if advice else ""
    if class_ is RateLimited:
        return RateLimited(message, wait=reply.retry_after, **details)  # type: ignore[arg-type]
    return class_(message, **details)  # type: ignore[arg-type]


def _error_class(status: int) -> type[BuildPixelError]:
    if status == 429:  # its class has an additional argument, so it is not in the table
        return RateLimited
    if status in ERROR_BY_STATUS:
        return ERROR_BY_STATUS[status]
    if status >= 500:
        return ServerFault
    return InvalidRequest if status >= 400 else UnexpectedAnswer


def _default_message(status: int) -> str:
    """Return the message for a body without one: gateways send HTML or an empty body."""
    if 300 <= status < 400:
        return (
            "redirected to another address, which is not followed, because the token is sent to "
            "the configured host only; put the final address into the Airflow connection"
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
    return safe_text(found, 80) if found else None


def _http_date(value: str | None) -> float | None:
    try:
        found = parsedate_to_datetime(value or "")
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


DATE_PRECISION = 2.0
"""Seconds by which the server's clock may differ from its ``Date``, which has whole seconds."""

UNKNOWN_CLOCK = 300.0
"""Seconds by which the server's clock may differ from ours, where responses have no ``Date``."""


def clock_tolerance(offset: float | None) -> float:
    """Return the seconds by which an estimate of the server's time may be wrong.

    :param offset: seconds by which its clock is ahead of ours, None if no response had a ``Date``.
    """
    return UNKNOWN_CLOCK if offset is None else DATE_PRECISION
