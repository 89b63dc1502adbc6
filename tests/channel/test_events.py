from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_buildpixel.api.model import Status
from airflow_provider_buildpixel.builds.logs import LogLine
from airflow_provider_buildpixel.channel.events import (
    LogEvent,
    StatusHint,
    is_info_line,
    parse_log,
    parse_status,
    token_refused,
)
from tests.strategies import EXAMPLES, JSON, OBJECTS


@EXAMPLES
@given(st.lists(JSON | OBJECTS, max_size=3))
def test_any_event_is_parsed_or_ignored(payload: list[Any]) -> None:
    """With any arguments, parsing returns an event or None."""
    assert isinstance(parse_status(*payload), StatusHint | None)
    assert isinstance(parse_log(*payload), LogEvent | None)
    assert token_refused(payload) in {True, False}


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({"buildId": "b", "status": "running"}, StatusHint("b", Status("running"))),
        ({"buildId": "b", "status": ""}, StatusHint("b")),
        ({"buildId": "b", "status": {"a": 1}}, StatusHint("b")),
        ({"buildId": 7}, StatusHint("7")),
        ({"status": "running"}, None),
        ("b", None),
        (None, None),
    ],
)
def test_a_status_event(payload: Any, expected: StatusHint | None) -> None:
    """A status event needs a build id; the status may be missing."""
    assert parse_status(payload, "more") == expected


def test_a_log_event() -> None:
    """A log event needs a build id and a text."""
    payload = {"buildId": "b", "timestamp": "t", "level": "warn", "message": "m"}
    assert parse_log(payload) == LogEvent("b", LogLine("m", "warn", "t"))
    assert parse_log({"buildId": "b"}) is None
    assert parse_log({"message": "m"}) is None
    assert parse_log() is None


@pytest.mark.parametrize(
    ("payload", "expected"),
    [(({"level": "info"},), True), (({"level": "error"},), False), (("info",), False), ((), False)],
)
def test_is_info_line(payload: tuple[Any, ...], *, expected: bool) -> None:
    """Only a line with level info may be dropped unparsed."""
    assert is_info_line(*payload) is expected


@pytest.mark.parametrize(
    ("reason", "refused"),
    [
        ({"message": "invalid_token"}, True),
        ({"message": "Unauthorized"}, True),
        ("Forbidden", True),
        ({"code": "invalid_token"}, True),
        ("timeout", False),
        (None, False),
    ],
)
def test_a_refused_token(reason: Any, *, refused: bool) -> None:
    """token_refused() recognizes the connect errors that refuse the token."""
    assert token_refused(reason) is refused
