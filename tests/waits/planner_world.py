"""Many waits that share their reads, as a planner decides, on a simulated clock."""

# ruff: noqa: D102, D103  # the name of a rule or a scenario says what happens

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from airflow_provider_buildpixel.api.endpoints import PAGE_SIZE
from airflow_provider_buildpixel.api.model import Status
from airflow_provider_buildpixel.exceptions import RateLimited, ServerFault
from airflow_provider_buildpixel.waits.actions import Read
from airflow_provider_buildpixel.waits.planner import (
    MAX_BURST,
    POLL_REST_PER_PAGE,
    QUIET_AFTER_JOIN,
    SAFETY_REST_PER_PAGE,
    SINGLE_READS,
    RateLimitGate,
    ReadPlanner,
)
from airflow_provider_buildpixel.waits.rows import LISTED_STATUSES, is_worthwhile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from airflow_provider_buildpixel.waits.planner import ReadPlan

WAITS = 300
LATENCY = 0.02
BUILDS = st.integers(0, WAITS - 1)
ENDS = st.sampled_from(("complete", "failed"))

AFTER_EVENT = Read()
POLL = Read(routine=True)
SAFETY = Read(routine=True, safety=True)


@dataclass
class Request:
    """The unanswered request of a wait.

    :param at: since when.
    :param polling_since: since when it is more than a safety read, inf if it is not.
    :param is_hinted: whether a hint caused it; such requests are answered in other rounds.
    """

    at: float
    polling_since: float = inf
    is_hinted: bool = False


class RandomReads(RuleBasedStateMachine):
    """Every request is answered by a read that began after it, and soon, with few requests."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0
        self.planner = ReadPlanner()
        self.gate = RateLimitGate()
        self.last_event_at = -inf
        self.events_go_on = False
        self.requests_during_list: list[int] = []
        self.rest_until = self.safety_rest_until = -inf
        self.statuses = ["running"] * WAITS
        self.stale_statuses: dict[int, str] = {}
        self.unanswered: dict[int, Request] = {}
        self.delayed_until = self.now
        self.is_broken = False
        self.http_requests = 0

    # What waits and the service do.

    def request(self, numbers: Iterable[int], read: Read) -> None:
        """Let waits request a read."""
        for number in numbers:
            self.planner.add(f"b{number}", read, self.now)
            request = self.unanswered.setdefault(number, Request(self.now))
            request.is_hinted = request.is_hinted or read.hint is not None
            if not read.safety:
                request.polling_since = min(request.polling_since, self.now)
            elif not request.is_hinted:
                request.polling_since = inf

    @rule(
        numbers=st.lists(BUILDS, max_size=12) | st.just(range(WAITS)),
        read=st.sampled_from((AFTER_EVENT, POLL, SAFETY)),
    )
    def request_now(self, numbers: Iterable[int], read: Read) -> None:
        self.request(numbers, read)

    @rule(numbers=st.lists(BUILDS, max_size=12))
    def request_during_list(self, numbers: list[int]) -> None:
        self.requests_during_list = numbers

    @rule(go_on=st.booleans())
    def send_events(self, *, go_on: bool) -> None:
        self.events_go_on, self.last_event_at = go_on, self.now

    @rule(numbers=BUILDS.map(lambda number: [number]), status=ENDS, is_stale=st.booleans())
    def end_builds(self, numbers: Iterable[int], status: str, *, is_stale: bool) -> None:
        for number in numbers:
            if is_stale:
                self.stale_statuses[number] = self.statuses[number]
            self.statuses[number] = status
            self.request([number], Read(Status(status)))

    @rule(status=ENDS)
    def end_every_second_build(self, status: str) -> None:
        self.end_builds(range(0, WAITS, 2), status, is_stale=False)

    @rule(number=BUILDS)
    def end_wait(self, number: int) -> None:
        self.planner.remove(f"b{number}")
        self.unanswered.pop(number, None)

    @rule(is_broken=st.booleans())
    def break_or_repair(self, *, is_broken: bool) -> None:
        self.is_broken, self.delayed_until = is_broken, self.now
        self.stale_statuses.clear()

    @rule(wait=st.sampled_from((None, 0.0, 20.0)))
    def limit_rate(self, wait: float | None) -> None:
        self.gate.on_answer(RateLimited("slow", wait=wait), self.now, 0.5)
        self.delayed_until = self.gate.next_request_at

    @rule(seconds=st.sampled_from((0.03, 0.5, 2.0, 30.0)))
    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.last_event_at = self.now if self.events_go_on else self.last_event_at
            step = self.now + QUIET_AFTER_JOIN / 2 if self.events_go_on else end
            self.run_rounds(min(end, step))

    # What the reader does.

    def run_rounds(self, end: float) -> None:
        """Run the rounds that are due until then."""
        rounds = 0
        while (at := self.next_round_at()) <= end:
            rounds += 1
            assert rounds < 400 * (1 + end - self.now), "rounds without end"
            self.now = max(self.now, at)
            self.check()
            if self.planner.hinted_at() <= self.now:
                self.run_round(self.planner.plan_hinted(self.now))
            else:
                self.run_round(self.planner.plan_routine(WAITS, self.now))
        self.now = max(self.now, end)
        self.check()

    def next_round_at(self) -> float:
        """Return when the next round begins."""
        due = min(self.planner.hinted_at(), self.planner.routine_at(WAITS, self.last_event_at))
        return inf if due == inf else max(due, self.now, self.gate.next_request_at)

    def run_round(self, plan: ReadPlan) -> None:
        """Read what is planned; check what lists must answer."""
        assert plan.live_lists or plan.ended_lists or plan.singles, "a round that reads nothing"
        since = self.now
        if plan.live_lists:
            self.sweep(since)
        for status, build_ids in plan.ended_lists:
            self.read_list(str(status), since, len(build_ids))
            self.read_singly(self.planner.pending(build_ids, since))
        self.read_singly(plan.singles)

    def sweep(self, since: float) -> None:
        """Read the lists of live builds, and what they do not answer one by one."""
        assert self.now >= self.rest_until, "a sweep follows too soon"
        requested = self.planner.routine_builds()
        pages = sum(self.read_list(status, since, inf) for status in LISTED_STATUSES)
        self.planner.on_round_done(pages, self.now)
        self.rest_until = self.now + pages * POLL_REST_PER_PAGE
        self.safety_rest_until = self.now + pages * SAFETY_REST_PER_PAGE
        left = self.planner.pending(requested, since)
        listed = [key for key in left if self.listed_status(int(key[1:])) in LISTED_STATUSES]
        assert not listed, "a list answered nothing"
        self.read_singly(left)

    def read_list(self, status: str, since: float, wanted: float) -> int:
        """Read a list page by page; return the number of pages."""
        members = [number for number in range(WAITS) if self.listed_status(number) == status]
        pages = found = 0
        while pages * PAGE_SIZE < max(1, len(members)) and (
            wanted == inf or is_worthwhile(pages, found, int(wanted) - found)
        ):
            for number in members[pages * PAGE_SIZE : (pages + 1) * PAGE_SIZE]:
                ended = Status(status).terminal
                before, request = len(self.planner), self.unanswered.get(number)
                self.planner.on_listed(f"b{number}", since, ended=ended)
                found += before - len(self.planner)
                is_older = request is None or request.at <= since
                is_unchanged = before == len(self.planner)
                assert is_older or ended or is_unchanged, "an older read answered a request"
            self.count_answer()
            pages += 1
            while self.requests_during_list:
                self.request([self.requests_during_list.pop()], AFTER_EVENT)
        self.forget_answered()
        return pages

    def listed_status(self, number: int) -> str:
        """Return the status in which lists show a build."""
        return self.stale_statuses.get(number, self.statuses[number])

    def read_singly(self, build_ids: tuple[str, ...]) -> None:
        """Read builds one by one; while the service is broken, the waits request again."""
        for build_id in build_ids:
            number = int(build_id[1:])
            self.end_wait(number)
            self.count_answer()
            if self.is_broken:
                self.request([number], AFTER_EVENT)
        self.forget_answered()

    def count_answer(self) -> None:
        """Count a request to the service."""
        self.http_requests += 1
        self.now += LATENCY / 8
        self.gate.on_answer(ServerFault("down") if self.is_broken else None, self.now, 0.5)

    def forget_answered(self) -> None:
        """Forget the requests that are not pending any more."""
        pending = set(self.planner.pending([f"b{number}" for number in self.unanswered], inf))
        self.unanswered = {
            number: request
            for number, request in self.unanswered.items()
            if f"b{number}" in pending
        }

    # What must hold at every instant.

    def check(self) -> None:
        """Compare the age of each request with its bound.

        Safety reads rest for long after a sweep, unless some wait polls: then all are read.
        """
        if self.is_broken:
            return
        polls = (
            request.polling_since for request in self.unanswered.values() if not request.is_hinted
        )
        rest_until = min((*polls, self.safety_rest_until))
        bound = MAX_BURST + 10 * POLL_REST_PER_PAGE + WAITS * LATENCY + 5.0
        for request in self.unanswered.values():
            is_safety = request.polling_since == inf
            since = max(request.at, rest_until) if is_safety else request.polling_since
            age = self.now - max(since, self.delayed_until, self.gate.next_request_at)
            assert age <= bound, "a request is forgotten"

    def teardown(self) -> None:
        """In the end, every request is answered."""
        self.is_broken, self.gate.next_request_at = False, self.now
        self.run(120.0)
        assert not self.unanswered, "a request was never answered"
        assert not len(self.planner), "a read is pending for ever"


def all_waits_poll_repeatedly(world: RandomReads) -> None:
    for _ in range(3):
        world.request(range(WAITS), POLL)
        world.run(0.03)


def a_wait_requests_a_read_during_a_sweep(world: RandomReads) -> None:
    world.request(range(100), POLL)
    world.request_during_list([200])
    world.run(2.0)


def all_waits_join_and_joins_go_on(world: RandomReads) -> None:
    world.send_events(go_on=True)
    world.request(range(WAITS), AFTER_EVENT)
    world.run(30.0)


def all_waits_poll_after_a_sweep(world: RandomReads) -> None:
    for _ in range(2):
        world.request(range(WAITS), POLL)
        world.run(2.0)
    world.run(30.0)


def all_waits_need_safety_reads_after_a_sweep(world: RandomReads) -> None:
    for _ in range(2):
        world.request(range(WAITS), SAFETY)
        world.run(2.0)
    world.run(30.0)


def a_few_waits_of_many_request_reads(world: RandomReads) -> None:
    world.request(range(3), AFTER_EVENT)
    world.run(30.0)


def half_of_the_builds_end_at_once(world: RandomReads) -> None:
    world.end_every_second_build("complete")
    world.run(30.0)


def builds_end_that_no_list_shows(world: RandomReads) -> None:
    world.end_builds(range(2 * SINGLE_READS), "complete", is_stale=True)
    world.run(2.0)


SCENARIOS: tuple[Callable[[RandomReads], None], ...] = (
    all_waits_poll_repeatedly,
    a_wait_requests_a_read_during_a_sweep,
    all_waits_join_and_joins_go_on,
    all_waits_poll_after_a_sweep,
    all_waits_need_safety_reads_after_a_sweep,
    a_few_waits_of_many_request_reads,
    half_of_the_builds_end_at_once,
    builds_end_that_no_list_shows,
)
"""What random steps meet too rarely."""


def run_scenario(scenario: Callable[[RandomReads], None]) -> None:
    """Run a scenario to its end."""
    world = RandomReads()
    scenario(world)
    world.teardown()
