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
from airflow_provider_buildpixel.channel.reconnect import (
    LONG_POLLING,
    STABLE_AFTER,
    WEBSOCKET,
    ReconnectPolicy,
)
from tests.strategies import EXAMPLES, JSON, OBJECTS


@EXAMPLES
@given(st.lists(JSON | OBJECTS, max_size=3))
def test_any_event_is_understood_or_ignored(payload: list[Any]) -> None:
    """Whatever arguments an event has, it is a value or None."""
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
    """A rumour names its build; what status it tells may be missing."""
    assert parse_status(payload, "more") == expected


def test_a_log_event() -> None:
    """A line needs a build and a text."""
    sent = {"buildId": "b", "timestamp": "t", "level": "warn", "message": "m"}
    assert parse_log(sent) == LogEvent("b", LogLine("m", "warn", "t"))
    assert parse_log({"buildId": "b"}) is None
    assert parse_log({"message": "m"}) is None
    assert parse_log() is None


@pytest.mark.parametrize(
    ("payload", "idle"),
    [(({"level": "info"},), True), (({"level": "error"},), False), (("info",), False), ((), False)],
)
def test_idle_talk(payload: tuple[Any, ...], *, idle: bool) -> None:
    """Only a line that calls itself info is one that can be dropped unread."""
    assert is_info_line(*payload) is idle


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
    """A connect error tells whether it was the token."""
    assert token_refused(reason) is refused


def test_websocket_then_long_polling_then_a_growing_pause() -> None:
    """Where websockets are blocked, long-polling comes next, and only then a pause."""
    policy = ReconnectPolicy(cap=8.0)
    pauses = []
    for _ in range(6):
        assert policy.transport == WEBSOCKET
        assert policy.failed(1.0) == 0.0
        assert policy.transport == LONG_POLLING
        pauses.append(policy.failed(1.0))
    assert pauses == sorted(pauses)
    assert pauses[0] == 1.0
    assert pauses[-1] == 8.0


def test_a_refused_token_is_not_shown_often() -> None:
    """A refused token rests for a minute."""
    assert ReconnectPolicy().failed(0.5, refused=True) >= 60.0


def test_a_steady_channel_comes_back_soon() -> None:
    """A channel that stood comes back at once, however often it failed before."""
    policy = ReconnectPolicy()
    for _ in range(20):
        policy.connected()
        assert policy.dropped(1.0, uptime=STABLE_AFTER) <= 0.2


def test_a_flapping_channel_slows_down() -> None:
    """A channel that falls as soon as it stands comes back ever more slowly."""
    policy = ReconnectPolicy(cap=60.0)
    pauses = []
    for _ in range(12):
        policy.connected()
        pauses.append(policy.dropped(1.0, uptime=0.1))
    assert pauses == sorted(pauses)
    assert pauses[-1] == 60.0
