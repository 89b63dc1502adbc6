from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_buildpixel.api.model import Build, Status
from airflow_provider_buildpixel.builds.logs import LogLine, in_order
from airflow_provider_buildpixel.page.phases import COMPLETE_LOG_LINES, timeline

START = datetime(2026, 5, 10, 14, tzinfo=UTC)
SYNC = "Syncing MyGame from github: main"
COMPILE = "*** COMPILING ... ***"
COOK = "LogCook: Cooking maps from path..."
STAGE = "LogStaging: Staging..."
UPLOAD = "Uploading artifact"
LOG = (
    (0, SYNC),
    (60, COMPILE),
    (300, COOK),
    (480, STAGE),
    (540, UPLOAD),
    (600, "BUILD SUCCESSFUL"),
)


def _lines(*logged: tuple[float | None, str]) -> list[LogLine]:
    return [
        LogLine(text, "info", seconds if seconds is None else _at(seconds))
        for seconds, text in logged
    ]


def _at(seconds: float) -> str:
    return (START + timedelta(seconds=seconds)).isoformat()


def _timeline(
    status: str, *logged: tuple[float | None, str], now: float = 600, **more: Any
) -> list[Any]:
    build = Build("build-1", Status(status), **more)
    found = timeline(build, _lines(*logged), START + timedelta(seconds=now))
    assert [phase.name for phase in found] == ["source sync", "compile", "cook", "stage", "upload"]
    return [(phase.state, phase.seconds) for phase in found]


def test_a_complete_log() -> None:
    """A log with all phases gives the duration of each."""
    seconds = [60, 240, 180, 60, 60]
    ended = START + timedelta(seconds=600)
    found = _timeline("complete", *LOG, finished_at=ended)
    assert found == [("done", wanted) for wanted in seconds]
    assert _timeline("complete", *LOG) == found  # the time of the last line is used


def test_a_running_build() -> None:
    """The current phase lasts until now, and later ones are upcoming."""
    found = _timeline("running", *LOG[:2], now=100)
    assert found == [("done", 60), ("running", 40), *[("upcoming", None)] * 3]


def test_a_slow_clock() -> None:
    """No phase has a negative duration, even if the clocks differ."""
    assert _timeline("running", *LOG[:1], now=-5)[0] == ("running", 0)


def test_a_queued_build() -> None:
    """All phases of a queued build are upcoming; a running build without lines is in the first."""
    assert _timeline("pending") == [("upcoming", None)] * 5
    assert _timeline("running") == [("running", None), *[("upcoming", None)] * 4]


def test_a_failed_build() -> None:
    """The phase that a failed build reached is failed."""
    found = _timeline("failed", *LOG[:3], (350, "BUILD FAILED"))
    assert found == [("done", 60), ("done", 240), ("failed", 50), *[("unreached", None)] * 2]
    assert _timeline("failed") == [("unreached", None)] * 5


def test_a_superseded_build() -> None:
    """The phase that a superseded build reached is superseded."""
    assert _timeline("superseded", *LOG[:2])[1][0] == "superseded"


def test_a_log_without_its_beginning() -> None:
    """If the beginning is missing, typical lines identify a phase, but not its start."""
    lines = [(400, "LogCook: Display: Cooked packages 5 Packages Remain 7 Total 12")]
    found = _timeline("running", *lines, (480, STAGE), now=500)
    assert found == [
        ("done", None),
        ("done", None),
        ("done", None),
        ("running", 20),
        ("upcoming", None),
    ]


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("[3/240] Compile Module.cpp", 1),
        ("UnrealBuildTool: 3%", 1),
        ("LogStaging: Copied 3 files", 3),
        ("Uploaded 4%", 4),
    ],
)
def test_typical_lines(text: str, index: int) -> None:
    """Lines that only one phase writes identify it, and after other lines also its start."""
    assert _timeline("running", (500, text))[index] == ("running", None)
    assert _timeline("running", (400, "Hello"), (500, text))[index] == ("running", 100)


def test_a_long_log() -> None:
    """If the beginning may be missing, the duration of the source sync is unknown."""
    logged = [(float(n), f"Updating files: {n}") for n in range(COMPLETE_LOG_LINES)]
    assert _timeline("running", *logged, (60, COMPILE), now=70)[:2] == [
        ("done", None),
        ("running", 10),
    ]


def test_phases_never_go_back() -> None:
    """A line of an earlier phase does not move the build back to it."""
    assert _timeline("running", *LOG[:3], (310, COMPILE), now=400)[2] == ("running", 100)


def test_lines_without_times() -> None:
    """Lines without times identify the phases, but not their durations."""
    found = _timeline("complete", *[(None, text) for _, text in LOG])
    assert found == [("done", None)] * 5


def test_newest_lines_first() -> None:
    """Lines in descending order are reversed; lines without times keep their order."""
    lines = _lines(*LOG)
    assert in_order(tuple(reversed(lines))) == tuple(lines)
    assert in_order(lines) == tuple(lines)
    bare = [replace(line, timestamp=None) for line in lines]
    assert in_order(bare) == tuple(bare)
    assert in_order(()) == ()
