"""Which builds a watcher reports: simulated builds, stale lists and crashes, without a server."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from airflow_provider_buildpixel.api.model import Build, Status
from airflow_provider_buildpixel.asset_events import cursor
from airflow_provider_buildpixel.asset_events.cursor import BuildFilter, Cursor, NewestBuilds
from airflow_provider_buildpixel.exceptions import RateLimited, ServerFault

ALL_ENDS = BuildFilter(statuses=("complete", "failed", "superseded"))


def build(number: int, status: str = "complete", **fields: Any) -> Build:
    """Return a build; numbers rise with the time of creation."""
    return Build(id=f"b{number:05}", status=Status(status), **fields)


class WatcherMachine(RuleBasedStateMachine):
    """Builds start and end in any order, lists may lag, and the watcher may stop at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.builds: dict[str, Build] = {}
        self.reported: list[str] = []
        self.expected: set[str] = set()
        self.cursor: Cursor | None = None
        self.stored: Any = None
        self.numbers = 0

    @rule(status=st.sampled_from(["pending", "running", "complete", "failed", "odd"]))
    def create(self, status: str) -> None:
        """A build starts; it may have ended before the next poll."""
        self.numbers += 1
        new = build(self.numbers, status)
        self.builds[new.id] = new
        self._expect(new)

    @precondition(lambda self: self._live())
    @rule(data=st.data(), status=st.sampled_from(["complete", "failed", "superseded", "running"]))
    def change_status(self, data: st.DataObject, status: str) -> None:
        """A build changes its status or ends."""
        found = data.draw(st.sampled_from(self._live()))
        self.builds[found.id] = replace(found, status=Status(status))
        self._expect(self.builds[found.id])

    @rule(data=st.data())
    def poll(self, data: st.DataObject) -> None:
        """The watcher polls a list that lacks some builds, in any order."""
        listed = data.draw(st.permutations(sorted(self.builds.values(), key=lambda one: one.id)))
        if self.cursor is None:
            known = Cursor.from_json(self.stored)
            if known is None:
                self.cursor = Cursor.start(listed, self._live(), ALL_ENDS, complete_down_to="")
                self._save()
                return
            self.cursor = known
        left_out = data.draw(st.integers(0, min(2, len(listed))))
        self._report(listed[left_out:], data.draw(st.none() | st.integers(0, 3)))

    def _report(self, listed: list[Build], stop_after: int | None) -> None:
        """Do what the trigger does; an error may stop it between two builds."""
        assert self.cursor is not None
        missing = [self.builds[build_id] for build_id in self.cursor.missing_from(listed)]
        self.cursor = self.cursor.with_tracked(listed, ALL_ENDS)
        ended = self.cursor.unhandled_ends([*listed, *missing], ALL_ENDS)
        for count, build_id in enumerate(ended):
            if count == stop_after:
                break
            self.reported.append(build_id)
            self.cursor = self.cursor.with_handled(build_id)
        self._save()

    def _save(self) -> None:
        assert self.cursor is not None
        self.cursor = self.cursor.next_version()
        self.stored = json.loads(json.dumps(self.cursor.to_json()))

    @rule()
    def stop(self) -> None:
        """The triggerer stops; what it has reported and saved remains."""
        self.cursor = None

    def _live(self) -> list[Build]:
        return [one for one in self.builds.values() if not one.status.terminal]

    def _expect(self, one: Build) -> None:
        if self.stored is not None and one.status.terminal:
            self.expected.add(one.id)

    @invariant()
    def no_build_twice(self) -> None:
        """No build is reported twice, and none that ended before the first poll."""
        assert len(self.reported) == len(set(self.reported))
        assert set(self.reported) <= self.expected

    def teardown(self) -> None:
        """Once lists are complete, two polls report all builds that have ended."""
        if self.stored is not None:
            self.cursor = self.cursor or Cursor.from_json(self.stored)
            for _ in range(2):
                self._report(list(self.builds.values()), None)
            assert set(self.reported) == self.expected


TestWatcher = WatcherMachine.TestCase
TestWatcher.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


def test_an_old_build_that_ends_late_is_reported() -> None:
    """A build that ends after many newer ones is reported: it is tracked below the watermark."""
    late = build(1, "running")
    state = Cursor.start([late, build(2)], [late], ALL_ENDS, complete_down_to="")
    for number in range(3, 3 + 2 * cursor.MAX_HANDLED):
        state = state.with_handled(build(number).id)
    assert state.watermark > late.id
    assert state.unhandled_ends([build(1)], ALL_ENDS) == [late.id]


def test_older_builds_that_move_into_a_page_are_ignored() -> None:
    """Builds older than the first page are not reported when retention moves them into a page."""
    state = Cursor.start(
        [build(8), build(9)], [build(2, "running")], ALL_ENDS, complete_down_to=build(8).id
    )
    assert state.unhandled_ends([build(5), build(8), build(9)], ALL_ENDS) == []
    assert state.unhandled_ends([build(2), build(10)], ALL_ENDS) == [build(2).id, build(10).id]


def test_a_build_that_appears_late_is_reported() -> None:
    """A build that a stale list lacked is reported when it appears between newer ones."""
    state = Cursor.start([build(1), build(3)], [], ALL_ENDS, complete_down_to="")
    assert state.unhandled_ends([build(1), build(2), build(3)], ALL_ENDS) == [build(2).id]


@pytest.mark.parametrize(
    ("build_filter", "selected"),
    [
        (BuildFilter("p"), True),
        (BuildFilter("other"), False),
        (BuildFilter("p", "s", "main"), True),
        (BuildFilter("p", "s", "dev"), False),
        (BuildFilter(statuses=("failed",)), False),
        (BuildFilter(statuses=("failed", "complete")), True),
    ],
)
def test_filter(build_filter: BuildFilter, *, selected: bool) -> None:
    """A filter selects by project, build setting, branch and status."""
    full = build(1, project_id="p", build_setting_id="s", branch="main")
    assert build_filter.selects(full) is selected


def test_a_list_item_with_few_fields_may_match() -> None:
    """A field that a list item lacks may match; the build read by id decides."""
    assert BuildFilter("p", branch="main").may_match(build(1))
    assert not BuildFilter("p", branch="main").matches(build(1))


def test_a_requested_unknown_status_is_an_end() -> None:
    """A status that the provider does not know counts as an end for a watcher that names it."""
    assert BuildFilter(statuses=("cancelled",)).selects(build(1, "cancelled"))
    assert not ALL_ENDS.has_ended(build(1, "cancelled"))


def test_saved_cursor_is_bounded() -> None:
    """A cursor with the maximum number of ids fits into Airflow's state store."""
    number, state = 0, Cursor()
    for number in range(2000):
        state = state.with_handled(f"{number:024}")
    live = [replace(build(0, "running"), id=f"{number + n:024}") for n in range(1, 3000)]
    stored = json.dumps(state.with_tracked(live, ALL_ENDS).next_version().to_json())
    assert len(stored) < 65_535


@given(st.recursive(st.none() | st.integers() | st.text(), lambda one: st.lists(one, max_size=3)))
def test_any_stored_value_is_a_cursor_or_none(value: Any) -> None:
    """Any other stored value is not a cursor and raises no error."""
    assert Cursor.from_json(value) is None
    for key in ("watermark", "handled", "tracked", "version"):
        Cursor.from_json({"watermark": "", "handled": [], "tracked": []} | {key: value})


@pytest.mark.parametrize(
    ("known", "limit", "page", "enough"),
    [
        (7, 100, [9, 8], False),
        (7, 100, [8, 7], True),
        (7, 2, [9, 8], True),
        (7, 100, [], True),
    ],
    ids=["continues", "known-build", "limit", "empty"],
)
def test_newest_builds(known: int, limit: int, page: list[int], *, enough: bool) -> None:
    """A list is read down to the known build or to the limit; a repeated build counts once."""
    newest = NewestBuilds(build(known).id, limit)
    assert newest.add_page([build(number) for number in page]) is enough
    newest.add_page([build(number) for number in page])
    assert [one.id for one in newest.builds] == [build(number).id for number in page]


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
    ("watermark", "handled", "tracked", "newest"),
    [("b1", [], [], "b1"), ("b1", ["b5", "b3"], ["b4"], "b5"), ("b1", ["b2"], ["b7"], "b7")],
)
def test_newest_known_build(
    watermark: str, handled: list[str], tracked: list[str], newest: str
) -> None:
    """A poll starts where the last one ended, whatever happened to the builds since."""
    stored = Cursor(watermark, frozenset(handled), frozenset(tracked))
    assert stored.newest_id == newest
