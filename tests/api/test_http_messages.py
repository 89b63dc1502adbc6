from __future__ import annotations

import json
import pickle
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_buildpixel.api.endpoints import get_build
from airflow_provider_buildpixel.api.http_messages import Reply, decode, error_from_reply
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
    """Whatever comes over the wire, it is a build or a BuildPixelError, and nothing else."""
    reply = Reply(status, headers, body, 1_000.0)
    with suppress(BuildPixelError):
        assert isinstance(decode(CALL, reply), Build)
    assert isinstance(error_from_reply(CALL, reply), BuildPixelError)
    assert reply.retry_after is None or reply.retry_after >= 0


@pytest.mark.parametrize(
    ("status", "kind"),
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
def test_a_refusal(status: int, kind: type[BuildPixelError]) -> None:
    """Each status is its own error, which carries what support asks for."""
    body = {"error": "some_code", "message": "why\n", "requestId": "req_1"}
    error = error_from_reply(CALL, Reply(status, {}, json.dumps(body).encode()))
    assert type(error) is kind
    assert (error.status_code, error.code, error.request_id) == (status, "some_code", "req_1")
    assert "GET /builds/b1: why" in str(error)


@pytest.mark.parametrize(
    ("status", "headers", "body", "said"),
    [
        pytest.param(502, {}, b"<html>", "no explanation", id="html"),
        pytest.param(502, {"x-request-id": "req_9"}, b"[]", "request id req_9", id="list"),
        pytest.param(308, {}, b"", "redirected elsewhere", id="redirect"),
        pytest.param(403, {}, b'{"error": "insufficient_scope"}', "viewer cannot", id="advice"),
        pytest.param(500, {}, DEEP, "no explanation", id="too-deep"),
    ],
)
def test_a_refusal_that_says_little(
    status: int, headers: dict[str, str], body: bytes, said: str
) -> None:
    """A refusal without the promised body still says what happened."""
    assert said in str(error_from_reply(CALL, Reply(status, headers, body)))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        pytest.param(b"", "it is null", id="empty"),
        pytest.param(b'{"id": "b1", "sta', "it is no JSON but 17 bytes of text/x", id="truncated"),
        pytest.param(b"\xff\xfe\xff", "it is no JSON", id="no-text"),
        pytest.param(DEEP, "it is no JSON", id="too-deep"),
        pytest.param(b'{"id": "b1"}', "no usable 'status'", id="no-status"),
        pytest.param(b"[1]", "it is a list", id="list"),
    ],
)
def test_an_answer_that_cannot_be_understood(body: bytes, said: str) -> None:
    """A success that is not what the API promises is an UnexpectedAnswer that says why."""
    with pytest.raises(UnexpectedAnswer, match=said) as caught:
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
def test_retry_after(headers: dict[str, str], expected: float | None) -> None:
    """Seconds count as such; a date counts from the server's clock, else from our own."""
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
    """An error that crosses a process keeps all that it knows."""
    twin: Any = pickle.loads(pickle.dumps(error))  # our own bytes
    assert type(twin) is type(error)
    assert twin.__dict__ == error.__dict__
    assert str(twin) == str(error)
