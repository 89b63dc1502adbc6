"""A day of many waits that share their reads, decided by :mod:`core.batch` on a virtual clock."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from airflow_provider_buildpixel.api.endpoints import PAGE_SIZE
from airflow_provider_buildpixel.api.model import Status
from airflow_provider_buildpixel.exceptions import RateLimited, ServerFault
from airflow_provider_buildpixel.waits import planner
from airflow_provider_buildpixel.waits.actions import Read
from airflow_provider_buildpixel.waits.planner import (
    MAX_BURST,
    POLL_REST_PER_PAGE,
    QUIET_AFTER_JOIN,
    SAFETY_REST_PER_PAGE,
    SINGLE_READS,
)
from airflow_provider_buildpixel.waits.rows import LISTED_STATUSES, is_worthwhile
from tests import mutants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import ModuleType

    from airflow_provider_buildpixel.waits.planner import ReadPlan

WAITS = 300
LATENCY = 0.02
BUILDS = st.integers(0, WAITS - 1)
CALM = (Read(), Read(routine=True), Read(routine=True, safety=True))
ENDS = st.sampled_from(("complete", "failed"))


@dataclass
class Debt:
    """What is owed to a wait that has asked.

    :param at: since when.
    :param pressing: since when it asks for more than caution's sake, if it does.
    :param rumoured: whether it does so because of a rumour, which is met in other ways than polls.
    """

    at: float
    pressing: float = inf
    rumoured: bool = False


class Day(RuleBasedStateMachine):
    """Every wish is met by a read that began after it, and soon; a storm costs few requests."""

    module: ModuleType = planner

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0
        self.asks = self.module.ReadPlanner()
        self.brake = self.module.RateLimitGate()
        self.stirred_at = -inf
        self.stirring = False
        self.arriving: list[int] = []
        self.rest_until = self.caution_until = -inf
        self.truth = ["running"] * WAITS
        self.lag: dict[int, str] = {}
        self.owed: dict[int, Debt] = {}
        self.healed_at = self.now
        self.broken = False
        self.requests = 0

    def wish(self, number: int, read: Read) -> None:
        """Let a wait wish for a read."""
        self.asks.add(f"b{number}", read, self.now)
        debt = self.owed.setdefault(number, Debt(self.now))
        debt.rumoured = debt.rumoured or read.hint is not None
        if not read.safety:
            debt.pressing = min(debt.pressing, self.now)
        elif not debt.rumoured:
            debt.pressing = inf

    def some_ask(self, numbers: Iterable[int], read: Read) -> None:
        """Let some waits ask."""
        for number in numbers:
            self.wish(number, read)

    def all_ask(self, read: Read) -> None:
        """Let all waits ask."""
        self.some_ask(range(WAITS), read)

    def some_arrive(self, numbers: list[int]) -> None:
        """Let some waits ask while the next list is read."""
        self.arriving = numbers

    @rule(
        numbers=st.lists(BUILDS, max_size=12),
        read=st.sampled_from(CALM),
        how=st.sampled_from(("some", "all", "arrive")),
    )
    def ask(self, numbers: list[int], read: Read, how: str) -> None:
        """Let waits ask, now or while the next list is read."""
        if how == "all":
            self.all_ask(read)
        elif how == "some":
            self.some_ask(numbers, read)
        else:
            self.some_arrive(numbers)

    @rule(stirring=st.booleans())
    def joins(self, *, stirring: bool) -> None:
        """Let joins come one after the other, or no more."""
        self.stirring, self.stirred_at = stirring, self.now

    @rule(number=BUILDS, status=ENDS, stale=st.booleans())
    def one_ends(self, number: int, status: str, *, stale: bool) -> None:
        """Let a build end, perhaps behind the back of the lists."""
        if stale:
            self.lag[number] = self.truth[number]
        self.truth[number] = status
        self.wish(number, Read(Status(status)))

    @rule(status=ENDS)
    def many_end(self, status: str) -> None:
        """Let half of the builds end at once."""
        for number in range(0, WAITS, 2):
            self.truth[number] = status
            self.wish(number, Read(Status(status)))

    @rule(number=BUILDS)
    def one_leaves(self, number: int) -> None:
        """Let a wait be over."""
        self.asks.drop(f"b{number}")
        self.owed.pop(number, None)

    @rule(broken=st.booleans())
    def service(self, *, broken: bool) -> None:
        """Break the service, or heal it."""
        self.broken, self.healed_at = broken, self.now
        self.lag.clear()

    @rule(wait=st.sampled_from((None, 0.0, 20.0)))
    def refuses(self, wait: float | None) -> None:
        """Answer with a 429."""
        self.brake.answered(RateLimited("slow", wait=wait), self.now, 0.5)
        self.healed_at = self.brake.until

    @rule(seconds=st.sampled_from((0.03, 0.5, 2.0, 30.0)))
    def passes(self, seconds: float) -> None:
        """Let time pass, with the rounds that are due."""
        end = self.now + seconds
        while self.now < end:
            self.stirred_at = self.now if self.stirring else self.stirred_at
            self.rounds(min(end, self.now + QUIET_AFTER_JOIN / 2) if self.stirring else end)

    def rounds(self, end: float) -> None:
        """Perform the rounds that are due until then."""
        rounds = 0
        while (at := self.next_round()) <= end:
            rounds += 1
            assert rounds < 400 * (1 + end - self.now), "rounds without end"
            self.now = max(self.now, at)
            self.check()
            self.serve()
        self.now = max(self.now, end)
        self.check()

    def next_round(self) -> float:
        """Give the instant of the next round."""
        due = min(self.asks.urgent_at(), self.asks.calm_at(WAITS, self.stirred_at))
        return inf if due == inf else max(due, self.now, self.brake.until)

    def serve(self) -> None:
        """Do what the lanes do, one round."""
        if self.asks.urgent_at() <= self.now:
            self.do(self.asks.urgent(self.now))
        else:
            self.do(self.asks.calm(WAITS, self.now))

    def do(self, planned: ReadPlan) -> None:
        """Perform a round; it settles what it must."""
        assert planned.live or planned.ended or planned.singles, "a round that reads nothing"
        since = self.now
        if planned.live:
            assert self.now >= self.rest_until, "a sweep follows too soon"
            asked = self.asks.waiting()
            pages = sum(self.list(status, since, inf) for status in LISTED_STATUSES)
            self.asks.swept(pages, self.now)
            self.rest_until = self.now + pages * POLL_REST_PER_PAGE
            self.caution_until = self.now + pages * SAFETY_REST_PER_PAGE
            left = self.asks.open(asked, since)
            listed = [key for key in left if self.shown(int(key[1:])) in LISTED_STATUSES]
            assert not listed, "a list settled nothing"
            self.singles(left)
        for status, build_ids in planned.ended:
            self.list(str(status), since, len(build_ids))
            self.singles(self.asks.open(build_ids, since))
        self.singles(planned.singles)

    def list(self, status: str, since: float, most: float) -> int:
        """Look through a list, page by page; give the number of pages."""
        found = [n for n in range(WAITS) if self.shown(n) == status]
        pages = settled = 0
        while pages * PAGE_SIZE < max(1, len(found)) and (
            most == inf or is_worthwhile(pages, settled, int(most) - settled)
        ):
            for number in found[pages * PAGE_SIZE : (pages + 1) * PAGE_SIZE]:
                ended = Status(status).terminal
                before, debt = len(self.asks), self.owed.get(number)
                self.asks.settle(f"b{number}", since, ended=ended)
                settled += before - len(self.asks)
                older = debt is None or debt.at <= since
                still = older or ended or before == len(self.asks)
                assert still, "an older read met a wish"
            self.answer()
            pages += 1
            while self.arriving:
                self.wish(self.arriving.pop(), Read())
        self.met()
        return pages

    def shown(self, number: int) -> str:
        """Give the status in which lists show a build."""
        return self.lag.get(number, self.truth[number])

    def singles(self, build_ids: tuple[str, ...]) -> None:
        """Read builds one by one; while the service is broken, they ask again later."""
        for build_id in build_ids:
            self.one_leaves(int(build_id[1:]))
            self.answer()
            if self.broken:
                self.wish(int(build_id[1:]), Read())
        self.met()

    def answer(self) -> None:
        """Count a request."""
        self.requests += 1
        self.now += LATENCY / 8
        self.brake.answered(ServerFault("down") if self.broken else None, self.now, 0.5)

    def met(self) -> None:
        """Forget what is owed where no wish is left."""
        open_ = set(self.asks.open([f"b{n}" for n in self.owed], inf))
        self.owed = {n: debt for n, debt in self.owed.items() if f"b{n}" in open_}

    def check(self) -> None:
        """Hold the age of each wish against its bound.

        Caution rests for long after a sweep, unless somebody polls: then all are read.
        """
        polls = (debt.pressing for debt in self.owed.values() if not debt.rumoured)
        rest = min((*polls, self.caution_until))
        for debt in self.owed.values() if not self.broken else ():
            since = max(debt.at, rest) if debt.pressing == inf else debt.pressing
            bound = MAX_BURST + 10 * POLL_REST_PER_PAGE + WAITS * LATENCY + 5.0
            age = self.now - max(since, self.healed_at, self.brake.until)
            assert age <= bound, "a wish is forgotten"

    def teardown(self) -> None:
        """In the end, every wish is met."""
        self.broken, self.brake.until = False, self.now
        self.passes(120.0)
        assert not self.owed, "a wish was never met"
        assert not len(self.asks), "a wish is open for ever"


SETTINGS = settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


def one_sweep_after_the_other(day: Day) -> None:
    """Let all waits poll, and again at once."""
    for _ in range(3):
        day.all_ask(Read(routine=True))
        day.passes(0.03)


def an_arrival_during_a_sweep(day: Day) -> None:
    """Let a wait ask while the lists are read."""
    day.some_ask(list(range(100)), Read(routine=True))
    day.some_arrive([200])
    day.passes(2.0)


def joins_without_end(day: Day) -> None:
    """Let all waits join and ask, and joins go on and on."""
    day.joins(stirring=True)
    day.all_ask(Read())
    day.passes(30.0)


def polls_after_a_sweep(day: Day) -> None:
    """Let all waits poll, and again when the lists have just been read."""
    for _ in range(2):
        day.all_ask(Read(routine=True))
        day.passes(2.0)
    day.passes(30.0)


def caution_after_a_sweep(day: Day) -> None:
    """Let all waits ask for safety's sake, and again when the lists have just been read."""
    for _ in range(2):
        day.all_ask(Read(routine=True, safety=True))
        day.passes(2.0)
    day.passes(30.0)


def a_few_of_many(day: Day) -> None:
    """Let a few waits ask, and no more."""
    day.some_ask(range(3), Read())
    day.passes(30.0)


def a_burst_of_ends(day: Day) -> None:
    """Let half of the builds end at once."""
    day.many_end("complete")
    day.passes(30.0)


def a_burst_of_ends_that_no_list_shows(day: Day) -> None:
    """Let more than a few builds end, all of them behind the back of the lists."""
    for number in range(2 * SINGLE_READS):
        day.one_ends(number, "complete", stale=True)
    day.passes(2.0)


LIVES: tuple[Callable[[Day], None], ...] = (
    one_sweep_after_the_other,
    an_arrival_during_a_sweep,
    joins_without_end,
    polls_after_a_sweep,
    caution_after_a_sweep,
    a_few_of_many,
    a_burst_of_ends,
    a_burst_of_ends_that_no_list_shows,
)
"""What random days meet too seldom, and at each of the mistakes one that notices it for sure."""


@pytest.mark.parametrize("life", LIVES, ids=lambda life: str(life.__name__))
def test_one_day_of_many_waits(life: Callable[[Day], None]) -> None:
    """Every wish of such a day is met, too."""
    day = Day()
    life(day)
    day.teardown()


def test_every_wish_is_met_soon() -> None:
    """No order of wishes, ends, stale lists, refusals and leaves loses a wish or spins."""
    run_state_machine_as_test(Day, settings=SETTINGS)


@pytest.mark.parametrize("mutant", mutants.BATCH, ids=lambda mutant: str(mutant.name))
def test_a_mistake_in_the_batch_is_noticed(mutant: mutants.Mutant) -> None:
    """With this mistake in it, a wish is lost, met by an older read, or met too late or often."""
    day: type[Day] = type("DayOf", (Day,), {"module": mutant.of(planner)})
    chosen = settings(SETTINGS, phases=[Phase.generate], derandomize=True)
    with pytest.raises(AssertionError):  # either may notice
        for life in LIVES:
            life(day())
        run_state_machine_as_test(day, settings=chosen)


def test_a_storm_costs_few_requests() -> None:
    """All of three hundred builds ending at once cost fewer requests than a tenth of them."""
    day = Day()
    for number in range(WAITS):
        day.truth[number] = "complete"
        day.wish(number, Read(Status("complete")))
    day.passes(2.0)
    assert not day.owed
    assert day.requests <= WAITS / 10
