"""A task's log is bounded, and a restart does not print it twice."""

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
    """Give a build with recent lines: their times and messages."""
    logs = [{"timestamp": at, "level": "info", "message": message} for at, message in lines]
    return Build("b", Status(status), raw={"logs": logs})


def test_a_restart_does_not_tell_old_lines_again() -> None:
    """Lines from before the restart are counted, not told; later ones are told."""
    reporter = WaitReporter(1_000.0, resumed=True)
    old = ("2026-05-10T11:59:00.000Z", "old")
    new = ("2026-05-10T12:00:05.000Z", "new")
    told = [record.text for record in reporter.on_read(build(old, new), 1_010.0, NOON + 10.0)]
    assert told == [
        "waiting again; 1 lines are from before: above, or on the build's own page",
        "| new",
        "build b is running",
    ]
    later = [record.text for record in reporter.on_read(build(old, new), 1_040.0, NOON + 40.0)]
    assert later == []


def test_lines_without_times_are_taken_for_old_after_a_restart() -> None:
    """After a restart, a read's lines without times are not told; the channel's are."""
    reporter = WaitReporter(1_000.0, resumed=True)
    read = Build("b", Status("running"), raw={"logs": ["one line", "two lines"]})
    reporter.on_read(read, 1_001.0, NOON)
    heard = reporter.on_event(LogEvent("b", LogLine("three lines")), 1_002.0)
    assert [record.text for record in heard] == ["| three lines"]


def test_a_first_run_tells_all() -> None:
    """Without a restart, the recent lines are told whatever their age."""
    told = WaitReporter(0.0).on_read(build(("2026-05-10T11:59:00.000Z", "old")), 1.0, NOON)
    assert told[0].text == "| old"


def test_all_builds_of_a_process_share_an_allowance() -> None:
    """Info of many builds is left out beyond the common allowance; an error still goes."""
    common = LogBudget(1.0, 3.0, 0.0)
    narrations = [WaitReporter(0.0, common=common) for _ in range(5)]
    told = [len(reporter.on_event(LogEvent("b", LogLine("hello")), 0.0)) for reporter in narrations]
    assert told == [1, 1, 1, 0, 0]
    error = narrations[4].on_event(LogEvent("b", LogLine("bad", "error")), 0.0)
    assert [(record.text, record.left_out) for record in error] == [
        ("… 1 lines left out", 1),
        ("| bad", 0),
    ]


def test_trouble_is_not_told_at_every_read() -> None:
    """Reads that go on failing are told of once, and again after a minute."""
    reporter = WaitReporter(0.0)
    error = ServerFault("broken")
    told = [
        len(reporter.on_read_failed(error, at))
        for at in (0.0, 10.0, TROUBLE_INTERVAL - 1, TROUBLE_INTERVAL, 70.0)
    ]
    assert told == [1, 0, 0, 1, 0]
    reporter.on_read(build(), 80.0)
    assert reporter.on_read_failed(error, 81.0)


def test_a_calm_wait_has_nothing_to_say() -> None:
    """A wait is calm until it was in trouble, left lines out, or was silent for long."""
    reporter = WaitReporter(5.0)
    assert reporter.quiet_until() == 5.0 + HEARTBEAT
    reporter.on_read_failed(ServerFault("broken"), 6.0)
    assert reporter.quiet_until() == -inf


def test_time_in_the_queue_is_taken() -> None:
    """A build that is seen queued, and then not, has its time in the queue taken."""
    reporter = WaitReporter(0.0)
    reporter.on_read(build(status="pending"), 1.0)
    reporter.on_read(build(status="running"), 61.0)
    reporter.on_read(build(status="complete"), 99.0)
    assert reporter.queued == 61.0
