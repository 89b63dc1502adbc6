"""How many waits share few requests."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from airflow_provider_buildpixel.api.model import Status
from airflow_provider_buildpixel.exceptions import InvalidRequest, RateLimited, ServerFault
from airflow_provider_buildpixel.waits.actions import Read
from airflow_provider_buildpixel.waits.planner import (
    GATHER_SECONDS,
    LIST_PAUSE,
    MAX_BURST,
    MAX_GAP_READS,
    MAX_LIST_FAILURES,
    MAX_RATE_LIMIT_PAUSE,
    QUIET_AFTER_HINT,
    QUIET_AFTER_JOIN,
    SAFETY_REST_PER_PAGE,
    SINGLE_READS,
    RateLimitGate,
    ReadPlan,
    ReadPlanner,
)
from airflow_provider_buildpixel.waits.rows import LISTED_STATUSES, is_worthwhile, list_rows

END = Read(Status("complete"))
FIRST = Read()
POLL = Read(routine=True)
SAFETY = Read(routine=True, safety=True)
MANY = 10_000


def asks(read: Read, count: int, at: float = 100.0) -> ReadPlanner:
    """Give so many wishes of one kind, made at one instant."""
    found = ReadPlanner()
    for number in range(count):
        found.add(f"b{number}", read, at)
    return found


def test_nothing_is_due_without_wishes() -> None:
    """Without wishes no round ever begins."""
    assert (ReadPlanner().urgent_at(), ReadPlanner().calm_at(MANY), len(ReadPlanner())) == (
        inf,
        inf,
        0,
    )


def test_few_rumours_are_read_at_once() -> None:
    """A rumour of an end is followed by a single read at once, however many waits there are."""
    few = asks(END, SINGLE_READS)
    assert few.urgent_at() == 100.0
    assert len(few.urgent(100.0).singles) == SINGLE_READS


def test_many_rumours_are_gathered() -> None:
    """Of a burst of rumours, the list of the rumoured status is read when the burst is over."""
    burst = asks(END, 500)
    assert burst.urgent_at() == 100.0 + QUIET_AFTER_HINT
    burst.add("late", END, 100.9)
    assert burst.urgent_at() == pytest.approx(100.95)
    burst.add("later", END, 102.0)
    assert burst.urgent_at() == 100.0 + GATHER_SECONDS
    (status, build_ids), *others = burst.urgent(101.0).ended
    assert (status, len(build_ids), others) == ("complete", 502, [])


def test_each_rumoured_status_has_its_list() -> None:
    """Builds of a status that few are rumoured to have are read singly."""
    mixed = asks(END, 20)
    mixed.add("odd", Read(Status("failed")), 100.0)
    planned = mixed.urgent(101.0)
    assert planned.singles == ("odd",)
    assert [status for status, _ in planned.ended] == ["complete"]


def test_few_waits_do_not_gather() -> None:
    """Where few wait, a read begins at once."""
    assert asks(POLL, 1).calm_at(1) == 100.0


def test_a_few_polls_are_gathered() -> None:
    """Where many wait, a few wishes are given a moment in which others may join them."""
    assert asks(POLL, 50).calm_at(MANY) == 100.0 + GATHER_SECONDS


def test_many_polls_are_met_at_once() -> None:
    """The lists of live builds serve all waits, so that more wishes are not waited for."""
    polls = asks(POLL, 500)
    assert polls.calm_at(MANY) == 100.0
    assert polls.calm(MANY, 101.0) == ReadPlan(live=True)
    assert len(polls.waiting()) == 500


def test_a_burst_of_joins_is_waited_for() -> None:
    """Lists that were read before the last of many joins would have to be read again."""
    joins = asks(FIRST, 500)
    assert joins.calm_at(MANY) == 100.0 + GATHER_SECONDS
    assert joins.calm_at(MANY, 100.9) == 100.9 + QUIET_AFTER_JOIN
    joins.add("late", FIRST, 102.0)
    assert joins.calm_at(MANY, 100.9) == 102.0 + QUIET_AFTER_JOIN
    assert joins.calm_at(MANY, 104.9) == 100.0 + MAX_BURST
    joins.drop("late")
    for number in range(500):
        joins.drop(f"b{number}")
        joins.add(f"b{number}", POLL, 103.0)
    assert joins.calm_at(MANY) == 103.0


def test_a_list_is_not_read_for_a_few() -> None:
    """As many single reads as the lists have pages, at most, are not worth the lists."""
    assert len(asks(POLL, 100).calm(MANY, 101.0).singles) == 100
    assert asks(POLL, 101).calm(MANY, 101.0).live


def test_safety_reads_are_rare() -> None:
    """Reads that only caution asks for cost ten requests a minute at most."""
    calm = asks(SAFETY, 500)
    calm.swept(100, 90.0)
    assert calm.calm_at(MANY) == 90.0 + 100 * SAFETY_REST_PER_PAGE
    calm.add("b0", POLL, 101.0)
    assert calm.calm_at(MANY) == 100.0


def test_a_rumour_overtakes_a_sweep() -> None:
    """A wish that becomes urgent is met by the urgent round, and only by that."""
    found = asks(POLL, 500)
    found.add("b7", END, 100.5)
    assert found.urgent_at() == 100.5
    assert "b7" not in found.waiting()
    assert found.urgent(100.5).singles == ("b7",)
    found.add("b7", POLL, 100.6)
    assert found.urgent(100.6).singles == ("b7",), "a calm wish must not replace an urgent one"


def test_the_same_wish_keeps_its_age() -> None:
    """Asking again does not put a wish off."""
    found = asks(POLL, 1)
    found.add("b0", POLL, 150.0)
    assert found.calm_at(1) == 100.0


@pytest.mark.parametrize(
    ("read", "since", "ended", "left"),
    [
        (POLL, 101.0, False, 0),
        (POLL, 99.0, False, 1),
        (POLL, 99.0, True, 0),
        (END, 101.0, False, 1),
        (END, 99.0, True, 0),
    ],
)
def test_what_a_list_settles(read: Read, since: float, ended: bool, left: int) -> None:
    """A list settles what was asked before it began, and every end; not a rumour of one."""
    found = asks(read, 1)
    found.settle("b0", since, ended=ended)
    found.settle("stranger", since, ended=ended)
    assert len(found) == left


def test_open_wishes_are_those_from_before() -> None:
    """A wish made after a sweep began is left to the next."""
    found = asks(POLL, 2)
    found.add("new", POLL, 102.0)
    found.add("end", END, 100.0)
    found.drop("b1")
    found.drop("gone")
    assert found.open(("b0", "b1", "new", "end"), 101.0) == ("b0", "end")


def test_gaps_of_logs_are_filled_within_bounds() -> None:
    """After a sweep, a few builds whose log has a gap are read by themselves, once."""
    found = asks(POLL, 3)
    for number in range(MAX_GAP_READS + 10):
        found.gap(f"gap-{number}")
    found.gap("b1")
    found.gap("b2")
    found.settle("b1", 99.0, ended=True)
    found.drop("b2")
    noted = found.gaps(101.0)
    assert len(noted) == MAX_GAP_READS
    assert not {"b1", "b2"} & {*noted}
    assert all(build_id in found for build_id in noted)
    assert found.gaps(102.0) == ()


def test_lists_that_fail_are_left_alone() -> None:
    """Lists that fail again and again, where single reads do not, are done without for a while."""
    found = asks(POLL, 500)
    error = ServerFault("broken")
    assert [found.lists_failed(error, 100.0) for _ in range(MAX_LIST_FAILURES)] == [
        False,
        False,
        True,
    ]
    assert len(found.calm(MANY, 101.0).singles) == 500
    assert asks(END, 20).urgent(101.0).ended
    found.add("end", END, 101.0)
    for number in range(20):
        found.add(f"b{number}", END, 101.0)
    assert not found.urgent(101.0).ended
    assert found.urgent(101.0 + LIST_PAUSE).ended


def test_a_list_that_works_again_is_forgiven() -> None:
    """Only failures in a row count."""
    found = ReadPlanner()
    for _ in range(MAX_LIST_FAILURES * 2):
        assert not found.lists_failed(ServerFault("broken"), 100.0)
        found.listed()


def test_a_refused_list_is_left_alone_at_once() -> None:
    """What no waiting cures, such as a 400 for a list, is not tried again and again."""
    assert ReadPlanner().lists_failed(InvalidRequest("no such filter"), 100.0)


def test_the_queue_is_swept_first() -> None:
    """A build that starts while a sweep runs is in the list that comes after."""
    assert LISTED_STATUSES == ("pending", "running")


@pytest.mark.parametrize(
    ("pages", "found", "left", "worth"),
    [
        (0, 0, 9, True),
        (3, 0, 9, False),
        (3, 0, 400, True),
        (100, 0, 400, False),
        (1, 100, 0, False),
    ],
)
def test_pages_of_ended_builds(pages: int, found: int, left: int, worth: bool) -> None:
    """A list that brings nothing is given up before it costs much more than single reads."""
    assert is_worthwhile(pages, found, left) is worth


@pytest.mark.parametrize("member", [None, 3, {}, {"id": "x"}, {"id": [], "status": "running"}])
def test_an_odd_member_does_not_spoil_a_page(member: Any) -> None:
    """One build that nobody can make out leaves the others of its page readable."""
    good = {"id": "b1", "status": "running", "branch": "main"}
    numbered = {"id": 7, "status": "running"}
    empty = {"id": "", "status": "running"}
    page = list_rows("running").parse({"items": [member, good, numbered, empty], "nextCursor": "c"})
    assert page.items == (good,)
    assert page.next_cursor == "c"


def test_an_open_wish_is_known() -> None:
    """It can be told whether a wish for a build is open, of either kind."""
    found = asks(POLL, 1)
    found.add("end", END, 100.0)
    assert ("b0" in found, "end" in found, "stranger" in found) == (True, True, False)


def test_a_429_slows_everybody() -> None:
    """After a 429 nothing is asked for before the instant that it names."""
    brake = RateLimitGate()
    brake.answered(RateLimited("slow", wait=20.0), 100.0, 0.5)
    assert brake.on
    assert 120.0 <= brake.until <= 121.0


@pytest.mark.parametrize(
    ("asked", "until"),
    [(3_000.0, 3_100.0), (86_400.0, 100.0 + MAX_RATE_LIMIT_PAUSE)],
    ids=["much", "absurd"],
)
def test_a_429_that_asks_for_too_much(asked: float, until: float) -> None:
    """What no wait has the patience for keeps the other waits from reading for a while only."""
    brake = RateLimitGate()
    brake.answered(RateLimited("slow", wait=asked), 100.0, 0.0)
    assert brake.until == until


def test_a_429_that_says_nothing_slows_ever_more() -> None:
    """Without Retry-After the pauses double, up to a minute, until an answer comes."""
    brake, pauses = RateLimitGate(), []
    for _ in range(9):
        brake.answered(RateLimited("slow"), 100.0, 1.0)
        pauses.append(brake.until - 100.0)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
    brake.answered(ServerFault("broken"), 200.0, 1.0)
    assert not brake.on


def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    """Of two 429 at once, the longer pause counts."""
    brake = RateLimitGate()
    brake.answered(RateLimited("slow", wait=20.0), 100.0, 0.0)
    brake.answered(RateLimited("slow", wait=1.0), 100.0, 0.0)
    assert brake.until >= 120.0
