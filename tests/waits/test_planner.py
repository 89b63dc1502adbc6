"""How the reads of many waits become few requests."""

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
    SMALL_GROUP,
    PendingRead,
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


def planner_with(read: Read, count: int, at: float = 100.0) -> ReadPlanner:
    """Return a planner with a number of pending reads, requested at the same time."""
    planner = ReadPlanner()
    for number in range(count):
        planner.add(f"b{number}", read, at)
    return planner


def test_nothing_is_due_without_reads() -> None:
    """Without pending reads no round ever begins."""
    assert (ReadPlanner().hinted_at(), ReadPlanner().routine_at(MANY), len(ReadPlanner())) == (
        inf,
        inf,
        0,
    )


def test_few_hinted_reads_are_made_at_once() -> None:
    """A hint of an end leads to a single read at once, however many waits there are."""
    planner = planner_with(END, SINGLE_READS)
    assert planner.hinted_at() == 100.0
    assert len(planner.plan_hinted(100.0).singles) == SINGLE_READS


def test_many_hinted_reads_are_gathered() -> None:
    """After a burst of hints the list of the hinted status is read."""
    planner = planner_with(END, 500)
    assert planner.hinted_at() == 100.0 + QUIET_AFTER_HINT
    planner.add("late", END, 100.9)
    assert planner.hinted_at() == pytest.approx(100.95)
    planner.add("later", END, 102.0)
    assert planner.hinted_at() == 100.0 + GATHER_SECONDS
    (status, build_ids), *others = planner.plan_hinted(101.0).ended_lists
    assert (status, len(build_ids), others) == ("complete", 502, [])


def test_each_hinted_status_has_its_list() -> None:
    """Builds with a status that few builds are hinted to have are read one by one."""
    planner = planner_with(END, 20)
    planner.add("odd", Read(Status("failed")), 100.0)
    planned = planner.plan_hinted(101.0)
    assert planned.singles == ("odd",)
    assert [status for status, _ in planned.ended_lists] == ["complete"]


def test_few_waits_do_not_gather() -> None:
    """If there are few waits, a read begins at once."""
    assert planner_with(POLL, 1).routine_at(1) == 100.0
    assert planner_with(POLL, 1).routine_at(SMALL_GROUP) == 100.0


def test_a_few_polls_are_gathered() -> None:
    """If there are many waits, a few reads are delayed, as others may follow."""
    assert planner_with(POLL, 50).routine_at(MANY) == 100.0 + GATHER_SECONDS


def test_many_polls_begin_at_once() -> None:
    """Lists of live builds answer all waits, so no further reads are gathered."""
    planner = planner_with(POLL, 500)
    assert planner.routine_at(MANY) == 100.0
    assert planner.plan_routine(MANY, 101.0) == ReadPlan(live_lists=True)
    assert len(planner.routine_builds()) == 500


def test_reads_wait_for_the_end_of_a_burst_of_joins() -> None:
    """Lists read before the last of many joins would have to be read again."""
    planner = planner_with(FIRST, 500)
    assert planner.routine_at(MANY) == 100.0 + GATHER_SECONDS
    assert planner.routine_at(MANY, 100.9) == 100.9 + QUIET_AFTER_JOIN
    planner.add("late", FIRST, 102.0)
    assert planner.routine_at(MANY, 100.9) == 102.0 + QUIET_AFTER_JOIN
    assert planner.routine_at(MANY, 104.9) == 100.0 + MAX_BURST
    planner.remove("late")
    for number in range(500):
        planner.remove(f"b{number}")
        planner.add(f"b{number}", POLL, 103.0)
    assert planner.routine_at(MANY) == 103.0


def test_a_list_is_not_read_for_a_few() -> None:
    """Lists are not read if single reads need no more requests than the lists have pages."""
    assert len(planner_with(POLL, 100).plan_routine(MANY, 101.0).singles) == 100
    assert planner_with(POLL, 101).plan_routine(MANY, 101.0).live_lists
    assert planner_with(POLL, SINGLE_READS).plan_routine(100, 101.0).singles


def test_safety_reads_are_rare() -> None:
    """Safety reads alone cost ten requests a minute at most."""
    planner = planner_with(SAFETY, 500)
    planner.on_round_done(100, 90.0)
    assert planner.routine_at(MANY) == 90.0 + 100 * SAFETY_REST_PER_PAGE
    planner.add("hinted", END, 101.0)
    planner.remove("hinted")
    assert planner.routine_at(MANY) == 90.0 + 100 * SAFETY_REST_PER_PAGE
    planner.add("b0", POLL, 101.0)
    assert planner.routine_at(MANY) == 100.0


def test_a_hinted_read_replaces_a_routine_read() -> None:
    """A read that becomes hinted belongs to the round of hinted reads, and only to that."""
    planner = planner_with(POLL, 500)
    planner.add("b7", END, 100.5)
    assert planner.hinted_at() == 100.5
    assert "b7" not in planner.routine_builds()
    assert planner.plan_hinted(100.5).singles == ("b7",)
    planner.add("b7", POLL, 100.6)
    assert planner.plan_hinted(100.6).singles == ("b7",), (
        "a routine read must not replace a hinted one"
    )


def test_the_same_read_keeps_its_time() -> None:
    """To request a read again does not delay it."""
    planner = planner_with(POLL, 1)
    planner.add("b0", POLL, 150.0)
    assert planner.routine_at(1) == 100.0


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
def test_which_reads_a_list_answers(read: Read, since: float, ended: bool, left: int) -> None:  # noqa: FBT001
    """A list answers reads requested before it began, and shows ends; it refutes no hint."""
    planner = planner_with(read, 1)
    planner.on_listed("b0", since, ended=ended)
    planner.on_listed("stranger", since, ended=ended)
    assert len(planner) == left


def test_pending_reads_are_those_from_before() -> None:
    """A read requested after a sweep began is left to the next sweep."""
    planner = planner_with(POLL, 2)
    planner.add("new", POLL, 102.0)
    planner.add("same-time", POLL, 101.0)
    planner.add("end", END, 100.0)
    assert planner.remove("b1") == PendingRead("b1", POLL, 100.0)
    assert planner.remove("gone") is None
    builds = ("b0", "b1", "new", "same-time", "end")
    assert planner.pending(builds, 101.0) == ("b0", "same-time", "end")


def test_log_gaps_lead_to_a_limited_number_of_reads() -> None:
    """After a sweep, a limited number of builds with a log gap are read one by one, once."""
    planner = planner_with(POLL, 3)
    for number in range(MAX_GAP_READS + 10):
        planner.note_log_gap(f"gap-{number}")
    planner.note_log_gap("b1")
    planner.note_log_gap("b2")
    planner.on_listed("b1", 99.0, ended=True)
    planner.remove("b2")
    noted = planner.request_gap_reads(101.0)
    assert len(noted) == MAX_GAP_READS
    assert not {"b1", "b2"} & {*noted}
    assert all(build_id in planner for build_id in noted)
    assert planner.request_gap_reads(102.0) == ()


def test_lists_that_keep_failing_are_not_used() -> None:
    """If lists keep failing while single reads succeed, lists are not used for a while."""
    planner = planner_with(POLL, 500)
    error = ServerFault("broken")
    assert [planner.lists_failed(error, 100.0) for _ in range(MAX_LIST_FAILURES)] == [
        False,
        False,
        True,
    ]
    assert len(planner.plan_routine(MANY, 101.0).singles) == 500
    assert planner.plan_routine(MANY, 100.0 + LIST_PAUSE).live_lists
    assert planner_with(END, 20).plan_hinted(101.0).ended_lists
    planner.add("end", END, 101.0)
    for number in range(20):
        planner.add(f"b{number}", END, 101.0)
    assert not planner.plan_hinted(101.0).ended_lists
    assert planner.plan_hinted(100.0 + LIST_PAUSE).ended_lists


def test_a_list_that_succeeds_resets_the_failures() -> None:
    """Only consecutive failures count, and they count from zero again."""
    planner = ReadPlanner()
    error = ServerFault("broken")
    for _ in range(MAX_LIST_FAILURES * 2):
        for _ in range(MAX_LIST_FAILURES - 1):
            assert not planner.lists_failed(error, 100.0)
        planner.lists_succeeded()
    failures = [planner.lists_failed(error, 100.0) for _ in range(MAX_LIST_FAILURES)]
    assert failures == [False, False, True]


def test_failures_count_from_zero_after_a_pause_of_lists() -> None:
    """After lists were not used for a while, they may fail as often as before."""
    planner = ReadPlanner()
    error = ServerFault("broken")
    for _ in range(2):
        failures = [planner.lists_failed(error, 100.0) for _ in range(MAX_LIST_FAILURES)]
        assert failures == [False, False, True]


def test_a_refused_list_is_not_used_again() -> None:
    """After a permanent error, such as a 400 for a list, lists are not used at once."""
    assert ReadPlanner().lists_failed(InvalidRequest("no such filter"), 100.0)


def test_the_queue_is_swept_first() -> None:
    """The queue is read first: a build that starts during a sweep is in the next list."""
    assert LISTED_STATUSES == ("pending", "running")


@pytest.mark.parametrize(
    ("pages", "found", "left", "worth"),
    [
        (0, 0, 1, True),
        (0, 0, 9, True),
        (2, 0, 9, True),
        (3, 0, 9, False),
        (3, 0, 400, True),
        (99, 0, 400, True),
        (100, 0, 400, False),
        (1, 100, 0, False),
    ],
)
def test_pages_of_ended_builds(pages: int, found: int, left: int, worth: bool) -> None:  # noqa: FBT001
    """A list without wanted builds is abandoned before it costs much more than single reads."""
    assert is_worthwhile(pages, found, left) is worth


@pytest.mark.parametrize("member", [None, 3, {}, {"id": "x"}, {"id": [], "status": "running"}])
def test_an_odd_member_does_not_spoil_a_page(member: Any) -> None:
    """An unreadable build leaves the others of its page readable."""
    good = {"id": "b1", "status": "running", "branch": "main"}
    numbered = {"id": 7, "status": "running"}
    empty = {"id": "", "status": "running"}
    page = list_rows("running").parse({"items": [member, good, numbered, empty], "nextCursor": "c"})
    assert page.items == (good,)
    assert page.next_cursor == "c"


def test_a_planner_contains_pending_reads() -> None:
    """A planner contains the builds with a pending read of either kind."""
    planner = planner_with(POLL, 1)
    planner.add("end", END, 100.0)
    assert ("b0" in planner, "end" in planner, "stranger" in planner) == (True, True, False)


def test_a_429_delays_all_requests() -> None:
    """After a 429 there is no request before the instant that it names."""
    gate = RateLimitGate()
    gate.on_answer(RateLimited("slow", wait=20.0), 100.0, 0.5)
    assert gate.is_limited
    assert 120.0 <= gate.next_request_at <= 121.0


@pytest.mark.parametrize(
    ("wait", "next_request_at"),
    [(3_000.0, 3_100.0), (3_600.0, 3_700.0), (86_400.0, 100.0 + MAX_RATE_LIMIT_PAUSE)],
    ids=["long", "the-longest", "too-long"],
)
def test_a_429_with_a_long_pause(wait: float, next_request_at: float) -> None:
    """A pause longer than any wait tolerates delays the requests of other waits only briefly."""
    gate = RateLimitGate()
    gate.on_answer(RateLimited("slow", wait=wait), 100.0, 0.0)
    assert gate.next_request_at == next_request_at


def test_429s_without_a_time_double_the_pause() -> None:
    """Without Retry-After the pauses double, up to a minute, until a request is answered."""
    gate, pauses = RateLimitGate(), []
    for _ in range(9):
        gate.on_answer(RateLimited("slow"), 100.0, 1.0)
        pauses.append(gate.next_request_at - 100.0)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
    gate.on_answer(ServerFault("broken"), 200.0, 1.0)
    assert not gate.is_limited
    gate.on_answer(RateLimited("slow"), 300.0, 1.0)
    assert gate.next_request_at == 301.0


def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    """Of two 429s at the same time, the longer pause counts."""
    gate = RateLimitGate()
    gate.on_answer(RateLimited("slow", wait=20.0), 100.0, 0.0)
    gate.on_answer(RateLimited("slow", wait=1.0), 100.0, 0.0)
    assert gate.next_request_at >= 120.0
