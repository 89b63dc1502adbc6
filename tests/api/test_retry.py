from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_buildpixel.api.endpoints import get_build, trigger_build
from airflow_provider_buildpixel.api.retry import Retries, backoff, retry_after_pause
from airflow_provider_buildpixel.exceptions import (
    Forbidden,
    InvalidRequest,
    NotFound,
    RateLimited,
    ServerFault,
    Unauthorized,
    UnexpectedAnswer,
    Unreachable,
)
from tests.strategies import EXAMPLES

if TYPE_CHECKING:
    from airflow_provider_buildpixel.exceptions import (
        BuildPixelError,
    )

READ, POST = get_build("b"), trigger_build("p", "s")
JITTERS = st.floats(0, 1)


@pytest.mark.parametrize(
    ("error", "read", "post"),
    [
        pytest.param(RateLimited("x", wait=5.0), 5.0, 5.0, id="429-with-a-time"),
        pytest.param(RateLimited("x", wait=5), 5.0, 5.0, id="429-with-a-whole-time"),
        pytest.param(RateLimited("x", wait=0.0), 0.25, 0.25, id="429-that-asks-for-nothing"),
        pytest.param(RateLimited("x"), 0.25, 0.25, id="429"),
        pytest.param(RateLimited("x", wait=500.0), None, None, id="429-beyond-the-budget"),
        pytest.param(Unreachable("x"), 0.25, None, id="silence"),
        pytest.param(Unreachable("x", sent=False), 0.25, 0.25, id="unsent"),
        pytest.param(ServerFault("x", status_code=502), 0.25, None, id="502"),
        pytest.param(UnexpectedAnswer("x", status_code=200), 0.25, None, id="truncated"),
        pytest.param(UnexpectedAnswer("x", status_code=302), None, None, id="redirect"),
        pytest.param(Unauthorized("x", status_code=401), None, None, id="401"),
        pytest.param(NotFound("x", status_code=404), None, None, id="404"),
        pytest.param(InvalidRequest("x", status_code=400, code="c"), None, None, id="400"),
        pytest.param(Forbidden("x", status_code=403, code="c"), None, None, id="403"),
        pytest.param(Forbidden("x", status_code=403), 0.25, None, id="403-of-a-gateway"),
    ],
)
def test_what_is_repeated(error: BuildPixelError, read: float | None, post: float | None) -> None:
    """A read is repeated after temporary failures; a POST only if it certainly did not run."""
    assert Retries().pause(error, READ, 0, 0.0, 0.0) == read
    assert Retries().pause(error, POST, 0, 0.0, 0.0) == post


def test_retry_budget() -> None:
    """No attempt starts after the retry budget."""
    assert Retries(budget=10.0).pause(ServerFault("x"), READ, 0, 9.0, 1.0) == 0.5
    assert Retries(budget=10.0).pause(ServerFault("x"), READ, 0, 9.9, 1.0) is None


@EXAMPLES
@given(st.integers(0, 10_000), JITTERS, st.floats(0.01, 60), st.floats(0.01, 60))
def test_backoff_is_bounded(attempt: int, jitter: float, first: float, cap: float) -> None:
    """A pause is positive and at most the cap."""
    assert 0 < backoff(attempt, jitter, first=first, cap=cap) <= cap


@EXAMPLES
@given(st.floats(0, 1e6), JITTERS, st.floats(0, 30))
def test_retry_after_pause_is_long_enough(wait: float, jitter: float, minimum: float) -> None:
    """The pause after a 429 is at least the requested one and at least the back-off."""
    assert (
        max(wait, minimum) <= retry_after_pause(wait, jitter, minimum) <= max(minimum, wait + 1.0)
    )
