from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_buildpixel.api.model import Build, Status
from airflow_provider_buildpixel.builds.logs import LogLine, in_order
from airflow_provider_buildpixel.page.phases import COMPLETE_LOG_LINES, timeline

BEGIN = datetime(2026, 5, 10, 14, tzinfo=UTC)
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


def _lines(*told: tuple[float | None, str]) -> list[LogLine]:
    return [LogLine(text, "info", after if after is None else _at(after)) for after, text in told]


def _at(after: float) -> str:
    return (BEGIN + timedelta(seconds=after)).isoformat()


def _seen(status: str, *told: tuple[float | None, str], now: float = 600, **more: Any) -> list[Any]:
    build = Build("build-1", Status(status), **more)
    found = timeline(build, _lines(*told), BEGIN + timedelta(seconds=now))
    assert [phase.name for phase in found] == ["source sync", "compile", "cook", "stage", "upload"]
    return [(phase.state, phase.seconds) for phase in found]


def test_a_whole_log() -> None:
    """A log that shows all phases tells how long each took."""
    seconds = [60, 240, 180, 60, 60]
    ended = BEGIN + timedelta(seconds=600)
    found = _seen("complete", *LOG, finished_at=ended)
    assert found == [("done", wanted) for wanted in seconds]
    assert _seen("complete", *LOG) == found  # the last line's time is as good


def test_a_running_build() -> None:
    """The phase that a build is in lasts until now, and the others are ahead."""
    found = _seen("running", *LOG[:2], now=100)
    assert found == [("done", 60), ("now", 40), *[("ahead", None)] * 3]


def test_a_clock_that_is_behind() -> None:
    """No phase has a negative duration, whatever the clocks say."""
    assert _seen("running", *LOG[:1], now=-5)[0] == ("now", 0)


def test_a_queued_build() -> None:
    """A queued build has all phases ahead; one that runs without a word is in the first."""
    assert _seen("pending") == [("ahead", None)] * 5
    assert _seen("running") == [("now", None), *[("ahead", None)] * 4]


def test_a_failed_build() -> None:
    """A build fails in the phase that it reached."""
    found = _seen("failed", *LOG[:3], (350, "BUILD FAILED"))
    assert found == [("done", 60), ("done", 240), ("bad", 50), *[("never", None)] * 2]
    assert _seen("failed") == [("never", None)] * 5


def test_a_superseded_build() -> None:
    """A superseded build was cut off in the phase that it reached."""
    assert _seen("superseded", *LOG[:2])[1][0] == "cut"


def test_a_log_that_has_moved_on() -> None:
    """Where the beginning is missing, lines of a phase tell which it is, without its start."""
    lines = [(400, "LogCook: Display: Cooked packages 5 Packages Remain 7 Total 12")]
    found = _seen("running", *lines, (480, STAGE), now=500)
    assert found == [("done", None), ("done", None), ("done", None), ("now", 20), ("ahead", None)]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[3/240] Compile Module.cpp", 1),
        ("UnrealBuildTool: 3%", 1),
        ("LogStaging: Copied 3 files", 3),
        ("Uploaded 4%", 4),
    ],
)
def test_hints(text: str, place: int) -> None:
    """Lines that one phase alone writes tell of it; after another line, with its start."""
    assert _seen("running", (500, text))[place] == ("now", None)
    assert _seen("running", (400, "Hello"), (500, text))[place] == ("now", 100)


def test_a_long_log() -> None:
    """Where the beginning may be missing, it is not known how long the source sync took."""
    told = [(float(n), f"Updating files: {n}") for n in range(COMPLETE_LOG_LINES)]
    assert _seen("running", *told, (60, COMPILE), now=70)[:2] == [("done", None), ("now", 10)]


def test_no_way_back() -> None:
    """A line that speaks of an earlier phase does not take the build back to it."""
    assert _seen("running", *LOG[:3], (310, COMPILE), now=400)[2] == ("now", 100)


def test_lines_without_times() -> None:
    """Without times the phases are known, and not how long they took."""
    found = _seen("complete", *[(None, text) for _, text in LOG])
    assert found == [("done", None)] * 5


def test_the_newest_first() -> None:
    """Lines that come the newest first are put in order; those without times stay as they are."""
    lines = _lines(*LOG)
    assert in_order(tuple(reversed(lines))) == tuple(lines)
    assert in_order(lines) == tuple(lines)
    bare = [replace(line, timestamp=None) for line in lines]
    assert in_order(bare) == tuple(bare)
    assert in_order(()) == ()
