"""Whether and when a request that went wrong is sent again."""

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
    """Give the pause after the attempt-th failure (from 0): doubling, capped, half of it chance.

    :param chance: between 0 and 1, so that many waiters do not come back together.
    """
    whole = min(cap, first * 2.0 ** min(attempt, 32))
    return whole * (0.5 + jitter / 2)


def is_redirect(error: BuildPixelError) -> bool:
    """Tell an answer that repeating cannot change: a redirect, which is never followed."""
    return error.status_code is not None and 300 <= error.status_code < 400


def from_gateway(error: BuildPixelError) -> bool:
    """Tell a refusal without the code that BuildPixel's own have: a gateway's, that may pass."""
    return isinstance(error, Forbidden | InvalidRequest) and error.code is None


def retry_after_pause(wait: float, jitter: float, own: float = 0.0) -> float:
    """Give the pause after a 429 that named one: never shorter, a little longer by chance.

    :param own: our own back-off, which rules where the server asks for less: some ask for 0.
    """
    return max(own, wait + jitter * min(1.0, 0.1 + wait / 10))


@dataclass(frozen=True)
class Retries:
    """How patiently one request is repeated.

    :param budget: seconds from the first try within which the last may start.
    """

    budget: float = 120.0

    def pause(
        self, error: BuildPixelError, call: Call[Any], attempt: int, elapsed: float, jitter: float
    ) -> float | None:
        """Give the seconds to wait before the next try, None to give up.

        A request that changes something is repeated only if it surely did not run: it was
        refused with 429, or it never left. There is no idempotency key, and a second build
        would supersede the first. A read that a gateway refused is repeated once.
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
    """Tell an error that no waiting cures."""
    return isinstance(error, Unauthorized | Forbidden | InvalidRequest) or is_redirect(error)
