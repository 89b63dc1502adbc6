"""Which builds a watcher tells of: a world of builds, stale lists and crashes, without a server."""

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

ALL = BuildFilter(statuses=("complete", "failed", "superseded"))


def build(number: int, status: str = "complete", **fields: Any) -> Build:
    """Return a build; the number says when it was created."""
    return Build(id=f"b{number:05}", status=Status(status), **fields)


class Watching(RuleBasedStateMachine):
    """Builds begin and end in any order; lists may lag; the watcher may die at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.builds: dict[str, Build] = {}
        self.told: list[str] = []
        self.expected: set[str] = set()
        self.cursor: Cursor | None = None
        self.stored: Any = None
        self.numbers = 0

    @rule(status=st.sampled_from(["pending", "running", "complete", "failed", "odd"]))
    def create(self, status: str) -> None:
        """A build comes, perhaps so short that nobody saw it run."""
        self.numbers += 1
        new = build(self.numbers, status)
        self.builds[new.id] = new
        self._expect(new)

    @precondition(lambda self: self._going())
    @rule(data=st.data(), status=st.sampled_from(["complete", "failed", "superseded", "running"]))
    def move(self, data: st.DataObject, status: str) -> None:
        """A build goes on or ends."""
        found = data.draw(st.sampled_from(self._going()))
        self.builds[found.id] = replace(found, status=Status(status))
        self._expect(self.builds[found.id])

    @rule(data=st.data())
    def look(self, data: st.DataObject) -> None:
        """The watcher looks at a list that leaves some out, in any order."""
        shown = data.draw(st.permutations(sorted(self.builds.values(), key=lambda one: one.id)))
        if self.cursor is None:
            known = Cursor.from_json(self.stored)
            if known is None:
                live = self._going()
                self.cursor = Cursor.begin(shown, live, ALL, depth="")
                self._save()
                return
            self.cursor = known
        left_out = data.draw(st.integers(0, min(2, len(shown))))
        self._take(shown[left_out:], data.draw(st.none() | st.integers(0, 3)))

    def _take(self, shown: list[Build], trouble_after: int | None) -> None:
        """Do what the trigger does; trouble can end it between two builds."""
        assert self.cursor is not None
        unseen = [self.builds[one] for one in self.cursor.unseen(shown)]
        self.cursor = self.cursor.see(shown, ALL)
        for count, build_id in enumerate(self.cursor.ended([*shown, *unseen], ALL)):
            if count == trouble_after:
                break
            self.told.append(build_id)
            self.cursor = self.cursor.settle(build_id)
        self._save()

    def _save(self) -> None:
        assert self.cursor is not None
        self.cursor = self.cursor.saved()
        self.stored = json.loads(json.dumps(self.cursor.to_json()))

    @rule()
    def die(self) -> None:
        """The triggerer dies; what it has told and saved stays."""
        self.cursor = None

    def _going(self) -> list[Build]:
        return [one for one in self.builds.values() if not one.status.terminal]

    def _expect(self, one: Build) -> None:
        if self.stored is not None and one.status.terminal:
            self.expected.add(one.id)

    @invariant()
    def none_twice(self) -> None:
        """No build is told twice, and none that ended before the first look."""
        assert len(self.told) == len(set(self.told))
        assert set(self.told) <= self.expected

    def teardown(self) -> None:
        """When lists are whole again, two looks tell of every build that ended meanwhile."""
        if self.stored is not None:
            self.cursor = self.cursor or Cursor.from_json(self.stored)
            for _ in range(2):
                self._take(list(self.builds.values()), None)
            assert set(self.told) == self.expected


TestWatching = Watching.TestCase
TestWatching.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


def test_an_old_build_that_ends_late_is_told() -> None:
    """A build keeps its old id however late it ends, and is told although newer ones were."""
    late = build(1, "running")
    state = Cursor.begin([late, build(2)], [late], ALL, depth="")
    for number in range(3, 3 + 2 * cursor.MAX_SETTLED):
        state = state.settle(build(number).id)
    assert state.floor > late.id
    assert state.ended([build(1)], ALL) == [late.id]


def test_what_slides_into_a_page_is_no_news() -> None:
    """Builds older than the first page are not told when retention moves them into view."""
    state = Cursor.begin([build(8), build(9)], [build(2, "running")], ALL, depth=build(8).id)
    assert state.ended([build(5), build(8), build(9)], ALL) == []
    assert state.ended([build(2), build(10)], ALL) == [build(2).id, build(10).id]


def test_a_build_that_shows_late_is_told() -> None:
    """A build that a stale list left out is told when it appears between newer ones."""
    state = Cursor.begin([build(1), build(3)], [], ALL, depth="")
    assert state.ended([build(1), build(2), build(3)], ALL) == [build(2).id]


@pytest.mark.parametrize(
    ("interest", "tells"),
    [
        (BuildFilter("p"), True),
        (BuildFilter("other"), False),
        (BuildFilter("p", "s", "main"), True),
        (BuildFilter("p", "s", "dev"), False),
        (BuildFilter(statuses=("failed",)), False),
        (BuildFilter(statuses=("failed", "complete")), True),
    ],
)
def test_interest(interest: BuildFilter, *, tells: bool) -> None:
    """A watcher is told of what it asked for."""
    full = build(1, project_id="p", build_setting_id="s", branch="main")
    assert interest.selects(full) is tells


def test_a_brief_list_rules_nothing_out() -> None:
    """What a list does not say of a build may fit; the whole build decides."""
    assert BuildFilter("p", branch="main").may_match(build(1))
    assert not BuildFilter("p", branch="main").matches(build(1))


def test_an_unknown_status_that_is_asked_for_is_an_end() -> None:
    """A status that the provider has not met counts as an end for the watcher that names it."""
    assert BuildFilter(statuses=("cancelled",)).selects(build(1, "cancelled"))
    assert not ALL.ended(build(1, "cancelled"))


def test_saved_cursor_is_bounded() -> None:
    """A cursor with all it can hold fits into Airflow's state store."""
    number, state = 0, Cursor()
    for number in range(2000):
        state = state.settle(f"{number:024}")
    live = [replace(build(0, "running"), id=f"{number + n:024}") for n in range(1, 3000)]
    stored = json.dumps(state.see(live, ALL).saved().to_json())
    assert len(stored) < 65_535


@given(st.recursive(st.none() | st.integers() | st.text(), lambda one: st.lists(one, max_size=3)))
def test_any_stored_value_is_a_cursor_or_none(value: Any) -> None:
    """What somebody else stored under the key is no cursor, and no error."""
    assert Cursor.from_json(value) is None
    for key in ("floor", "settled", "live", "version"):
        Cursor.from_json({"floor": "", "settled": [], "live": []} | {key: value})


@pytest.mark.parametrize(
    ("known", "limit", "page", "enough"),
    [
        (7, 100, [9, 8], False),
        (7, 100, [8, 7], True),
        (7, 2, [9, 8], True),
        (7, 100, [], True),
    ],
    ids=["goes-on", "what-is-known", "enough-of-them", "empty"],
)
def test_reach(known: int, limit: int, page: list[int], *, enough: bool) -> None:
    """A list is read to what is known, or to the limit; a build that comes twice counts once."""
    reach = NewestBuilds(build(known).id, limit)
    assert reach.take([build(number) for number in page]) is enough
    reach.take([build(number) for number in page])
    assert [one.id for one in reach.builds] == [build(number).id for number in page]


@pytest.mark.parametrize(("limit", "told"), [(2, ["c", "d"]), (9, ["a", "b", "c", "d"]), (0, [])])
def test_catch_up_is_bounded(limit: int, told: list[str]) -> None:
    """After a long absence the newest ends are told, the others settled."""
    skipped, kept = cursor.split_at_limit(["a", "b", "c", "d"], limit)
    assert kept == told
    assert skipped + kept == ["a", "b", "c", "d"]


def test_pauses() -> None:
    """Looks are spread, trouble makes them rarer within bounds, and a 429 is honoured."""
    assert 27 <= cursor.next_pause(30, 0, None, 0.0) < cursor.next_pause(30, 0, None, 1.0) <= 33
    trouble = [cursor.next_pause(30, failures, ServerFault("x"), 0.5) for failures in range(1, 40)]
    assert trouble == sorted(trouble)
    assert trouble[-1] == cursor.MAX_PAUSE
    assert cursor.next_pause(30, 1, RateLimited("x", wait=900), 0.0) >= 900
    assert cursor.next_pause(3600, 9, ServerFault("x"), 0.5) >= 3600


def test_state_key() -> None:
    """Watchers of different builds on one asset have cursors of their own."""
    one, other = cursor.state_key("conn", "p", {"a": 1}), cursor.state_key("conn", "q", {"a": 1})
    assert one != other
    assert one == cursor.state_key("conn", "p", {"a": 1})


@pytest.mark.parametrize(
    ("floor", "settled", "live", "newest"),
    [("b1", [], [], "b1"), ("b1", ["b5", "b3"], ["b4"], "b5"), ("b1", ["b2"], ["b7"], "b7")],
)
def test_newest_that_is_known(floor: str, settled: list[str], live: list[str], newest: str) -> None:
    """A look begins where the last one ended, whatever became of the builds since."""
    known = Cursor(floor, frozenset(settled), frozenset(live))
    assert known.newest == newest
