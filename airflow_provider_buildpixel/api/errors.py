"""The errors of the REST API and of artifacts, without Airflow.

Code in this package raises and catches these classes. Users import them from
:mod:`airflow_provider_buildpixel.exceptions`, which also makes them Airflow exceptions; the whole
tree is drawn there.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_buildpixel.api.text import LINE_LIMIT, plain


class _Root(Exception):  # never raised
    """Stands where ``exceptions`` puts Airflow's base class."""


class BuildPixelError(_Root):
    """Something about BuildPixel went wrong; the message says what to do.

    :param message: what happened and what to do now.
    :param status_code: HTTP status of the answer, None when there was none.
    :param code: BuildPixel's machine-readable code, such as ``engine_not_found``.
    :param request_id: the id that BuildPixel's support asks for.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
    ) -> None:
        # Whoever makes an error has seen to what is in it; this is for what was overlooked.
        message = "\n".join(plain(line, LINE_LIMIT * 2) for line in message.split("\n"))
        super().__init__(message)
        self.message = message
        self.status_code = status_code
        self.code = code
        self.request_id = request_id

    def __str__(self) -> str:
        """Give the message, closed by the HTTP status, the code and the request id."""
        known = (
            ("HTTP", self.status_code),
            ("code", self.code),
            ("request id", self.request_id),
        )
        facts = ", ".join(f"{name} {value}" for name, value in known if value)
        return f"{self.message} ({facts})" if facts else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        """Survive pickling, which an exception with keyword arguments does not by itself."""
        return _rebuilt, (type(self), self.__dict__)


def _rebuilt(kind: type[BuildPixelError], state: dict[str, Any]) -> BuildPixelError:
    error = kind.__new__(kind)
    Exception.__init__(error, state["message"])
    error.__dict__.update(state)
    return error


class Unreachable(BuildPixelError):
    """No answer came back: connection refused, reset, timed out.

    :param sent: False when the request surely never left, so that repeating it is safe.
    :param timed_out: True when the request may still be under way at the other end.
    """

    def __init__(self, message: str, *, sent: bool = True, timed_out: bool = False) -> None:
        super().__init__(message)
        self.sent = sent
        self.timed_out = timed_out


class UnexpectedAnswer(BuildPixelError):
    """The answer is not what the API promises: broken JSON, HTML, a redirect, a missing field."""


class InvalidRequest(BuildPixelError):
    """BuildPixel refuses the request as it stands (400 and its kin)."""


class Unauthorized(BuildPixelError):
    """The token is missing, malformed, expired or revoked (401)."""


class Forbidden(BuildPixelError):
    """The token lacks the permission (403)."""


class NotFound(BuildPixelError):
    """It does not exist, or this token may not see it (404)."""


class ArtifactUnavailable(NotFound):
    """The build never made an artifact, or retention removed it."""


class RateLimited(BuildPixelError):
    """Too many requests (429).

    :param wait: seconds to wait as the server asks, None when it does not say.
    """

    def __init__(
        self,
        message: str,
        *,
        wait: float | None = None,
        status_code: int | None = 429,
        code: str | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, status_code=status_code, code=code, request_id=request_id)
        self.wait = wait


class ServerFault(BuildPixelError):
    """BuildPixel, or a gateway before it, failed (5xx)."""


class ChecksumMismatch(BuildPixelError):
    """The bytes that arrived are not those that BuildPixel announced; they were deleted."""
