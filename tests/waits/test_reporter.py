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
    """Return the event of a log line; its timestamp is its text, so each text is a new line."""
    return LogEvent("b", LogLine(text, level, text))


def texts(messages: list[LogMessage]) -> list[str]:
    """Return the texts of messages."""
    return [message.text for message in messages]


def test_changes_of_status_and_phase_are_reported_once() -> None:
    """A status and a phase are reported when they change, and not again."""
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
    ("stream_logs", "expected"),
    [
        ("all", ["| i", "| w", "| e"]),
        ("warn", ["| w", "| e"]),
        ("error", ["| e"]),
        (None, []),
    ],
)
def test_log_levels(stream_logs: str | None, expected: list[str]) -> None:
    """Lines of the chosen level and of graver ones are reported."""
    reporter = WaitReporter(0.0, stream_logs=stream_logs)
    reported = [
        text
        for text, level in (("i", "info"), ("w", "warn"), ("e", "error"))
        for text in texts(reporter.on_event(line(text, level), 1.0))
    ]
    assert reported == expected


def test_dropped_lines_are_counted() -> None:
    """Lines beyond the budget are counted, and the count is reported before the next line."""
    reporter = WaitReporter(0.0, rate=1.0, burst=2.0)
    reported = [
        text for number in range(1500) for text in texts(reporter.on_event(line(str(number)), 0.0))
    ]
    assert reported == ["| 0", "| 1"]
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


def test_dropped_lines_are_not_reported_without_log_streaming() -> None:
    """If no log lines are to be reported, dropped ones are not reported either."""
    reporter = WaitReporter(0.0, stream_logs=None)
    assert reporter.on_event(LinesDropped(7), 0.0) == []
    assert texts(reporter.on_read(RUNNING, 1.0)) == ["build b is running"]


def test_a_disconnect_and_a_reconnect_are_each_reported_once() -> None:
    """The log says when the channel disconnects and when it is back, however short the gap."""
    reporter = WaitReporter(0.0)
    assert reporter.on_event(Joined(), 0.0) == []
    assert texts(reporter.on_event(Disconnected("cut"), 1.0)) == [
        "no live channel (cut): reading the status over REST meanwhile"
    ]
    assert reporter.on_event(Disconnected(), 2.0) == []
    assert texts(reporter.on_event(Joined(), 2.0)) == [
        "live channel is connected again after 1 s; log lines of that time may be missing"
    ]
    assert texts(reporter.on_event(Disconnected(), 3.0)) == [
        "no live channel: reading the status over REST meanwhile"
    ]
    assert reporter.on_event(StatusHint("b"), 4.0) == []


@pytest.mark.parametrize(
    ("phase", "text"),
    [
        (None, "build b is running; 10 min"),
        ("compile", "build b is running, phase: compile; 10 min"),
    ],
)
def test_a_heartbeat_after_long_silence(phase: str | None, text: str) -> None:
    """After ten minutes without a message the log reports that the task still waits."""
    reporter = WaitReporter(0.0, title="build b", stream_logs=None)
    if phase:
        reporter.on_event(line("*** COMPILING"), 0.0)
    reporter.on_read(RUNNING, 0.0)
    assert reporter.on_read(RUNNING, HEARTBEAT - 1) == []
    assert texts(reporter.on_read(RUNNING, HEARTBEAT)) == [f"still waiting: {text}"]


def test_a_failed_read_is_a_warning() -> None:
    """A failed read is reported as a warning."""
    (message,) = WaitReporter(0.0).on_read_failed(ServerFault("broken", status_code=500), 1.0)
    assert message == LogMessage("could not read the build: broken (HTTP 500)", "warn")


def test_a_status_cannot_forge_a_log_line() -> None:
    """Line breaks in a status from the server do not start a new log line."""
    (message,) = WaitReporter(0.0).on_read(Build("b", Status("x\nERROR forged")), 0.0)
    assert "\n" not in message.text


def test_a_token_bucket_refills() -> None:
    """A bucket refills over time, and never beyond its burst."""
    bucket = TokenBucket(rate=1.0, burst=2.0, now=0.0)
    assert [bucket.spend(0.0) for _ in range(3)] == [True, True, False]
    assert bucket.spend(1.0)
    assert [bucket.spend(100.0) for _ in range(3)] == [True, True, False]


def test_all_waits_of_a_process_share_a_budget() -> None:
    """Lines of other builds count, and errors have a bucket of their own."""
    budget = LogBudget(rate=0.0, burst=2.0, now=0.0)
    one, two = (WaitReporter(0.0, process_budget=budget) for _ in range(2))
    assert texts(one.on_event(line("a"), 0.0) + two.on_event(line("b"), 0.0)) == ["| a", "| b"]
    assert one.on_event(line("c"), 0.0) == []
    assert texts(one.on_event(line("d", "error"), 0.0)) == ["… 1 lines left out", "| d"]
    assert LogBudget.for_process(0.0).spend("info", 0.0)


def running_build(*lines: LogLine) -> Build:
    """Return a running build with these recent lines."""
    logs = [{"message": line.message, "timestamp": line.timestamp} for line in lines]
    return Build("b", Status("running"), raw={"logs": logs})


@pytest.mark.parametrize("timed", [True, False], ids=["rest-with-times", "rest-without"])
def test_a_resumed_wait_does_not_repeat_lines(*, timed: bool) -> None:
    """After a restart earlier lines are counted once, and all later ones are reported."""
    old, new = (
        LogLine(text, timestamp=at if timed else None)
        for text, at in (("old", "1970-01-01T00:16:00Z"), ("new", "1970-01-01T00:17:00Z"))
    )
    reporter = WaitReporter(0.0, resumed=True)
    assert texts(reporter.on_read(running_build(), 1.0, wall=1_000.0)) == ["build b is running"]
    assert texts(reporter.on_read(running_build(old), 2.0, wall=1_001.0)) == [
        "wait resumed; 1 earlier log lines are above, or on the build's own page"
    ]
    assert texts(reporter.on_read(running_build(old, new), 30.0, wall=1_029.0)) == ["| new"]


def test_failed_reads_are_reported_once_a_minute() -> None:
    """Reads that keep failing are reported once a minute, and at once after a success."""
    reporter = WaitReporter(0.0)
    reported = [
        bool(reporter.on_read_failed(ServerFault("x"), now)) for now in (0.0, 59.0, 60.0, 61.0)
    ]
    assert reported == [True, False, True, False]
    assert reporter.next_report_at() < 61.0
    reporter.on_read(RUNNING, 62.0)
    assert reporter.next_report_at() > 63.0
    assert reporter.on_read_failed(ServerFault("x"), 63.0)


@pytest.mark.parametrize(
    ("stream_logs", "expected"), [("all", True), ("error", True), (None, False)]
)
def test_is_streaming(stream_logs: str | None, *, expected: bool) -> None:
    """A gap matters only if log lines are reported and have arrived."""
    reporter = WaitReporter(0.0, stream_logs=stream_logs)
    assert not reporter.is_streaming
    reporter.on_event(LogEvent("b", LogLine("x")), 1.0)
    assert reporter.is_streaming is expected


def test_the_time_in_the_queue_is_measured() -> None:
    """The time in the queue is known once the build has left it."""
    reporter = WaitReporter(10.0)
    reporter.on_read(Build("b", Status("pending")), 12.0)
    assert reporter.queued_seconds is None
    reporter.on_read(RUNNING, 40.0)
    assert reporter.queued_seconds == 30.0
