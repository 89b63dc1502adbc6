"""From an HTTP answer to a value or a typed error."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_buildpixel.core import fields
from airflow_provider_buildpixel.core.bodies import parsed
from airflow_provider_buildpixel.core.text import shown
from airflow_provider_buildpixel.exceptions import (
    Forbidden,
    InvalidRequest,
    NotFound,
    RateLimited,
    ServerFault,
    Unauthorized,
    UnexpectedAnswer,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_buildpixel.core.calls import Call
    from airflow_provider_buildpixel.exceptions import (
        BuildPixelError,
    )

T = TypeVar("T")

BY_STATUS: dict[int, type[BuildPixelError]] = {
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
    raise refusal(call, reply)


def _value(call: Call[T], reply: Reply) -> T:
    try:
        return call.parse(parsed(reply.body))
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


def refusal(call: Call[Any], reply: Reply) -> BuildPixelError:
    """Give the error that an answer other than 2xx means."""
    body = _error_body(reply)
    code = fields.text(body.get("error"))
    about = {
        "status_code": reply.status,
        "code": shown(code, 80) if code else None,
        "request_id": _request_id(body, reply),
    }
    said = fields.text(body.get("message"))
    kind = _kind(reply.status)
    advice = ADVICE_BY_CODE.get(code or "") or ADVICE.get(kind)
    message = f"{call.title}: {shown(said) if said else _unsaid(reply.status)}"
    message += f"; {advice}" if advice else ""
    if kind is RateLimited:
        return RateLimited(message, wait=reply.retry_after, **about)  # type: ignore[arg-type]
    return kind(message, **about)  # type: ignore[arg-type]


def _kind(status: int) -> type[BuildPixelError]:
    if status == 429:  # its error takes one argument more
        return RateLimited
    if status in BY_STATUS:
        return BY_STATUS[status]
    if status >= 500:  # as HTTP defines it
        return ServerFault
    return InvalidRequest if status >= 400 else UnexpectedAnswer  # likewise


def _unsaid(status: int) -> str:
    """Describe a refusal whose body says nothing: gateways answer with HTML or with nothing."""
    if 300 <= status < 400:  # as HTTP defines it
        return (
            "redirected elsewhere, which is not followed, as the token belongs to the configured "
            "host only; put the final address into the Airflow connection"
        )
    return f"refused with HTTP status {status} and no explanation"


def _error_body(reply: Reply) -> dict[str, Any]:
    try:
        body = parsed(reply.body)
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
