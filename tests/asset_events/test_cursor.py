"""Which builds a watcher reports: single cases, and the stored cursor."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_buildpixel.api.model import Build, Status
from airflow_provider_buildpixel.asset_events import cursor
from airflow_provider_buildpixel.asset_events.cursor import Cursor, Position, Watched
from airflow_provider_buildpixel.builds.list_order import ALL, Since
from airflow_provider_buildpixel.builds.request import BuildFilter
from airflow_provider_buildpixel.builds.search import LOOK_BACK
from airflow_provider_buildpixel.exceptions import RateLimited, ServerFault

ALL_ENDS = Watched(BuildFilter(), statuses=("complete", "failed", "superseded"))
START = datetime(2026, 5, 10, 12, tzinfo=UTC)


def build(number: int, status: str = "complete", **fields: Any) -> Build:
    """Return a build; numbers rise with the time of creation, which is not known."""
    return Build(id=f"b{number:05}", status=Status(status), **fields)


def at(seconds: float) -> datetime:
    """Return a time, in seconds since the start of the test."""
    return START + timedelta(seconds=seconds)


def timed(build_id: str, created: float, finished: float | None = None) -> Build:
    """Return a build with its times; it has ended if it has a second one."""
    status = Status("running" if finished is None else "complete")
    ended = None if finished is None else at(finished)
    return Build(build_id, status, created_at=at(created), finished_at=ended)


def handled(state: Cursor, *builds: Build) -> Cursor:
    """Return the cursor after some builds were handled, one after the other."""
    for one in builds:
        state = state.with_handled(Position.of(one))
    return state


def ids(builds: list[Build]) -> list[str]:
    """Return the ids of builds."""
    return [one.id for one in builds]


def test_an_old_build_that_ends_late_is_reported() -> None:
    """A build that ends after many newer ones is reported: it is tracked below the watermark."""
    late = build(1, "running")
    state = Cursor.start([late, build(2)], ALL_ENDS, None)
    state = handled(state, *(build(number) for number in range(3, 3 + 2 * cursor.MAX_HANDLED)))
    assert state.watermark.id > late.id
    assert ids(state.unhandled_ends([build(1)], ALL_ENDS)) == [late.id]


def test_older_builds_that_move_into_a_page_are_ignored() -> None:
    """Builds older than the first list are not reported when retention moves them into a page."""
    state = Cursor.start([build(2, "running"), build(8), build(9)], ALL_ENDS, None)
    assert state.unhandled_ends([build(5), build(8), build(9)], ALL_ENDS) == []
    assert ids(state.unhandled_ends([build(2), build(10)], ALL_ENDS)) == [build(2).id, "b00010"]


def test_a_build_that_appears_late_is_reported() -> None:
    """A build that a stale list lacked is reported when it appears between newer ones."""
    state = Cursor.start([build(1), build(3)], ALL_ENDS, None)
    assert ids(state.unhandled_ends([build(1), build(2), build(3)], ALL_ENDS)) == [build(2).id]


def test_ids_of_one_second() -> None:
    """The watermark compares times: ids of one second do not sort by creation."""
    old = [timed(f"5-{9999 - number}", 5 + number / 1000, 6) for number in range(900)]
    state = handled(Cursor(), *old)
    newest_dropped = old[900 - cursor.MAX_HANDLED - 1]
    assert state.watermark.created_at == Position.of(newest_dropped).created_at
    newer = timed("5-0000", 5.95, 6)
    assert newer.id < state.watermark.id
    assert state.unhandled_ends([*old, newer], ALL_ENDS) == [newer]
    rows = [replace(one, created_at=None) for one in old]
    assert state.unhandled_ends(rows, ALL_ENDS) == []


@pytest.mark.parametrize(
    ("row", "is_new"),
    [
        (timed("a", -50, -5), False),
        (timed("b", -50, 5), True),
        (timed("c", 1, 5), True),
        (replace(timed("d", -50, 5), finished_at=None), False),
        (replace(timed("e", 1, 5), finished_at=None), True),
        (timed("f", -50), True),
        (build(1), True),
    ],
    ids=["old", "ended-later", "new", "old-row", "new-row", "live", "no-times"],
)
def test_builds_from_before_the_start(row: Build, *, is_new: bool) -> None:
    """A build that ended before the watcher started is ignored if it appears late."""
    state = Cursor(started_at=START.timestamp())
    assert state.is_unhandled(row, ALL_ENDS) is is_new


def test_the_build_decides_whether_it_ended_before_the_start() -> None:
    """If a row has no times, those of the build that is read by id decide."""
    state = Cursor(started_at=START.timestamp())
    assert state.ended_before_start(timed("a", -50, -5))
    assert not state.ended_before_start(timed("a", -50, 5))
    assert not state.ended_before_start(build(1))
    assert not Cursor().ended_before_start(timed("a", -50, -5))


def test_a_build_that_was_seen_live_is_reported() -> None:
    """A build that was seen live is reported, even if its status changed long after its end."""
    state = Cursor(started_at=START.timestamp()).with_tracked([timed("a", -50)], ALL_ENDS)
    assert not state.ended_before_start(timed("a", -50, -5))
    row = replace(timed("b", -50, -5), created_at=None, finished_at=None)
    state = state.with_tracked([row], ALL_ENDS)
    assert state.tracked == {"a", "b"}
    assert state.ended_before_start(timed("b", -50, -5))


def test_a_deleted_build() -> None:
    """A build of which only the id is known can be handled, below and above others."""
    known = timed("b", 1, 2)
    state = Cursor(tracked=frozenset({"a", "c"})).with_handled(Position(None, "c"))
    state = handled(state, known).with_handled(Position(None, "a"))
    assert (state.tracked, set(state.handled)) == (frozenset(), {"a", "b", "c"})
    assert state.unhandled_ends([known, timed("c", 3, 4)], ALL_ENDS) == []


def test_a_row_with_few_fields_may_match() -> None:
    """A field that a list row lacks may match; the build read by id decides."""
    watched = Watched(BuildFilter("p", branch="main"))
    assert watched.may_match(build(1))
    assert not watched.may_match(build(1, branch="dev"))
    assert watched.may_match(build(1, branch="refs/heads/main"))
    state = Cursor().with_tracked([build(1), build(2, branch="dev")], watched)
    assert state.tracked == {build(1).id}


def test_a_requested_unknown_status_is_an_end() -> None:
    """A status that the provider does not know counts as an end for a watcher that names it."""
    assert Watched(BuildFilter(), ("cancelled",)).has_ended(build(1, "cancelled"))
    assert not ALL_ENDS.has_ended(build(1, "cancelled"))


def test_saved_cursor_is_bounded() -> None:
    """A cursor with the maximum number of ids fits into Airflow's state store."""
    past = [
        Build(f"{number:024}", Status("complete"), created_at=at(number + 0.123))
        for number in range(2000)
    ]
    live = [Build(f"{number:024}", Status("running")) for number in range(2000, 5000)]
    ended = [Build(f"{number:024}", Status("failed")) for number in range(4500, 9000)]
    for state in (handled(Cursor(), *past), Cursor.start([*past, *live], ALL_ENDS, 1.5)):
        saved = state.with_tracked([*live, *ended], ALL_ENDS).next_version()
        stored = json.dumps(saved.to_json())
        assert len(stored) < 65_535
        assert Cursor.from_json(json.loads(stored)) == saved
        assert len(saved.tracked) == cursor.MAX_TRACKED
        assert len(state.handled) == cursor.MAX_HANDLED


def test_all_builds_at_the_start_are_handled() -> None:
    """Ended builds over the limit are handled as well when a watcher starts."""
    past = [timed(f"b{number:05}", number, number + 1) for number in range(1000)]
    state = Cursor.start(past, ALL_ENDS, None)
    assert state.unhandled_ends(past, ALL_ENDS) == []


@given(st.recursive(st.none() | st.integers() | st.text(), lambda one: st.lists(one, max_size=3)))
def test_any_stored_value_is_a_cursor_or_none(value: Any) -> None:
    """Any other stored value is not a cursor and raises no error."""
    assert Cursor.from_json(value) is None
    stored = {"watermark": "", "handled": [], "tracked": []}
    for key in (*stored, "never_live", "version", "created_at", "started_at"):
        Cursor.from_json(stored | {key: value})
    Cursor.from_json(stored | {"handled": {"a": value}})


def test_a_cursor_of_an_earlier_version() -> None:
    """A stored cursor without times is continued."""
    stored = {"watermark": "b00001", "handled": ["b00003"], "tracked": ["b00000"], "version": 4}
    state = Cursor.from_json(stored)
    assert state is not None
    assert (state.watermark, state.version) == (Position(None, "b00001"), 4)
    listed = [timed(f"b{number:05}", number, number + 1) for number in range(5)]
    assert ids(state.unhandled_ends(listed, ALL_ENDS)) == ["b00000", "b00002", "b00004"]
    many = [timed(f"b{number:05}", number, number + 1) for number in range(5, 1000)]
    state = handled(state, *listed, *many)
    assert state.unhandled_ends([*listed, *many], ALL_ENDS) == []


@pytest.mark.parametrize(
    ("limit", "expected"), [(2, ["c", "d"]), (9, ["a", "b", "c", "d"]), (0, [])]
)
def test_catch_up_is_bounded(limit: int, expected: list[str]) -> None:
    """After a long downtime only the newest ends are reported."""
    skipped, kept = cursor.split_at_limit(["a", "b", "c", "d"], limit)
    assert kept == expected
    assert skipped + kept == ["a", "b", "c", "d"]


def test_pauses() -> None:
    """Pauses have jitter, grow within bounds while polls fail, and respect a 429 answer."""
    assert 27 <= cursor.next_pause(30, 0, None, 0.0) < cursor.next_pause(30, 0, None, 1.0) <= 33
    pauses = [cursor.next_pause(30, failures, ServerFault("x"), 0.5) for failures in range(1, 40)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == cursor.MAX_PAUSE
    assert cursor.next_pause(30, 1, RateLimited("x", wait=900), 0.0) >= 900
    assert cursor.next_pause(3600, 9, ServerFault("x"), 0.5) >= 3600


def test_state_key() -> None:
    """Watchers with different filters on one asset have separate cursors."""
    one, other = cursor.state_key("conn", "p", {"a": 1}), cursor.state_key("conn", "q", {"a": 1})
    assert one != other
    assert one == cursor.state_key("conn", "p", {"a": 1})


@pytest.mark.parametrize(
    ("state", "since"),
    [
        (Cursor(), ALL),
        (Cursor(started_at=1000.0), Since(1000 - LOOK_BACK)),
        (Cursor(Position(None, "b1"), tracked=frozenset({"b7"})), Since(build_id="b1")),
        (Cursor(Position(500.0, "b1")), Since(500 - LOOK_BACK, "b1")),
        (Cursor(Position(1.0, "b1"), {"b3": 600.0, "b4": 550.0}), Since(600 - LOOK_BACK, "b3")),
        (Cursor(Position(1.0, "b1"), {"b3": 600.0, "b5": None}), Since(build_id="b5")),
    ],
    ids=["empty", "started", "old-watermark", "watermark", "handled", "unknown-time"],
)
def test_what_a_continued_watcher_reads(state: Cursor, since: Since) -> None:
    """A watcher that continues reads the lists since the newest build that it has handled."""
    assert state.since == since
