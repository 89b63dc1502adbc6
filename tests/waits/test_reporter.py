from __future__ import annotations

import pytest

from airflow_provider_buildpixel.api.model import Build, Status
from airflow_provider_buildpixel.builds.logs import LogLine
from airflow_provider_buildpixel.channel.events import (
    Disconnected,
    Joined,
    LinesDropped,
    LogEvent,
    StatusHint,
)
from airflow_provider_buildpixel.exceptions import ServerFault
from airflow_provider_buildpixel.waits.reporter import (
    HEARTBEAT,
    LogBudget,
    LogMessage,
    TokenBucket,
    WaitReporter,
)

RUNNING = Build("b", Status("running"))


def line(text: str, level: str = "info") -> LogEvent:
    """Make a line of the feed, which is its own only one of that text."""
    return LogEvent("b", LogLine(text, level, text))


def texts(records: list[LogMessage]) -> list[str]:
    """Give what is written."""
    return [record.text for record in records]


def test_changes_of_status_and_phase_are_told_once() -> None:
    """A status and a phase are told when they change, and not again."""
    reporter = WaitReporter(0.0)
    assert texts(reporter.on_read(RUNNING, 1.0)) == ["build b is running"]
    assert texts(reporter.on_event(line("*** COMPILING x"), 2.0)) == [
        "phase: compile",
        "| *** COMPILING x",
    ]
    assert reporter.on_read(RUNNING, 3.0) == []
    done = Build("b", Status("complete"))
    assert texts(reporter.on_read(done, 4.0)) == ["build b is complete (phase: compile)"]
    assert reporter.summary.phase == "compile"


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        ("all", ["| i", "| w", "| e"]),
        ("warn", ["| w", "| e"]),
        ("error", ["| e"]),
        (None, []),
    ],
)
def test_streams(stream: str | None, expected: list[str]) -> None:
    """A stream lets through its level and what is graver."""
    reporter = WaitReporter(0.0, stream=stream)
    told = [
        text
        for text, level in (("i", "info"), ("w", "warn"), ("e", "error"))
        for text in texts(reporter.on_event(line(text, level), 1.0))
    ]
    assert told == expected


def test_what_is_left_out_is_counted() -> None:
    """Lines beyond the quota are counted, and the count is told before what comes next."""
    reporter = WaitReporter(0.0, rate=1.0, burst=2.0)
    told = [
        text for number in range(1500) for text in texts(reporter.on_event(line(str(number)), 0.0))
    ]
    assert told == ["| 0", "| 1"]
    assert texts(reporter.on_event(line("*** COMPILING"), 0.0)) == ["phase: compile"]
    assert texts(reporter.on_event(line("bad", "error"), 0.0)) == [
        "… 1 499 lines left out",
        "| bad",
    ]
    reporter.on_event(LinesDropped(7), 0.0)
    assert texts(reporter.on_read(RUNNING, 0.5)) == [
        "… 7 lines left out",
        "build b is running (phase: compile)",
    ]


def test_what_nobody_wanted_is_not_missed() -> None:
    """Without a stream, lines that were dropped on the way are nobody's loss."""
    reporter = WaitReporter(0.0, stream=None)
    assert reporter.on_event(LinesDropped(7), 0.0) == []
    assert texts(reporter.on_read(RUNNING, 1.0)) == ["build b is running"]


def test_a_lost_channel_is_told_once_and_so_is_its_return() -> None:
    """The reader learns when the live log goes and when it is back, however short the gap."""
    reporter = WaitReporter(0.0)
    assert reporter.on_event(Joined(), 0.0) == []
    assert texts(reporter.on_event(Disconnected("cut"), 1.0)) == [
        "no live channel (cut): reading the status over REST meanwhile"
    ]
    assert reporter.on_event(Disconnected(), 2.0) == []
    assert texts(reporter.on_event(Joined(), 2.0)) == [
        "live channel is up again; the live log was blind for 1 s"
    ]
    assert texts(reporter.on_event(Disconnected(), 3.0)) == [
        "no live channel: reading the status over REST meanwhile"
    ]
    assert reporter.on_event(StatusHint("b"), 4.0) == []


@pytest.mark.parametrize(
    ("phase", "said"),
    [
        (None, "build b is running; 10 min"),
        ("compile", "build b is running, phase: compile; 10 min"),
    ],
)
def test_a_long_silence_is_broken(phase: str | None, said: str) -> None:
    """A log that has been silent for long says that it still waits."""
    reporter = WaitReporter(0.0, title="build b", stream=None)
    if phase:
        reporter.on_event(line("*** COMPILING"), 0.0)
    reporter.on_read(RUNNING, 0.0)
    assert reporter.on_read(RUNNING, HEARTBEAT - 1) == []
    assert texts(reporter.on_read(RUNNING, HEARTBEAT)) == [f"still waiting: {said}"]


def test_a_failed_read_is_a_warning() -> None:
    """A read that failed is told as such."""
    (record,) = WaitReporter(0.0).on_read_failed(ServerFault("broken", status_code=500), 1.0)
    assert record == LogMessage("could not read the build: broken (HTTP 500)", "warn")


def test_a_status_cannot_forge_a_line() -> None:
    """A status from elsewhere stays on its line."""
    (record,) = WaitReporter(0.0).on_read(Build("b", Status("x\nERROR forged")), 0.0)
    assert "\n" not in record.text


def test_a_quota_fills_up_again() -> None:
    """A quota recovers with time, and never beyond its burst."""
    quota = TokenBucket(rate=1.0, burst=2.0, now=0.0)
    assert [quota.spend(0.0) for _ in range(3)] == [True, True, False]
    assert quota.spend(1.0)
    assert [quota.spend(100.0) for _ in range(3)] == [True, True, False]


def test_all_waits_of_a_process_share_an_allowance() -> None:
    """What other builds told counts, and errors have a share of their own."""
    common = LogBudget(rate=0.0, burst=2.0, now=0.0)
    one, two = (WaitReporter(0.0, common=common) for _ in range(2))
    assert texts(one.on_event(line("a"), 0.0) + two.on_event(line("b"), 0.0)) == ["| a", "| b"]
    assert one.on_event(line("c"), 0.0) == []
    assert texts(one.on_event(line("d", "error"), 0.0)) == ["… 1 lines left out", "| d"]
    assert LogBudget.of_process(0.0).spend("info", 0.0)


def reported(*lines: LogLine) -> Build:
    """Make a running build with these recent lines."""
    logs = [{"message": line.message, "timestamp": line.timestamp} for line in lines]
    return Build("b", Status("running"), raw={"logs": logs})


@pytest.mark.parametrize("timed", [True, False], ids=["rest-with-times", "rest-without"])
def test_a_wait_that_goes_on_does_not_repeat_itself(*, timed: bool) -> None:
    """After a restart the lines from before are counted once, and all later ones are told."""
    old, new = (
        LogLine(text, timestamp=at if timed else None)
        for text, at in (("old", "1970-01-01T00:16:00Z"), ("new", "1970-01-01T00:17:00Z"))
    )
    reporter = WaitReporter(0.0, resumed=True)
    assert texts(reporter.on_read(reported(), 1.0, wall=1_000.0)) == ["build b is running"]
    assert texts(reporter.on_read(reported(old), 2.0, wall=1_001.0)) == [
        "waiting again; 1 lines are from before: above, or on the build's own page"
    ]
    assert texts(reporter.on_read(reported(old, new), 30.0, wall=1_029.0)) == ["| new"]


def test_trouble_is_told_now_and_then() -> None:
    """Reads that go on failing are told once a minute, and anew after one that succeeded."""
    reporter = WaitReporter(0.0)
    told = [bool(reporter.on_read_failed(ServerFault("x"), now)) for now in (0.0, 59.0, 60.0, 61.0)]
    assert told == [True, False, True, False]
    assert reporter.quiet_until() < 61.0
    reporter.on_read(RUNNING, 62.0)
    assert reporter.quiet_until() > 63.0
    assert reporter.on_read_failed(ServerFault("x"), 63.0)


@pytest.mark.parametrize(("stream", "streams"), [("all", True), ("error", True), (None, False)])
def test_whether_a_log_is_told(stream: str | None, *, streams: bool) -> None:
    """A gap matters only where lines are told, and have come."""
    reporter = WaitReporter(0.0, stream=stream)
    assert not reporter.streams
    reporter.on_event(LogEvent("b", LogLine("x")), 1.0)
    assert reporter.streams is streams


def test_the_time_in_the_queue_is_noted() -> None:
    """How long the build was seen in the queue is known once it has left it."""
    reporter = WaitReporter(10.0)
    reporter.on_read(Build("b", Status("pending")), 12.0)
    assert reporter.queued is None
    reporter.on_read(RUNNING, 40.0)
    assert reporter.queued == 30.0
