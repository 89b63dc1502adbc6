"""Decides whether and when a failed request is repeated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.api.errors import (
    Forbidden,
    InvalidRequest,
    RateLimited,
    ServerFault,
    Unauthorized,
    UnexpectedAnswer,
    Unreachable,
)

if TYPE_CHECKING:
    from airflow_provider_buildpixel.api.endpoints import Call
    from airflow_provider_buildpixel.api.errors import BuildPixelError


def backoff(attempt: int, jitter: float, *, first: float = 0.5, cap: float = 30.0) -> float:
    """Return the pause in seconds before a retry: exponential back-off with equal jitter.

    :param attempt: number of the failed attempt, from 0.
    :param jitter: random number between 0 and 1, which spreads the retries of many clients.
    :param first: seconds of the first pause, before jitter.
    :param cap: maximum seconds of a pause.
    """
    longest = min(cap, first * 2.0 ** min(attempt, 32))
    return longest * (0.5 + jitter / 2)


def is_redirect(error: BuildPixelError) -> bool:
    """Whether the response was a redirect: redirects are never followed, so a retry is useless."""
    return error.status_code is not None and 300 <= error.status_code < 400


def from_gateway(error: BuildPixelError) -> bool:
    """Whether a 4xx lacks the error code that BuildPixel sends: a gateway's may be temporary."""
    return isinstance(error, Forbidden | InvalidRequest) and error.code is None


def retry_after_pause(wait: float, jitter: float, minimum: float = 0.0) -> float:
    """Return the pause in seconds after a 429 with ``Retry-After``: never shorter, slightly longer.

    :param wait: seconds that the server requested.
    :param jitter: random number between 0 and 1.
    :param minimum: the client's back-off in seconds, for servers that request 0.
    """
    return max(minimum, wait + jitter * min(1.0, 0.1 + wait / 10))


@dataclass(frozen=True)
class Retries:
    """The retry policy of one request.

    :param budget: seconds after the first attempt within which the last attempt may start.
    """

    budget: float = 120.0

    def pause(
        self, error: BuildPixelError, call: Call[Any], attempt: int, elapsed: float, jitter: float
    ) -> float | None:
        """Return the seconds to wait before the next attempt, None to give up.

        A request that changes something is repeated only if it certainly did not run: it was
        rejected with 429, or it was not sent. The API has no idempotency keys, and a second build
        would supersede the first. A read that a gateway rejected is repeated once.

        :param attempt: number of the failed attempt, from 0.
        :param elapsed: seconds since the first attempt started.
        :param jitter: random number between 0 and 1.
        """
        match error:
            case RateLimited(wait=float() | int() as wait):
                pause = retry_after_pause(wait, jitter, backoff(attempt, jitter))
            case RateLimited() | Unreachable(sent=False):
                pause = backoff(attempt, jitter)
            case Unreachable() | ServerFault() | UnexpectedAnswer() if (
                call.repeatable and not is_redirect(error)
            ):
                pause = backoff(attempt, jitter)
            case _ if from_gateway(error) and call.repeatable and not attempt:
                pause = backoff(attempt, jitter)
            case _:
                return None
        return pause if elapsed + pause <= self.budget else None


def is_permanent(error: BuildPixelError) -> bool:
    """Whether repeating the request later cannot succeed."""
    return isinstance(error, Unauthorized | Forbidden | InvalidRequest) or is_redirect(error)
