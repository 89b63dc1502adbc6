"""Single lives of a wait that the random machine meets too rarely; each name is a promise."""

# ruff: noqa: D103  # the name of a scenario is its promise

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.api.model import Status
from airflow_provider_buildpixel.builds.logs import LogLine
from airflow_provider_buildpixel.channel.events import Joined, LogEvent, StatusHint
from tests.waits.tracker_world import BUILD_ID, World

if TYPE_CHECKING:
    from collections.abc import Callable


def connected_wait() -> World:
    """Return a wait whose channel has been connected for a while."""
    world = World()
    world.run(1.0)
    world.join()
    world.run(60.0)
    return world


def an_unknown_status_does_not_end_the_wait() -> None:
    world = connected_wait()
    world.set_status("warming-up")
    world.run(60.0)
    assert world.end is None


def a_hint_of_the_end_is_read_at_once() -> None:
    world = connected_wait()
    world.set_status("complete")
    world.run(2.0)
    assert world.end == "done"


def without_a_hint_the_safety_read_finds_the_end() -> None:
    world = connected_wait()
    world.set_status("failed", ())
    world.run(340.0)
    assert world.end == "done"


def a_stale_read_after_a_hint_is_soon_repeated() -> None:
    world = connected_wait()
    world.read_lag = 3.0
    world.set_status("complete")
    world.run(10.0)
    assert world.end == "done"


def a_join_that_is_processed_late_costs_a_poll_interval() -> None:
    world = World()
    world.join(after=5.0)
    world.run(3.0)
    world.set_status("complete")
    world.run(35.0)
    assert world.end == "done"


def a_join_is_read_at_once() -> None:
    world = World()
    world.join()
    world.run(0.5)
    assert len(world.statuses_read) == 1


def a_disconnect_after_long_silence_is_read_at_once() -> None:
    world = connected_wait()
    world.run(60.0)
    world.set_status("complete", ())
    world.disconnect()
    world.run(1.0)
    assert world.end == "done"


def a_disconnected_channel_is_replaced_by_polling() -> None:
    world = connected_wait()
    world.disconnect()
    world.run(60.0)
    world.set_status("complete")
    world.run(34.0)
    assert world.end == "done"


def a_stale_read_does_not_put_a_build_back_into_the_queue() -> None:
    world = World(uses_channel=False, queue_timeout=100.0)
    world.set_status("running")
    world.run(60.0)
    world.read_lag = 500.0
    world.run(100.0)
    assert world.end is None


def a_429_for_0_seconds_does_not_spin() -> None:
    world = World()
    world.outage = "429 for 0 s"
    world.run(30.0)


def a_refused_token_ends_the_wait() -> None:
    world = World()
    world.outage = "401"
    world.run(4.0)
    assert world.end == "raised"


def a_build_that_does_not_exist_ends_the_wait() -> None:
    world = World()
    world.outage = "404"
    world.run(100.0)
    assert world.end == "raised"


def an_outage_without_end_ends_the_wait() -> None:
    world = World()
    world.outage = "500"
    world.run(3_700.0)
    assert world.end == "raised"


def a_connected_hour_without_events_takes_few_reads() -> None:
    world = connected_wait()
    before = len(world.statuses_read)
    world.run(3_600.0)
    assert len(world.statuses_read) - before <= 14


def an_hour_without_a_channel_takes_a_poll_each_interval() -> None:
    world = World()
    world.run(3_600.0)
    assert 100 <= len(world.statuses_read) <= 135


def a_socket_only_wait_polls_as_rarely_as_safety_reads() -> None:
    world = World(socket_only=True)
    world.disconnect()
    world.run(3_600.0)
    assert len(world.statuses_read) <= 15


def a_storm_of_hints_reads_once_a_second() -> None:
    world = connected_wait()
    before = len(world.statuses_read)
    for tenth in range(600):
        world.deliver(StatusHint(BUILD_ID, Status("made-up")), tenth / 10)
        world.deliver(StatusHint(BUILD_ID, Status("complete")), tenth / 10)
    world.run(60.0)
    assert len(world.statuses_read) - before <= 63


def a_false_hint_of_the_end_causes_few_reads() -> None:
    world = connected_wait()
    before = len(world.statuses_read)
    world.deliver(StatusHint(BUILD_ID, Status("complete")))
    world.run(3_600.0)
    assert len(world.statuses_read) - before <= 24


def endless_joins_read_once_a_second() -> None:
    world = World()
    for tenth in range(600):
        world.deliver(Joined(), tenth / 10)
    world.run(60.0)
    assert len(world.statuses_read) <= 63


def a_429_delays_reads_whatever_events_arrive() -> None:
    world = World()
    world.outage = "429"
    world.run(4.0)
    world.join()
    for second in range(15):
        world.deliver(StatusHint(BUILD_ID, Status("complete")), second)
    world.run(60.0)
    assert len(world.reads) <= 1


def a_deadline_ends_the_wait() -> None:
    for world in (World(timeout=8.0), World(queue_timeout=20.0)):
        world.run(21.0)
        assert world.end == "expired"


def a_read_from_before_an_event_does_not_count() -> None:
    world = World(reads_later=True)
    world.join()
    world.run(0.1)
    world.set_status("running")
    world.run(3.0)
    assert world.statuses_read[-1] == "running"


def a_requested_read_is_not_requested_again() -> None:
    world = World(reads_later=True)
    world.run(20.0)
    assert len(world.statuses_read) == 1


def idle_wait(**parameters: Any) -> World:
    """Return a wait that polls, as one of many, and has read its build once."""
    world = World(idles=True, uses_channel=False, **parameters)
    world.run(1.0)
    return world


def read_lists(world: World, times: int, pause: float = 5.0) -> None:
    """Let other waits read lists that show the build."""
    for _ in range(times):
        world.read_list(0.1)
        world.run(pause)


def lists_delay_polls() -> None:
    world = idle_wait()
    for number in range(10):
        read_lists(world, 10)
        world.deliver(LogEvent(BUILD_ID, LogLine(f"line {number}")))
    assert len(world.reads) <= 1
    world.run(20.0)
    world.set_status("complete")
    world.run(10.0)
    assert world.end == "done"


def a_list_that_shows_an_end_wakes_the_wait() -> None:
    world = idle_wait()
    world.set_status("complete")
    read_lists(world, 1, pause=1.0)
    assert world.end == "done"


def a_list_that_shows_a_start_reaches_the_tracker() -> None:
    world = idle_wait(queue_timeout=50.0)
    world.set_status("running")
    read_lists(world, 30)
    assert world.end is None


def deadlines_hold_while_idle() -> None:
    for parameters in ({"timeout": 50.0}, {"queue_timeout": 50.0}):
        world = idle_wait(**parameters)
        read_lists(world, 11)
        assert world.end == "expired"


def a_hint_wakes_an_idle_wait() -> None:
    world = World(idles=True)
    world.join()
    world.run(10.0)
    read_lists(world, 20)
    world.set_status("complete")
    world.run(2.0)
    assert world.end == "done"


def a_list_from_before_a_hint_does_not_count() -> None:
    world = idle_wait()
    world.run(19.0)
    world.read_list(10.0)
    world.run(0.5)
    world.deliver(StatusHint(BUILD_ID, Status("made-up")))
    world.run(1.0)
    world.set_status("complete", ())
    world.run(40.0)
    assert world.end == "done"


def failures_do_not_make_polls_rarer() -> None:
    world = idle_wait()
    world.next_faults.extend(["500"] * 20)
    while world.next_faults:
        world.run(1.0)
    read_lists(world, 1)
    world.set_status("complete")
    world.run(35.0)
    assert world.end == "done"


def a_list_delays_a_poll_by_one_interval_at_most() -> None:
    world = idle_wait()
    read_lists(world, 1)
    world.set_status("complete", ())
    world.run(35.0)
    assert world.end == "done"


def a_skipped_read_reaches_the_tracker_once() -> None:
    world = idle_wait()
    read_lists(world, 3)
    for second in range(120):
        world.deliver(StatusHint(BUILD_ID, Status("made-up")), second / 2)
    world.run(60.0)
    assert len(world.statuses_read) <= 70


def a_429_delays_one_read_and_not_the_next() -> None:
    world = idle_wait(socket_only=True)
    world.next_faults.append("429")
    world.deliver(StatusHint(BUILD_ID, Status("complete")))
    world.run(2.0)
    world.join()
    for _ in range(4):
        world.read_list(0.25)
        world.run(5.0)
    world.set_status("complete", ())
    world.run(40.0)
    assert world.end == "done"


def lists_do_not_delay_a_read_repeatedly() -> None:
    world = idle_wait()
    read_lists(world, 1)
    for nth in range(40):
        world.deliver(StatusHint(BUILD_ID, Status("complete")), nth / 10)
    world.run(0.1)
    for _ in range(8):
        world.read_list(0.25)
        world.run(0.5)
    assert len(world.reads) >= 3


SCENARIOS: tuple[Callable[[], None], ...] = (
    an_unknown_status_does_not_end_the_wait,
    a_hint_of_the_end_is_read_at_once,
    without_a_hint_the_safety_read_finds_the_end,
    a_stale_read_after_a_hint_is_soon_repeated,
    a_join_that_is_processed_late_costs_a_poll_interval,
    a_join_is_read_at_once,
    a_disconnect_after_long_silence_is_read_at_once,
    a_disconnected_channel_is_replaced_by_polling,
    a_stale_read_does_not_put_a_build_back_into_the_queue,
    a_429_for_0_seconds_does_not_spin,
    a_refused_token_ends_the_wait,
    a_build_that_does_not_exist_ends_the_wait,
    an_outage_without_end_ends_the_wait,
    a_connected_hour_without_events_takes_few_reads,
    an_hour_without_a_channel_takes_a_poll_each_interval,
    a_socket_only_wait_polls_as_rarely_as_safety_reads,
    a_storm_of_hints_reads_once_a_second,
    a_false_hint_of_the_end_causes_few_reads,
    endless_joins_read_once_a_second,
    a_429_delays_reads_whatever_events_arrive,
    a_deadline_ends_the_wait,
    a_read_from_before_an_event_does_not_count,
    a_requested_read_is_not_requested_again,
    lists_delay_polls,
    a_list_that_shows_an_end_wakes_the_wait,
    a_list_that_shows_a_start_reaches_the_tracker,
    deadlines_hold_while_idle,
    a_hint_wakes_an_idle_wait,
    a_list_from_before_a_hint_does_not_count,
    failures_do_not_make_polls_rarer,
    a_list_delays_a_poll_by_one_interval_at_most,
    a_skipped_read_reaches_the_tracker_once,
    a_429_delays_one_read_and_not_the_next,
    lists_do_not_delay_a_read_repeatedly,
)
