"""When and why a tracker reads, one rule at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_buildpixel.api.model import Build, Status
from airflow_provider_buildpixel.api.retry import backoff
from airflow_provider_buildpixel.builds.logs import LogLine
from airflow_provider_buildpixel.channel.events import (
    Disconnected,
    Joined,
    LinesDropped,
    LogEvent,
    StatusHint,
)
from airflow_provider_buildpixel.exceptions import (
    Forbidden,
    NotFound,
    RateLimited,
    ServerFault,
    UnexpectedAnswer,
)
from airflow_provider_buildpixel.waits.actions import Listen, Pacing, Read
from airflow_provider_buildpixel.waits.tracker import BuildTracker

if TYPE_CHECKING:
    from airflow_provider_buildpixel.exceptions import (
        BuildPixelError,
    )

RUNNING = Build("b", Status("running"))
COMPLETE = StatusHint("b", Status("complete"))
MADE_UP = StatusHint("b", Status("made-up"))
BROKEN = ServerFault("broken")


def tracker_after_read(*, uses_channel: bool = True, poll_interval: float = 30.0) -> BuildTracker:
    """Return a tracker that read a running build at 10, without jitter."""
    tracker = BuildTracker(
        0.0,
        pacing=Pacing(poll_interval=poll_interval),
        uses_channel=uses_channel,
        jitter=lambda: 0.0,
    )
    if uses_channel:
        tracker.on_event(Joined(), 5.0)
    tracker.on_read(RUNNING, 10.0, 9.0)
    return tracker


def pause_of(tracker: BuildTracker, now: float) -> float:
    """Return for how many seconds a tracker only listens."""
    action = tracker.next_action(now)
    assert isinstance(action, Listen)
    return action.seconds


def test_routine_reads() -> None:
    """Polls and safety reads are routine, the read after an event is not."""
    polling = tracker_after_read(uses_channel=False)
    assert polling.status == "running"
    assert polling.next_action(10.0) == Listen(30.0)
    assert polling.next_action(40.0) == Read(routine=True)
    connected = tracker_after_read()
    assert connected.next_action(40.0) == Read(routine=True, safety=True)
    connected.on_event(MADE_UP, 41.0)
    assert connected.next_action(41.0) == Read()


def test_only_the_first_pause_after_each_join_is_short() -> None:
    """After a join a second read follows soon; a repeated join counts like the first."""
    tracker = tracker_after_read()
    assert tracker.next_action(10.0) == Listen(30.0)
    tracker.on_read(RUNNING, 40.0, 40.0)
    assert tracker.next_action(40.0) == Listen(300.0)
    tracker.on_event(Joined(), 50.0)
    tracker.on_read(RUNNING, 50.0, 50.0)
    assert tracker.next_action(50.0) == Listen(30.0)


def test_a_disconnect_leads_to_a_poll() -> None:
    """After a disconnect the next read is due a poll interval after the last one."""
    tracker = tracker_after_read()
    tracker.on_read(RUNNING, 40.0, 40.0)
    tracker.on_event(Disconnected(), 45.0)
    assert tracker.next_action(45.0) == Listen(25.0)
    assert tracker.next_action(70.0) == Read()


def test_a_log_line_that_ends_the_build_leads_to_a_read() -> None:
    """The read follows a little later than the line: the status may change after it."""
    tracker = tracker_after_read()
    tracker.on_event(LogEvent("b", LogLine("compiling")), 20.0)
    assert tracker.next_action(20.0) == Listen(20.0)
    tracker.on_event(LogEvent("b", LogLine("BUILD SUCCESSFUL")), 20.0)
    assert tracker.next_action(20.0) == Listen(1.0)


@pytest.mark.parametrize("event", [LogEvent("b", LogLine("x")), LinesDropped(1), Disconnected()])
def test_a_read_from_before_a_line_counts(
    event: LogEvent | LinesDropped | Disconnected,
) -> None:
    """Only joins and status hints make a read that began earlier worthless."""
    tracker = tracker_after_read(uses_channel=False)
    tracker.read_requested(40.0)
    tracker.on_event(event, 40.5)
    tracker.on_read(RUNNING, 41.0, 40.0)
    assert tracker.next_action(41.0) == Listen(30.0)


@pytest.mark.parametrize("event", [Joined(), MADE_UP])
def test_a_read_from_before_an_event_does_not_count(event: Joined | StatusHint) -> None:
    """It is repeated a second after it began, and the wait must not idle before."""
    tracker = tracker_after_read(uses_channel=False)
    tracker.read_requested(40.0)
    tracker.on_event(event, 40.5)
    assert tracker.idle_terms() is None
    tracker.on_read(RUNNING, 40.75, 40.0)
    assert tracker.idle_terms() is None
    assert tracker.next_action(40.75) == Listen(0.25)
    assert tracker.next_action(41.0) == Read()


def test_a_read_that_began_with_an_event_counts() -> None:
    """The read of the same instant shows what the event reported."""
    tracker = tracker_after_read(uses_channel=False)
    tracker.on_event(MADE_UP, 40.0)
    assert tracker.idle_terms() is None
    tracker.on_read(RUNNING, 40.0, 40.0)
    assert tracker.next_action(40.0) == Listen(30.0)
    assert tracker.idle_terms() is not None


def test_a_hint_of_the_end_is_read_before_a_requested_read_is_answered() -> None:
    """A new terminal status is read at once, whatever was read or requested just now."""
    tracker = tracker_after_read()
    tracker.on_event(COMPLETE, 10.1)
    assert tracker.next_action(10.1) == Read(Status("complete"))
    tracker = tracker_after_read(uses_channel=False)
    tracker.read_requested(40.0)
    tracker.on_event(COMPLETE, 40.1)
    assert tracker.next_action(40.1) == Read(Status("complete"))
    tracker.read_requested(40.1)
    assert isinstance(tracker.next_action(40.2), Listen)
    tracker.on_event(StatusHint("b", Status("failed")), 40.2)
    assert isinstance(tracker.next_action(40.2), Listen), "the first hint is being read"


def test_a_hint_without_a_status_leads_to_a_read() -> None:
    """An event without a status is a hint, too, even before the first read."""
    tracker = BuildTracker(0.0)
    tracker.on_event(StatusHint("b"), 0.5)
    assert tracker.next_action(0.5) == Read()


def test_unconfirmed_hints_lead_to_ever_fewer_reads() -> None:
    """Reads after a false hint become as rare as polls; a wait of years does not overflow."""
    tracker = tracker_after_read(uses_channel=False)
    tracker.on_event(COMPLETE, 10.0)
    pauses = []
    for read in range(1_100):
        tracker.on_read(RUNNING, 10.0 + read)
        pauses.append(pause_of(tracker, 10.0 + read))
    assert pauses[:6] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0]
    assert set(pauses[6:]) == {30.0}


@pytest.mark.parametrize(
    ("poll_interval", "pauses"),
    [
        (120.0, [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]),
        (5.0, [1.0, 2.0, 4.0, 5.0, 5.0]),
        (0.4, [0.4, 0.4]),
    ],
)
@pytest.mark.parametrize("error", [BROKEN, RateLimited("slow")])
def test_failed_reads_back_off(
    poll_interval: float, pauses: list[float], error: BuildPixelError
) -> None:
    """The pause doubles up to 30 s or the poll interval, and starts again after a success."""
    pacing, now = Pacing(poll_interval=poll_interval), 0.0
    tracker = BuildTracker(now, pacing=pacing, uses_channel=False, jitter=lambda: 1.0)
    for _ in range(2):
        for pause in pauses:
            tracker.on_read_failed(error, now)
            assert pause_of(tracker, now) == pytest.approx(pause)
            now += pause
        tracker.on_read(RUNNING, now)


@pytest.mark.parametrize(("wait", "pause"), [(0.0, 1.0), (5.0, 5.6), (20.0, 21.0)])
def test_a_429_delays_the_next_read(wait: float, pause: float) -> None:
    """The pause is never shorter than requested, nor than the back-off, and has jitter."""
    tracker = BuildTracker(0.0, uses_channel=False, jitter=lambda: 1.0)
    tracker.on_read_failed(RateLimited("slow", wait=wait), 0.0)
    assert pause_of(tracker, 0.0) == pytest.approx(pause)


def test_a_success_ends_a_series_of_failures() -> None:
    """After a success the back-off, the grace of a 404 and the timeout of failures start again."""
    tracker = tracker_after_read(uses_channel=False)
    for start in (100.0, 3_800.0):
        tracker.on_read_failed(NotFound("gone"), start)
        assert tracker.next_action(start) == Listen(0.5)
        tracker.on_read(RUNNING, start + 50.0)
        tracker.on_read_failed(NotFound("gone"), start + 70.0)
        assert tracker.next_action(start + 70.0) == Listen(0.5)
        tracker.on_read(RUNNING, start + 80.0)


def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    """A failure after a 429 does not lead to an earlier read."""
    tracker = tracker_after_read(uses_channel=False)
    tracker.on_read_failed(RateLimited("slow", wait=20.0), 40.0)
    tracker.on_read_failed(BROKEN, 41.0)
    assert tracker.next_action(41.0) == Listen(19.0)


def test_a_missing_build_is_tolerated_for_a_minute() -> None:
    """Only an uninterrupted series of 404s ends the wait."""
    tracker = BuildTracker(0.0)
    tracker.on_read_failed(NotFound("gone"), 100.0)
    tracker.on_read_failed(BROKEN, 150.0)
    tracker.on_read_failed(NotFound("gone"), 215.0)
    tracker.on_read_failed(NotFound("gone"), 274.0)
    with pytest.raises(NotFound):
        tracker.on_read_failed(NotFound("gone"), 275.0)


def test_failures_are_tolerated_for_an_hour() -> None:
    """Only an uninterrupted series of failures ends the wait."""
    tracker = BuildTracker(0.0)
    tracker.on_read_failed(BROKEN, 100.0)
    tracker.on_read_failed(BROKEN, 3_699.0)
    with pytest.raises(ServerFault):
        tracker.on_read_failed(BROKEN, 3_700.0)


def test_refusals_of_a_gateway_are_tolerated_for_a_minute() -> None:
    """Without BuildPixel's error code they may pass; the minute begins with the first."""
    tracker = BuildTracker(0.0)
    tracker.on_read_failed(Forbidden("no", status_code=403), 100.0)
    tracker.on_read_failed(Forbidden("no", status_code=403), 159.0)
    with pytest.raises(Forbidden):
        tracker.on_read_failed(Forbidden("no", status_code=403), 160.0)


def test_the_back_off_does_not_overflow() -> None:
    """After thousands of failures the pause is the cap."""
    assert backoff(5_000, 1.0, cap=30.0) == 30.0


def test_a_redirect_is_final() -> None:
    """A redirect is never followed, so waiting does not help."""
    with pytest.raises(UnexpectedAnswer):
        BuildTracker(0.0).on_read_failed(UnexpectedAnswer("moved", status_code=302), 1.0)


def test_an_idle_wait_is_called_once_an_hour_at_least() -> None:
    """However rare the reads are, an idle wait is called within an hour."""
    tracker = tracker_after_read(uses_channel=False, poll_interval=1e9)
    terms = tracker.idle_terms()
    assert terms is not None
    assert terms.pause == 3_600.0
