"""The errors of the REST API and of artifacts, without Airflow.

Code in this package raises and catches these classes. Users import them from
:mod:`airflow_provider_buildpixel.exceptions`, which also makes them Airflow exceptions and shows
the whole class tree.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_buildpixel.api.text import LINE_LIMIT, sanitize


class _ErrorRoot(Exception):  # never raised
    """Placeholder for the base class; ``exceptions`` replaces it with Airflow's.

    Python allows a new base only where the old one is not ``Exception`` itself.
    """


class BuildPixelError(_ErrorRoot):
    """Base class of all errors of this provider.

    :param message: what happened and what to do now.
    :param status_code: HTTP status of the response, None if there was no response.
    :param code: BuildPixel's machine-readable error code, such as ``engine_not_found``.
    :param request_id: the id to give to BuildPixel's support.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
    ) -> None:
        # The code that raises sanitizes what it quotes; this is a second line of defence.
        message = "\n".join(sanitize(line, LINE_LIMIT * 2) for line in message.split("\n"))
        super().__init__(message)
        self.message = message
        self.status_code = status_code
        self.code = code
        self.request_id = request_id

    def __str__(self) -> str:
        """Return the message, followed by HTTP status, error code and request id if known."""
        known = (
            ("HTTP", self.status_code),
            ("code", self.code),
            ("request id", self.request_id),
        )
        facts = ", ".join(f"{name} {value}" for name, value in known if value)
        return f"{self.message} ({facts})" if facts else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        """Support pickling: the default fails for exceptions with keyword-only arguments."""
        return _rebuild, (type(self), self.__dict__)


def _rebuild(kind: type[BuildPixelError], state: dict[str, Any]) -> BuildPixelError:
    error = kind.__new__(kind)
    Exception.__init__(error, state["message"])
    error.__dict__.update(state)
    return error


class Unreachable(BuildPixelError):
    """No response arrived: the connection was refused, was reset or timed out.

    :param sent: False if the request was certainly not sent, so that it is safe to repeat.
    :param timed_out: True if the server may still be processing the request.
    """

    def __init__(self, message: str, *, sent: bool = True, timed_out: bool = False) -> None:
        super().__init__(message)
        self.sent = sent
        self.timed_out = timed_out


class UnexpectedAnswer(BuildPixelError):
    """The response is not as documented: invalid JSON, HTML, a redirect, or a missing field."""


class InvalidRequest(BuildPixelError):
    """BuildPixel rejected the request, or a parameter is invalid (400 and other 4xx)."""


class Unauthorized(BuildPixelError):
    """The token is missing, malformed, expired or revoked (401)."""


class Forbidden(BuildPixelError):
    """The token does not have the required permission (403)."""


class NotFound(BuildPixelError):
    """The object does not exist, or the token has no access to it (404)."""


class ArtifactUnavailable(NotFound):
    """The build produced no artifact, or retention has removed it."""


class RateLimited(BuildPixelError):
    """Too many requests (429).

    :param wait: seconds to wait as the server requested, None if it did not specify a time.
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
    """BuildPixel, or a gateway in front of it, failed (5xx)."""


class ChecksumMismatch(BuildPixelError):
    """The downloaded file does not match the MD5 or size from BuildPixel; it was deleted."""
