"""Which builds a watcher reports: simulated builds, stale lists and crashes, without a server."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from airflow_provider_buildpixel.api.model import Build, Status
from airflow_provider_buildpixel.asset_events.cursor import Cursor, Position, Watched
from airflow_provider_buildpixel.builds.request import BuildFilter
from airflow_provider_buildpixel.builds.search import by_creation

ALL_ENDS = Watched(BuildFilter(), statuses=("complete", "failed", "superseded"))
START = datetime(2026, 5, 10, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """Return a time, in seconds since the start of the test."""
    return START + timedelta(seconds=seconds)


class WatcherMachine(RuleBasedStateMachine):
    """Builds start and end in any order, lists may lag, and the watcher may stop at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.builds: dict[str, Build] = {}
        self.reported: list[str] = []
        self.expected: set[str] = set()
        self.cursor: Cursor | None = None
        self.stored: Any = None
        self.now = 0.0
        self.has_times = True

    @initialize(has_times=st.booleans())
    def choose_rows(self, *, has_times: bool) -> None:
        """List rows have times, or only id and status."""
        self.has_times = has_times

    @rule(
        status=st.sampled_from(["pending", "running", "complete", "failed", "odd"]),
        tail=st.integers(0, 99),
        pause=st.sampled_from([0.0, 0.1, 0.7, 30.0]),
    )
    def create(self, status: str, tail: int, pause: float) -> None:
        """A build starts; it may have ended before the next poll.

        Ids of one second do not sort by creation, if rows have times.
        """
        self.now += pause
        place = f"{int(self.now):05}-{tail:02}" if self.has_times else "00000-00"
        new = Build(f"{place}-{len(self.builds):05}", Status(status), created_at=at(self.now))
        self.builds[new.id] = self._ended(new)

    @precondition(lambda self: self._live())
    @rule(
        data=st.data(),
        status=st.sampled_from(["complete", "failed", "superseded", "running"]),
        is_late=st.booleans(),
    )
    def change_status(self, data: st.DataObject, status: str, *, is_late: bool) -> None:
        """A build changes its status or ends; a watcher may have seen it live after its end."""
        self.now += 0.1
        found = data.draw(st.sampled_from(self._live()))
        is_tracked = self.stored is not None and found.id in self.stored["tracked"]
        delay = 40.0 if is_late and is_tracked else 0.0
        self.builds[found.id] = self._ended(replace(found, status=Status(status)), delay)

    def _ended(self, one: Build, delay: float = 0.0) -> Build:
        if not one.status.terminal:
            return one
        if self.stored is not None:
            self.expected.add(one.id)
        return replace(one, finished_at=at(self.now - delay))

    @rule(data=st.data(), knows_clock=st.booleans())
    def poll(self, data: st.DataObject, *, knows_clock: bool) -> None:
        """The watcher polls a list that lacks some builds, in any order."""
        self.now += 0.1
        rows = by_creation(self._rows())
        if self.cursor is None:
            known = Cursor.from_json(self.stored)
            if known is None:
                started_at = at(self.now).timestamp() if knows_clock else None
                lag = data.draw(st.integers(0, 2)) if knows_clock else 0
                self.cursor = Cursor.start(rows[: len(rows) - lag], ALL_ENDS, started_at)
                self._save()
                return
            self.cursor = known
        listed = data.draw(st.permutations(rows))
        left_out = data.draw(st.integers(0, min(2, len(listed))))
        self._report(listed[left_out:], data.draw(st.none() | st.integers(0, 3)))

    def _rows(self) -> list[Build]:
        if self.has_times:
            return list(self.builds.values())
        return [Build(one.id, one.status) for one in self.builds.values()]

    def _report(self, listed: list[Build], stop_after: int | None) -> None:
        """Do what the trigger does; an error may stop it between two builds."""
        assert self.cursor is not None
        missing = [self.builds[build_id] for build_id in self.cursor.missing_from(listed)]
        self.cursor = self.cursor.with_tracked(listed, ALL_ENDS)
        rows = self.cursor.unhandled_ends([*listed, *missing], ALL_ENDS)
        for count, row in enumerate(rows):
            if count == stop_after:
                break
            found = self.builds[row.id]
            if not self.cursor.ended_before_start(found):
                self.reported.append(found.id)
            self.cursor = self.cursor.with_handled(Position.of(found))
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
                self._report(self._rows(), None)
            assert set(self.reported) == self.expected


TestWatcher = WatcherMachine.TestCase
TestWatcher.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
