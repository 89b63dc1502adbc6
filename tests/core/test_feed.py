from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_buildpixel.core.feed import (
    LONG_POLLING,
    STEADY,
    WEBSOCKET,
    Line,
    Supervision,
    Told,
    idle_talk,
    line,
    token_refused,
    told,
)
from airflow_provider_buildpixel.core.logs import LogLine
from airflow_provider_buildpixel.core.model import Status
from tests.core.anything import EXAMPLES, JSON, OBJECTS


@EXAMPLES
@given(st.lists(JSON | OBJECTS, max_size=3))
def test_any_event_is_understood_or_ignored(payload: list[Any]) -> None:
    """Whatever arguments an event has, it is a value or None."""
    assert isinstance(told(*payload), Told | None)
    assert isinstance(line(*payload), Line | None)
    assert token_refused(payload) in {True, False}


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({"buildId": "b", "status": "running"}, Told("b", Status("running"))),
        ({"buildId": "b", "status": ""}, Told("b")),
        ({"buildId": "b", "status": {"a": 1}}, Told("b")),
        ({"buildId": 7}, Told("7")),
        ({"status": "running"}, None),
        ("b", None),
        (None, None),
    ],
)
def test_a_status_event(payload: Any, expected: Told | None) -> None:
    """A rumour names its build; what status it tells may be missing."""
    assert told(payload, "more") == expected


def test_a_log_event() -> None:
    """A line needs a build and a text."""
    sent = {"buildId": "b", "timestamp": "t", "level": "warn", "message": "m"}
    assert line(sent) == Line("b", LogLine("m", "warn", "t"))
    assert line({"buildId": "b"}) is None
    assert line({"message": "m"}) is None
    assert line() is None


@pytest.mark.parametrize(
    ("payload", "idle"),
    [(({"level": "info"},), True), (({"level": "error"},), False), (("info",), False), ((), False)],
)
def test_idle_talk(payload: tuple[Any, ...], *, idle: bool) -> None:
    """Only a line that calls itself info is one that can be dropped unread."""
    assert idle_talk(*payload) is idle


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
    supervision = Supervision(cap=8.0)
    pauses = []
    for _ in range(6):
        assert supervision.transport == WEBSOCKET
        assert supervision.failed(1.0) == 0.0
        assert supervision.transport == LONG_POLLING
        pauses.append(supervision.failed(1.0))
    assert pauses == sorted(pauses)
    assert pauses[0] == 1.0
    assert pauses[-1] == 8.0


def test_a_refused_token_is_not_shown_often() -> None:
    """A refused token rests for a minute."""
    assert Supervision().failed(0.5, refused=True) >= 60.0


def test_a_steady_channel_comes_back_soon() -> None:
    """A channel that stood comes back at once, however often it failed before."""
    supervision = Supervision()
    for _ in range(20):
        supervision.connected()
        assert supervision.dropped(1.0, stood=STEADY) <= 0.2


def test_a_flapping_channel_slows_down() -> None:
    """A channel that falls as soon as it stands comes back ever more slowly."""
    supervision = Supervision(cap=60.0)
    pauses = []
    for _ in range(12):
        supervision.connected()
        pauses.append(supervision.dropped(1.0, stood=0.1))
    assert pauses == sorted(pauses)
    assert pauses[-1] == 60.0
