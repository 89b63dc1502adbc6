from __future__ import annotations

import json
import pickle
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_buildpixel.api.endpoints import get_build
from airflow_provider_buildpixel.api.http_messages import (
    DATE_PRECISION,
    UNKNOWN_CLOCK,
    Reply,
    clock_tolerance,
    decode,
    error_from_reply,
)
from airflow_provider_buildpixel.api.model import Build, Status
from airflow_provider_buildpixel.exceptions import (
    BuildFailed,
    BuildPixelError,
    Forbidden,
    InvalidRequest,
    NotFound,
    RateLimited,
    ServerFault,
    Unauthorized,
    UnexpectedAnswer,
    Unreachable,
)
from tests.strategies import EXAMPLES, JSON

CALL = get_build("b1")
HEADERS = st.dictionaries(
    st.sampled_from(("retry-after", "date", "content-type", "x-request-id")),
    st.text(max_size=40)
    | st.sampled_from(
        ("-5", "1e999", "Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 99 Oct 2026 7:8 +99999")
    )
    | st.text(alphabet="WedOct ,:+-0123456789", max_size=40),
)
DEEP = b"[" * 100_000


@EXAMPLES
@given(
    st.integers(100, 599),
    HEADERS,
    st.binary(max_size=60) | JSON.map(lambda x: json.dumps(x).encode()),
)
def test_any_reply_is_a_build_or_an_error(
    status: int, headers: dict[str, str], body: bytes
) -> None:
    """Any response becomes a build or a BuildPixelError."""
    reply = Reply(status, headers, body, 1_000.0)
    with suppress(BuildPixelError):
        assert isinstance(decode(CALL, reply), Build)
    assert isinstance(error_from_reply(CALL, reply), BuildPixelError)
    assert reply.retry_after is None or reply.retry_after >= 0


@pytest.mark.parametrize(
    ("status", "error_class"),
    [
        (400, InvalidRequest),
        (401, Unauthorized),
        (403, Forbidden),
        (404, NotFound),
        (408, ServerFault),
        (409, InvalidRequest),
        (410, NotFound),
        (429, RateLimited),
        (500, ServerFault),
        (502, ServerFault),
        (302, UnexpectedAnswer),
        (101, UnexpectedAnswer),
    ],
)
def test_error_of_a_status(status: int, error_class: type[BuildPixelError]) -> None:
    """Each status has its error class, with the details that support asks for."""
    body = {"error": "some_code", "message": "why\n", "requestId": "req_1"}
    error = error_from_reply(CALL, Reply(status, {}, json.dumps(body).encode()))
    assert type(error) is error_class
    assert (error.status_code, error.code, error.request_id) == (status, "some_code", "req_1")
    assert "GET /builds/b1: why" in str(error)


@pytest.mark.parametrize(
    ("status", "headers", "body", "expected"),
    [
        pytest.param(502, {}, b"<html>", "no explanation", id="html"),
        pytest.param(502, {"x-request-id": "req_9"}, b"[]", "request id req_9", id="list"),
        pytest.param(308, {}, b"", "redirected to another address", id="redirect"),
        pytest.param(403, {}, b'{"error": "insufficient_scope"}', "viewer cannot", id="advice"),
        pytest.param(500, {}, DEEP, "no explanation", id="too-deep"),
    ],
)
def test_error_without_documented_body(
    status: int, headers: dict[str, str], body: bytes, expected: str
) -> None:
    """An error without the documented body still says what happened."""
    assert expected in str(error_from_reply(CALL, Reply(status, headers, body)))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(b"", "it is null", id="empty"),
        pytest.param(b'{"id": "b1", "sta', "it is not JSON but 17 bytes of text/x", id="truncated"),
        pytest.param(b"\xff\xfe\xff", "it is not JSON", id="no-text"),
        pytest.param(DEEP, "it is not JSON", id="too-deep"),
        pytest.param(b'{"id": "b1"}', "no usable 'status'", id="no-status"),
        pytest.param(b"[1]", "it is a list", id="list"),
    ],
)
def test_successful_response_with_invalid_body(body: bytes, expected: str) -> None:
    """A successful response that is not as documented raises UnexpectedAnswer with the reason."""
    with pytest.raises(UnexpectedAnswer, match=expected) as caught:
        decode(CALL, Reply(200, {"content-type": "text/x"}, body))
    assert caught.value.status_code == 200


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "-7"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Thu, 01 Jan 1970 00:16:50 GMT"}, 10.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:16:50 -0000"}, 10.0),
        (
            {
                "retry-after": "Wed, 21 Oct 2026 07:28:30 GMT",
                "date": "Wed, 21 Oct 2026 07:28:00 GMT",
            },
            30.0,
        ),
    ],
)
def test_retry_after_header(headers: dict[str, str], expected: float | None) -> None:
    """Retry-After may be seconds, or a date relative to the server's clock, or else to ours."""
    assert Reply(429, headers, received_at=1_000.0).retry_after == expected
    error = error_from_reply(CALL, Reply(429, headers, received_at=1_000.0))
    assert isinstance(error, RateLimited)
    assert error.wait == expected


@pytest.mark.parametrize(
    "error",
    [
        Unreachable("gone", sent=False),
        RateLimited("slow", wait=3.0, request_id="r"),
        BuildFailed("bad", build=Build("b", Status("failed")), phase="cook", errors=("e",)),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_survive_pickling(error: BuildPixelError) -> None:
    """An error keeps its attributes when it is pickled."""
    copy: Any = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own bytes
    assert type(copy) is type(error)
    assert copy.__dict__ == error.__dict__
    assert str(copy) == str(error)


def test_how_wrong_the_time_of_the_server_may_be() -> None:
    """A date has whole seconds; without one, the server's clock may differ by minutes."""
    assert clock_tolerance(0.0) == clock_tolerance(-30.0) == DATE_PRECISION
    assert clock_tolerance(None) == UNKNOWN_CLOCK
