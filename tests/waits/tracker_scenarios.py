"""Single lives of a wait, each of which the random machine meets too seldom."""

# the name of a scenario is the promise

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.api.model import Status
from airflow_provider_buildpixel.builds.logs import LogLine
from airflow_provider_buildpixel.channel.events import Joined, LogEvent, StatusHint
from tests.waits.tracker_world import BUILD_ID, World

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType


def standing(module: ModuleType) -> World:
    """Give a wait whose channel has stood for a while."""
    world = World(module)
    world.run(1.0)
    world.join()
    world.run(60.0)
    return world


def a_rumour_of_the_end_is_read_at_once(module: ModuleType) -> None:
    world = standing(module)
    world.move("complete")
    world.run(2.0)
    assert world.end == "done"


def a_lost_rumour_costs_the_backstop(module: ModuleType) -> None:
    world = standing(module)
    world.move("failed", ())
    world.run(340.0)
    assert world.end == "done"


def a_stale_read_after_a_rumour_is_soon_repeated(module: ModuleType) -> None:
    world = standing(module)
    world.lag = 3.0
    world.move("complete")
    world.run(10.0)
    assert world.end == "done"


def a_join_that_is_handled_late_costs_a_poll_interval(module: ModuleType) -> None:
    world = World(module)
    world.join(after=5.0)
    world.run(3.0)
    world.move("complete")
    world.run(35.0)
    assert world.end == "done"


def a_join_is_read_at_once(module: ModuleType) -> None:
    world = World(module)
    world.join()
    world.run(0.5)
    assert len(world.reported) == 1


def a_loss_after_long_silence_is_read_at_once(module: ModuleType) -> None:
    world = standing(module)
    world.run(60.0)
    world.move("complete", ())
    world.drop()
    world.run(1.0)
    assert world.end == "done"


def a_lost_channel_is_replaced_by_polling(module: ModuleType) -> None:
    world = standing(module)
    world.drop()
    world.run(60.0)
    world.move("complete")
    world.run(34.0)
    assert world.end == "done"


def a_stale_read_does_not_requeue(module: ModuleType) -> None:
    world = World(module, live=False, queue_timeout=100.0)
    world.move("running")
    world.run(60.0)
    world.lag = 500.0
    world.run(100.0)
    assert world.end is None


def a_429_that_asks_for_nothing_does_not_spin(module: ModuleType) -> None:
    world = World(module)
    world.outage = "429 now"
    world.run(30.0)


def a_refused_token_ends_the_wait(module: ModuleType) -> None:
    world = World(module)
    world.outage = "401"
    world.run(4.0)
    assert world.end == "raised"


def a_build_that_is_gone_ends_the_wait(module: ModuleType) -> None:
    world = World(module)
    world.outage = "404"
    world.run(100.0)
    assert world.end == "raised"


def an_outage_without_end_ends_the_wait(module: ModuleType) -> None:
    world = World(module)
    world.outage = "500"
    world.run(3_700.0)
    assert world.end == "raised"


def a_calm_hour_takes_few_reads(module: ModuleType) -> None:
    world = standing(module)
    before = len(world.reported)
    world.run(3_600.0)
    assert len(world.reported) - before <= 14


def an_hour_without_a_channel_takes_a_poll_each_interval(module: ModuleType) -> None:
    world = World(module)
    world.run(3_600.0)
    assert 100 <= len(world.reported) <= 135


def an_insistent_wait_polls_as_rarely_as_the_backstop(module: ModuleType) -> None:
    world = World(module, socket_only=True)
    world.drop()
    world.run(3_600.0)
    assert len(world.reported) <= 15


def a_storm_of_rumours_reads_once_a_second(module: ModuleType) -> None:
    world = standing(module)
    before = len(world.reported)
    for tenth in range(600):
        world.deliver(StatusHint(BUILD_ID, Status("made-up")), tenth / 10)
        world.deliver(StatusHint(BUILD_ID, Status("complete")), tenth / 10)
    world.run(60.0)
    assert len(world.reported) - before <= 63


def a_false_end_fades(module: ModuleType) -> None:
    world = standing(module)
    before = len(world.reported)
    world.deliver(StatusHint(BUILD_ID, Status("complete")))
    world.run(3_600.0)
    assert len(world.reported) - before <= 24


def joins_without_end_read_once_a_second(module: ModuleType) -> None:
    world = World(module)
    for tenth in range(600):
        world.deliver(Joined(), tenth / 10)
    world.run(60.0)
    assert len(world.reported) <= 63


def a_429_is_heeded_whatever_is_heard(module: ModuleType) -> None:
    world = World(module)
    world.outage = "429"
    world.run(4.0)
    world.join()
    for second in range(15):
        world.deliver(StatusHint(BUILD_ID, Status("complete")), second)
    world.run(60.0)
    assert len(world.reads) <= 1


def a_deadline_ends_the_wait(module: ModuleType) -> None:
    for world in (World(module, timeout=8.0), World(module, queue_timeout=20.0)):
        world.run(21.0)
        assert world.end == "expired"


def an_answer_that_an_event_outran_settles_nothing(module: ModuleType) -> None:
    world = World(module, gathered=True)
    world.join()
    world.run(0.1)
    world.move("running")
    world.run(3.0)
    assert world.reported[-1] == "running"


def a_read_that_was_asked_for_is_not_asked_for_again(module: ModuleType) -> None:
    world = World(module, gathered=True)
    world.run(20.0)
    assert len(world.reported) == 1


def asleep(watch: ModuleType, sleep: ModuleType, **wishes: Any) -> World:
    """Give a wait that polls, as one of many, and has been read once."""
    world = World(watch, sleep=sleep, live=False, **wishes)
    world.run(1.0)
    return world


def listed(world: World, times: int, pause: float = 5.0) -> None:
    """Let others cause lists that show the build."""
    for _ in range(times):
        world.is_listed(0.1)
        world.run(pause)


def lists_put_polls_off(watch: ModuleType, sleep: ModuleType) -> None:
    world = asleep(watch, sleep)
    for number in range(10):
        listed(world, 10)
        world.deliver(LogEvent(BUILD_ID, LogLine(f"line {number}")))
    assert len(world.reads) <= 1
    world.run(20.0)
    world.move("complete")
    world.run(10.0)
    assert world.end == "done"


def a_list_that_shows_an_end_wakes_the_wait(watch: ModuleType, sleep: ModuleType) -> None:
    world = asleep(watch, sleep)
    world.move("complete")
    listed(world, 1, pause=1.0)
    assert world.end == "done"


def a_list_that_shows_a_start_is_told(watch: ModuleType, sleep: ModuleType) -> None:
    world = asleep(watch, sleep, queue_timeout=50.0)
    world.move("running")
    listed(world, 30)
    assert world.end is None


def deadlines_are_kept_in_sleep(watch: ModuleType, sleep: ModuleType) -> None:
    for wishes in ({"timeout": 50.0}, {"queue_timeout": 50.0}):
        world = asleep(watch, sleep, **wishes)
        listed(world, 11)
        assert world.end == "expired"


def a_rumour_wakes_a_sleeper(watch: ModuleType, sleep: ModuleType) -> None:
    world = World(watch, sleep=sleep)
    world.join()
    world.run(10.0)
    listed(world, 20)
    world.move("complete")
    world.run(2.0)
    assert world.end == "done"


def a_list_from_before_a_rumour_does_not_count(watch: ModuleType, sleep: ModuleType) -> None:
    world = asleep(watch, sleep)
    world.run(19.0)
    world.is_listed(10.0)
    world.run(0.5)
    world.deliver(StatusHint(BUILD_ID, Status("made-up")))
    world.run(1.0)
    world.move("complete", ())
    world.run(40.0)
    assert world.end == "done"


def trouble_does_not_make_the_polls_rarer(watch: ModuleType, sleep: ModuleType) -> None:
    world = asleep(watch, sleep)
    world.once.extend(["500"] * 20)
    while world.once:
        world.run(1.0)
    listed(world, 1)
    world.move("complete")
    world.run(35.0)
    assert world.end == "done"


def a_list_puts_a_poll_off_by_no_more_than_an_interval(
    watch: ModuleType, sleep: ModuleType
) -> None:
    world = asleep(watch, sleep)
    listed(world, 1)
    world.move("complete", ())
    world.run(35.0)
    assert world.end == "done"


def what_a_sleeper_saw_is_learnt_once(watch: ModuleType, sleep: ModuleType) -> None:
    world = asleep(watch, sleep)
    listed(world, 3)
    for second in range(120):
        world.deliver(StatusHint(BUILD_ID, Status("made-up")), second / 2)
    world.run(60.0)
    assert len(world.reported) <= 70


def a_refusal_puts_one_read_off_and_not_the_next(watch: ModuleType, sleep: ModuleType) -> None:
    world = asleep(watch, sleep, socket_only=True)
    world.once.append("429")
    world.deliver(StatusHint(BUILD_ID, Status("complete")))
    world.run(2.0)
    world.join()
    for _ in range(4):
        world.is_listed(0.25)
        world.run(5.0)
    world.move("complete", ())
    world.run(40.0)
    assert world.end == "done"


def lists_do_not_put_a_read_off_again_and_again(watch: ModuleType, sleep: ModuleType) -> None:
    world = asleep(watch, sleep)
    listed(world, 1)
    for nth in range(40):
        world.deliver(StatusHint(BUILD_ID, Status("complete")), nth / 10)
    world.run(0.1)
    for _ in range(8):
        world.is_listed(0.25)
        world.run(0.5)
    assert len(world.reads) >= 3


SLEEPING: tuple[Callable[[ModuleType, ModuleType], None], ...] = (
    lists_put_polls_off,
    a_list_that_shows_an_end_wakes_the_wait,
    a_list_that_shows_a_start_is_told,
    deadlines_are_kept_in_sleep,
    a_rumour_wakes_a_sleeper,
    a_list_from_before_a_rumour_does_not_count,
    trouble_does_not_make_the_polls_rarer,
    a_list_puts_a_poll_off_by_no_more_than_an_interval,
    what_a_sleeper_saw_is_learnt_once,
    a_refusal_puts_one_read_off_and_not_the_next,
    lists_do_not_put_a_read_off_again_and_again,
)
SCENARIOS: tuple[Callable[[ModuleType], None], ...] = (
    a_rumour_of_the_end_is_read_at_once,
    a_lost_rumour_costs_the_backstop,
    a_stale_read_after_a_rumour_is_soon_repeated,
    a_join_that_is_handled_late_costs_a_poll_interval,
    a_join_is_read_at_once,
    a_loss_after_long_silence_is_read_at_once,
    a_lost_channel_is_replaced_by_polling,
    a_stale_read_does_not_requeue,
    a_429_that_asks_for_nothing_does_not_spin,
    a_refused_token_ends_the_wait,
    a_build_that_is_gone_ends_the_wait,
    an_outage_without_end_ends_the_wait,
    a_calm_hour_takes_few_reads,
    an_hour_without_a_channel_takes_a_poll_each_interval,
    an_insistent_wait_polls_as_rarely_as_the_backstop,
    a_storm_of_rumours_reads_once_a_second,
    a_false_end_fades,
    joins_without_end_read_once_a_second,
    a_429_is_heeded_whatever_is_heard,
    a_deadline_ends_the_wait,
    an_answer_that_an_event_outran_settles_nothing,
    a_read_that_was_asked_for_is_not_asked_for_again,
)
