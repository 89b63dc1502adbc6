from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_buildpixel.builds.logs import (
    LEVELS,
    MAX_ERRORS,
    LogLine,
    LogSummary,
    LogTail,
    cause_of,
    is_permanent_cause,
    recent_lines,
)
from tests.strategies import EXAMPLES, JSON, OBJECTS

AT = "2026-05-10T14:23:45.123Z"


@EXAMPLES
@given(JSON | OBJECTS)
def test_any_json_is_a_line_or_none(data: Any) -> None:
    """Whatever a line looks like, it is read or ignored, and can be shown and noted."""
    line = LogLine.from_json(data)
    assert line is None or line.level in LEVELS
    if line is not None:
        LogSummary.of([line])
        assert isinstance(line.shown, str)


@EXAMPLES
@given(OBJECTS)
def test_any_build_has_lines_or_none(raw: dict[str, Any]) -> None:
    """Whatever a build holds, its log lines are found or there are none."""
    assert all(isinstance(line, LogLine) for line in recent_lines(raw))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"message": "m", "level": "warn", "timestamp": AT}, LogLine("m", "warn", AT)),
        ({"line": "m", "severity": "WARNING", "ts": 5}, LogLine("m", "warn", "5")),
        ({"text": "m", "level": "made-up"}, LogLine("m")),
        ({"msg": "LogCook: Error: x"}, LogLine("LogCook: Error: x", "error")),
        ({"message": "fatal: no"}, LogLine("fatal: no", "error")),
        ({"message": "Warning: x"}, LogLine("Warning: x", "warn")),
        ({"level": "info"}, None),
        (7, None),
        ("plain", LogLine("plain")),
        (f"{AT} text", LogLine("text", "info", AT)),
        (f"[{AT}] [ERROR]: text", LogLine("text", "error", AT)),
        (f"{AT} warning " + "x" * 200, LogLine("x" * 200, "warn", AT)),
    ],
)
def test_a_line(data: Any, expected: LogLine | None) -> None:
    """A line is read from an object or a text, with its time and level where it has them."""
    assert LogLine.from_json(data) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param({"logs": ["a", "b"]}, ["a", "b"], id="texts"),
        pytest.param({"recentLogs": [{"message": "a"}, 7, None]}, ["a"], id="objects"),
        pytest.param({"logLines": "a b\n\nc\n"}, ["a b", "c"], id="one-text"),
        pytest.param({"logs": {"items": [{"message": "a"}], "nextCursor": None}}, ["a"], id="page"),
        pytest.param({"logs": {"items": ["a"], "nextCursor": "eyJ4IjoxfQ=="}}, ["a"], id="cursor"),
        pytest.param({"log": {"tail": {"lines": ["a"]}}}, ["a"], id="deep"),
        pytest.param({"log": {"1": {"2": {"3": {"lines": ["a"]}}}}}, [], id="too-deep"),
        pytest.param({"logUrl": "https://x/y"}, [], id="url"),
        pytest.param({"logLevel": "info", "logs": ["a"]}, ["a"], id="level-first"),
        pytest.param({"changelog": "Mend it", "logs": ["a", "b"]}, ["a", "b"], id="richest"),
        pytest.param({"logs": None, "output": ["a"]}, [], id="none"),
    ],
)
def test_recent_lines(raw: dict[str, Any], expected: list[str]) -> None:
    """The recent lines are found in every reasonable field and shape."""
    assert [line.message for line in recent_lines(raw)] == expected


def lines(*texts: str, timed: bool = True) -> list[LogLine]:
    """Make lines, each with its own time or without one."""
    return [
        LogLine(text, timestamp=f"2026-05-10T14:23:{number:02d}Z" if timed else None)
        for number, text in enumerate(texts)
    ]


@pytest.mark.parametrize("timed", [True, False], ids=["rest-with-times", "rest-without"])
def test_feed_and_rest_overlap(*, timed: bool) -> None:
    """A line that both sources bring is given once, whether REST tells its time or not."""
    tail = LogTail()
    assert [tail.add_live(line) for line in lines("a", "b", "c")] == [True] * 3
    assert tail.add_recent(lines("a", "b", "c", timed=timed)) == []
    assert [line.message for line in tail.add_recent(lines("a", "b", "c", "d", timed=timed))] == [
        "d"
    ]
    assert tail.add_live(lines("a", "b", "c", "d")[3]) is (False)


def test_the_form_of_a_time_does_not_matter() -> None:
    """The same instant in another form is the same line."""
    tail = LogTail()
    assert tail.add_live(LogLine("a", timestamp="2026-05-10T14:23:45Z"))
    assert not tail.add_live(LogLine("a", timestamp="2026-05-10T14:23:45.000+00:00"))
    assert tail.add_live(LogLine("a", timestamp="2026-05-10T14:23:46Z"))


def test_equal_lines_without_times_are_counted() -> None:
    """Of equal lines as many are given as the richer source has."""
    tail = LogTail()
    tick = LogLine("tick")
    assert len(tail.add_recent([tick, tick])) == 2
    assert [tail.add_live(tick) for _ in range(3)] == [False, False, True]
    assert tail.add_recent([tick, tick, tick]) == []


@pytest.mark.parametrize("timed", [True, False])
def test_a_long_tail_comes_once(*, timed: bool) -> None:
    """A tail that is longer than the memory is not given again with each read."""
    tail = LogTail(memory=50)
    many = lines(*(f"line {number}" for number in range(59)), timed=timed)
    assert len(tail.add_recent(many)) == 50
    assert tail.add_recent(many) == []
    tail.add_live(LogLine("new", timestamp=AT))
    assert len(tail.add_recent(many[-20:])) == 0


def test_memory_is_bounded() -> None:
    """However many lines come, so many are remembered and no more."""
    tail = LogTail(memory=10)
    for number in range(100):
        assert tail.add_live(LogLine(str(number), timestamp=str(number)))
    assert max(len(tail._timed), len(tail._heard)) == 10


def test_a_book() -> None:
    """A book knows the phase, the first errors and whether the build said that it ended."""
    book = LogSummary()
    told = [
        book.add(LogLine.from_json(text) or LogLine(""))
        for text in (
            "*** COMPILING MyGame ***",
            "*** COMPILING again ***",
            "LogCook: Display: Cooking maps from path",
            "LogStaging: Staging...",
            *["LogPlayLevel: Error: x"] * 30,
            "BUILD FAILED Error:",
        )
    ]
    assert [phase for phase in told if phase] == ["compile", "cook", "stage"]
    assert (book.phase, len(book.errors), book.ended) == ("stage", MAX_ERRORS, True)


@pytest.mark.parametrize(
    ("line", "cause", "lasting"),
    [
        ("LogPlayLevel: Error: MyGameModule.cpp(42): error C2065: x", "compile", True),
        ("LogCook: Error: Failed to cook /Game/Maps/Level3", "cook", True),
        ("fatal: could not read Username for 'https://github.com'", "repository", True),
        ("Perforce password (P4PASSWD) invalid or unset.", "perforce_ticket", True),
        ("something else", None, None),
    ],
)
def test_a_cause(line: str, cause: str | None, *, lasting: bool | None) -> None:
    """The documented error lines name their cause."""
    found = cause_of(["first", line])
    assert (found and found.name, found and found.permanent) == (cause, lasting)
    assert is_permanent_cause(cause) is bool(lasting)


@EXAMPLES
@given(st.text(max_size=200))
def test_any_text_can_be_shown(text: str) -> None:
    """Every line can be shown on one line."""
    assert "\n" not in LogLine(text).shown
