"""What can go wrong with BuildPixel, as one shallow tree.

    BuildPixelError (AirflowException)
    ├── Unreachable          no answer came back
    ├── UnexpectedAnswer     an answer that the API does not promise
    ├── InvalidRequest       400, and every other refusal of the request as it stands
    ├── Unauthorized         401
    ├── Forbidden            403
    ├── NotFound             404
    │   └── ArtifactUnavailable
    ├── RateLimited          429
    ├── ServerFault          5xx
    ├── BuildFailed          the build ended without success
    ├── BuildSuperseded      a newer build took its place
    ├── BuildTimeout         the build did not end in time (it goes on)
    ├── BuildInFlight        a live build stands in the way and ``on_in_flight="fail"``
    ├── DispatchUncertain    a trigger request may have started a build that cannot be told apart
    └── ChecksumMismatch     the artifact is not what BuildPixel says it is

The base is Airflow's, so that a DAG author's ``except AirflowException`` still matches. What no
retry can mend (400, 401, 403) is an ``AirflowFailException`` too: the task fails at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_buildpixel.core.text import LINE_LIMIT, plain

if TYPE_CHECKING:
    from airflow_provider_buildpixel.core.model import Build

__all__ = [
    "ArtifactUnavailable",
    "BuildFailed",
    "BuildInFlight",
    "BuildPixelError",
    "BuildSuperseded",
    "BuildTimeout",
    "ChecksumMismatch",
    "DispatchUncertain",
    "Forbidden",
    "InvalidRequest",
    "NotFound",
    "RateLimited",
    "ServerFault",
    "Unauthorized",
    "UnexpectedAnswer",
    "Unreachable",
]


class BuildPixelError(AirflowException):
    """Something about BuildPixel went wrong; the message says what to do.

    :param message: what happened and what to do now.
    :param status_code: HTTP status of the answer, None when there was none.
    :param code: BuildPixel's machine-readable code, such as ``engine_not_found``.
    :param request_id: the id that BuildPixel's support asks for.
    """

    status_code: int | None  # type: ignore[assignment]  # Airflow's is always a number

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
    AirflowException.__init__(error, state["message"])
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


class InvalidRequest(BuildPixelError, AirflowFailException):
    """BuildPixel refuses the request as it stands (400 and its kin)."""


class Unauthorized(BuildPixelError, AirflowFailException):
    """The token is missing, malformed, expired or revoked (401)."""


class Forbidden(BuildPixelError, AirflowFailException):
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


class BuildFailed(BuildPixelError):
    """The build ended without success.

    :param build: the build as last read.
    :param phase: the phase in which it failed (``compile``, ``cook``, …), if the log tells.
    :param errors: its first error lines.
    :param cause: why, as far as its log tells: ``compile``, ``cook``, ``repository``,
        ``perforce_ticket`` or ``no_word``.
    """

    def __init__(
        self,
        message: str,
        *,
        build: Build,
        phase: str | None = None,
        errors: tuple[str, ...] = (),
        cause: str | None = None,
    ) -> None:
        super().__init__(message)
        self.build = build
        self.phase = phase
        self.errors = errors
        self.cause = cause


class BuildSuperseded(BuildPixelError):
    """A newer build of the same project, branch, platform and build type took its place.

    :param build: the build that was cancelled.
    :param newer: the one that replaced it, None when it could not be told.
    """

    def __init__(self, message: str, *, build: Build, newer: Build | None = None) -> None:
        super().__init__(message)
        self.build = build
        self.newer = newer


class BuildTimeout(BuildPixelError):
    """The build did not end in time. It goes on: BuildPixel has no way to cancel it.

    :param build: the build as last read, None when none had appeared yet.
    """

    def __init__(self, message: str, *, build: Build | None = None) -> None:
        super().__init__(message)
        self.build = build


class BuildInFlight(BuildPixelError):
    """A live build would be superseded, and ``on_in_flight="fail"`` forbids that.

    :param build: the live build.
    """

    def __init__(self, message: str, *, build: Build) -> None:
        super().__init__(message)
        self.build = build


class DispatchUncertain(BuildPixelError):
    """A trigger request may have started a build, and which one cannot be told.

    :param candidates: the builds that it may have started.
    """

    def __init__(self, message: str, *, candidates: tuple[Build, ...] = ()) -> None:
        super().__init__(message)
        self.candidates = candidates


class ChecksumMismatch(BuildPixelError):
    """The bytes that arrived are not those that BuildPixel announced; they were deleted."""
