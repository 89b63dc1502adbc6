from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_buildpixel.builds.failure_cause import is_permanent_cause, known_cause
from airflow_provider_buildpixel.builds.logs import (
    LEVELS,
    MAX_ERRORS,
    LogLine,
    LogSummary,
    LogTail,
    recent_lines,
)
from tests.strategies import EXAMPLES, JSON, OBJECTS

AT = "2026-05-10T14:23:45.123Z"


@EXAMPLES
@given(JSON | OBJECTS)
def test_any_json_is_a_line_or_none(data: Any) -> None:
    """Any JSON value is parsed or ignored as a line, and a parsed line can be shown and added."""
    line = LogLine.from_json(data)
    assert line is None or line.level in LEVELS
    if line is not None:
        LogSummary.from_lines([line])
        assert isinstance(line.display_text, str)


@EXAMPLES
@given(OBJECTS)
def test_any_build_has_lines_or_none(raw: dict[str, Any]) -> None:
    """Any build object has log lines or none, and reading them raises nothing."""
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
    """A line is parsed from an object or a text, with its time and level where it has them."""
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
        pytest.param({"changelog": "Fix it", "logs": ["a", "b"]}, ["a", "b"], id="richest"),
        pytest.param({"logs": None, "output": ["a"]}, [], id="none"),
    ],
)
def test_recent_lines(raw: dict[str, Any], expected: list[str]) -> None:
    """The recent lines are found in every accepted field and form."""
    assert [line.message for line in recent_lines(raw)] == expected


def lines(*texts: str, timed: bool = True) -> list[LogLine]:
    """Return lines, each with its own time or without one."""
    return [
        LogLine(text, timestamp=f"2026-05-10T14:23:{number:02d}Z" if timed else None)
        for number, text in enumerate(texts)
    ]


@pytest.mark.parametrize("timed", [True, False], ids=["rest-with-times", "rest-without"])
def test_live_and_rest_lines_overlap(*, timed: bool) -> None:
    """A line from both sources is reported once, with or without a time from REST."""
    tail = LogTail()
    assert [tail.add_live(line) for line in lines("a", "b", "c")] == [True] * 3
    assert tail.add_recent(lines("a", "b", "c", timed=timed)) == []
    assert [line.message for line in tail.add_recent(lines("a", "b", "c", "d", timed=timed))] == [
        "d"
    ]
    assert tail.add_live(lines("a", "b", "c", "d")[3]) is (False)


def test_time_formats_are_equivalent() -> None:
    """The same time in another format is the same line."""
    tail = LogTail()
    assert tail.add_live(LogLine("a", timestamp="2026-05-10T14:23:45Z"))
    assert not tail.add_live(LogLine("a", timestamp="2026-05-10T14:23:45.000+00:00"))
    assert tail.add_live(LogLine("a", timestamp="2026-05-10T14:23:46Z"))


def test_equal_lines_without_times_are_counted() -> None:
    """Of equal lines, as many are reported as the source with more of them has."""
    tail = LogTail()
    tick = LogLine("tick")
    assert len(tail.add_recent([tick, tick])) == 2
    assert [tail.add_live(tick) for _ in range(3)] == [False, False, True]
    assert tail.add_recent([tick, tick, tick]) == []


@pytest.mark.parametrize("timed", [True, False])
def test_a_long_tail_is_reported_once(*, timed: bool) -> None:
    """Lines beyond the limit are not reported again with each read."""
    tail = LogTail(max_entries=50)
    many = lines(*(f"line {number}" for number in range(59)), timed=timed)
    assert len(tail.add_recent(many)) == 50
    assert tail.add_recent(many) == []
    tail.add_live(LogLine("new", timestamp=AT))
    assert len(tail.add_recent(many[-20:])) == 0


def test_memory_is_bounded() -> None:
    """The number of remembered lines has an upper limit."""
    tail = LogTail(max_entries=10)
    for number in range(100):
        assert tail.add_live(LogLine(str(number), timestamp=str(number)))
    assert max(len(tail._timestamped), len(tail._counts)) == 10


def test_a_summary() -> None:
    """A summary has the phase, the first errors and whether the log announced the build's end."""
    summary = LogSummary()
    phases = [
        summary.add(LogLine.from_json(text) or LogLine(""))
        for text in (
            "*** COMPILING MyGame ***",
            "*** COMPILING again ***",
            "LogCook: Display: Cooking maps from path",
            "LogStaging: Staging...",
            *["LogPlayLevel: Error: x"] * 30,
            "BUILD FAILED Error:",
        )
    ]
    assert [phase for phase in phases if phase] == ["compile", "cook", "stage"]
    assert (summary.phase, len(summary.errors), summary.ended) == ("stage", MAX_ERRORS, True)


@pytest.mark.parametrize(
    ("line", "cause", "permanent"),
    [
        ("LogPlayLevel: Error: MyGameModule.cpp(42): error C2065: x", "compile", True),
        ("LogCook: Error: Failed to cook /Game/Maps/Level3", "cook", True),
        ("fatal: could not read Username for 'https://github.com'", "repository", True),
        ("Perforce password (P4PASSWD) invalid or unset.", "perforce_ticket", True),
        ("something else", None, None),
    ],
)
def test_a_cause(line: str, cause: str | None, *, permanent: bool | None) -> None:
    """The documented error lines have a known cause."""
    found = known_cause(["first", line])
    assert (found and found.name, found and found.permanent) == (cause, permanent)
    assert is_permanent_cause(cause) is bool(permanent)


@EXAMPLES
@given(st.text(max_size=200))
def test_any_text_can_be_shown(text: str) -> None:
    """The display text of any line has no line break."""
    assert "\n" not in LogLine(text).display_text
