"""Limits of a task's log, and what a restart does not repeat."""

from __future__ import annotations

from math import inf

from airflow_provider_buildpixel.api.model import Build, Status
from airflow_provider_buildpixel.builds.logs import LogLine
from airflow_provider_buildpixel.channel.events import LogEvent
from airflow_provider_buildpixel.exceptions import ServerFault
from airflow_provider_buildpixel.waits.reporter import (
    HEARTBEAT,
    TROUBLE_INTERVAL,
    LogBudget,
    WaitReporter,
)

NOON = 1_778_414_400.0  # 2026-05-10T12:00:00Z


def build(*lines: tuple[str, str], status: str = "running") -> Build:
    """Return a build with recent lines: their times and messages."""
    logs = [{"timestamp": at, "level": "info", "message": message} for at, message in lines]
    return Build("b", Status(status), raw={"logs": logs})


def test_a_restart_does_not_report_old_lines_again() -> None:
    """Lines from before the restart are only counted; later ones are reported."""
    reporter = WaitReporter(1_000.0, resumed=True)
    old = ("2026-05-10T11:59:00.000Z", "old")
    new = ("2026-05-10T12:00:05.000Z", "new")
    reported = [message.text for message in reporter.on_read(build(old, new), 1_010.0, NOON + 10.0)]
    assert reported == [
        "wait resumed; 1 earlier log lines are above, or on the build's own page",
        "| new",
        "build b is running",
    ]
    later = [message.text for message in reporter.on_read(build(old, new), 1_040.0, NOON + 40.0)]
    assert later == []


def test_lines_without_times_count_as_old_after_a_restart() -> None:
    """After a restart, lines without times are not reported from a read, but from the channel."""
    reporter = WaitReporter(1_000.0, resumed=True)
    read = Build("b", Status("running"), raw={"logs": ["one line", "two lines"]})
    reporter.on_read(read, 1_001.0, NOON)
    reported = reporter.on_event(LogEvent("b", LogLine("three lines")), 1_002.0)
    assert [message.text for message in reported] == ["| three lines"]


def test_a_first_run_reports_all_lines() -> None:
    """Without a restart, recent lines are reported whatever their age."""
    reported = WaitReporter(0.0).on_read(build(("2026-05-10T11:59:00.000Z", "old")), 1.0, NOON)
    assert reported[0].text == "| old"


def test_the_shared_budget_limits_info_lines_and_not_errors() -> None:
    """Info lines beyond the shared budget are dropped; an error is still reported."""
    budget = LogBudget(1.0, 3.0, 0.0)
    reporters = [WaitReporter(0.0, process_budget=budget) for _ in range(5)]
    reported = [
        len(reporter.on_event(LogEvent("b", LogLine("hello")), 0.0)) for reporter in reporters
    ]
    assert reported == [1, 1, 1, 0, 0]
    error = reporters[4].on_event(LogEvent("b", LogLine("bad", "error")), 0.0)
    assert [(message.text, message.dropped) for message in error] == [
        ("… 1 lines left out", 1),
        ("| bad", 0),
    ]


def test_a_failed_read_is_not_reported_every_time() -> None:
    """Reads that keep failing are reported once, and again after a minute."""
    reporter = WaitReporter(0.0)
    error = ServerFault("broken")
    reported = [
        len(reporter.on_read_failed(error, at))
        for at in (0.0, 10.0, TROUBLE_INTERVAL - 1, TROUBLE_INTERVAL, 70.0)
    ]
    assert reported == [1, 0, 0, 1, 0]
    reporter.on_read(build(), 80.0)
    assert reporter.on_read_failed(error, 81.0)


def test_when_an_unchanged_read_is_reported() -> None:
    """An unchanged read is reported after failures, dropped lines or a long silence only."""
    reporter = WaitReporter(5.0)
    assert reporter.next_report_at() == 5.0 + HEARTBEAT
    reporter.on_read_failed(ServerFault("broken"), 6.0)
    assert reporter.next_report_at() == -inf


def test_time_in_the_queue_ends_with_the_first_other_status() -> None:
    """The time in the queue ends with the first read of another status."""
    reporter = WaitReporter(0.0)
    reporter.on_read(build(status="pending"), 1.0)
    reporter.on_read(build(status="running"), 61.0)
    reporter.on_read(build(status="complete"), 99.0)
    assert reporter.queued_seconds == 61.0
