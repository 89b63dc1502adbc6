"""A simulated BuildPixel and one task that dispatches: stale lists, lost answers, other builds."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.api.model import Build, BuildSetting, Status
from airflow_provider_buildpixel.builds.dispatch import DispatchMachine
from airflow_provider_buildpixel.builds.record import (
    Adopt,
    DispatchRecord,
    builds_of_request,
    decide_about_build,
    decide_from_record,
    possible_builds_of_request,
)
from airflow_provider_buildpixel.builds.request import BuildRequest
from airflow_provider_buildpixel.exceptions import (
    BuildPixelError,
    DispatchUncertain,
    InvalidRequest,
    RateLimited,
    ServerFault,
    UnexpectedAnswer,
    Unreachable,
)

if TYPE_CHECKING:
    from collections.abc import Callable

SETTING = BuildSetting("setting", "Win64", "Shipping", "main")
REQUEST = BuildRequest("project", "setting")
OUR_TOKEN = "api_token:ours"
AUTOMATIC = ("push:c0ffee", "cron")
OTHER_TOKEN = "api_token:theirs"
OTHERS = (*AUTOMATIC, "user:them", OTHER_TOKEN)
"""Others that start builds; users and tokens can be told from our token once it is known."""


@dataclass(frozen=True)
class Fate:
    """What happens to one trigger request.

    :param runs_after: seconds until the server creates the build, None for never.
    :param error: what the client gets instead of the answer.
    """

    runs_after: float | None
    error: BuildPixelError | None = None


FATES = {
    "answered": Fate(0.0),
    "reset before": Fate(None, Unreachable("reset")),
    "reset after": Fate(0.0, Unreachable("reset")),
    "unsent": Fate(None, Unreachable("refused", sent=False)),
    "timed out before": Fate(None, Unreachable("slow", timed_out=True)),
    "timed out after": Fate(45.0, Unreachable("slow", timed_out=True)),
    "500 before": Fate(None, ServerFault("broken", status_code=500)),
    "502 after": Fate(6.0, ServerFault("gateway", status_code=502)),
    "504 after": Fate(45.0, ServerFault("gateway", status_code=504)),
    "unreadable": Fate(40.0, UnexpectedAnswer("half an answer", status_code=202)),
    "429": Fate(None, RateLimited("slower", wait=1.0)),
    "400": Fate(None, InvalidRequest("no", status_code=400)),
}
QUICK_FATES = tuple(name for name, fate in FATES.items() if (fate.runs_after or 0.0) < 30.0)
"""Requests whose build the search of the next try finds; a killed worker stores no error."""


class WorkerKilled(Exception):
    """The process is gone; only the stored record is left."""


@dataclass
class OwnBuild:
    """A build that one of the task's requests started."""

    build_id: str
    requested_at: float
    clear_count: int


class World:
    """One task and the builds of its kind. Every broken promise is an AssertionError."""

    def __init__(self, *, token: bool = True) -> None:
        self.token = OUR_TOKEN if token else None
        self.now = 1_000_000.0
        self.order = count()
        self.schedule: list[tuple[float, int, Callable[[], object]]] = []
        self.builds: dict[str, Build] = {}
        self.own_builds: list[OwnBuild] = []
        self.failed_at: dict[str, float] = {}
        self.list_lag = 0.0
        # The task.
        self.stored: dict[str, Any] | None = None
        self.clear_count = 0
        self.fates: deque[str] = deque()
        self.is_killed_by_request = False
        self.build_id: str | None = None
        self.is_finished = self.has_succeeded = False
        self.needs_new_build = True

    # The service.

    def create_build(self, triggered_by: str) -> str:
        """Create a build; it supersedes the live builds."""
        for build in list(self.builds.values()):
            if not build.status.terminal:
                self.end_build(build.id, "superseded")
        build_id = f"{next(self.order):024d}"
        self.builds[build_id] = Build(
            build_id,
            Status("pending"),
            "project",
            "setting",
            "Win64",
            "Shipping",
            "main",
            triggered_by=triggered_by,
            created_at=datetime.fromtimestamp(self.now, UTC),
        )
        return build_id

    def create_own_build(self, requested_at: float, clear_count: int) -> str:
        """Create the build of a request, which must not repeat a request that has a build."""
        for earlier in self.own_builds:
            has_failed = self.failed_at.get(earlier.build_id, self.now + 1) <= requested_at
            assert has_failed or earlier.clear_count != clear_count, "two requests made a build"
        build_id = self.create_build(OUR_TOKEN)
        self.own_builds.append(OwnBuild(build_id, requested_at, clear_count))
        return build_id

    def end_build(self, build_id: str, status: str) -> None:
        """End a build."""
        self.builds[build_id] = replace(self.builds[build_id], status=Status(status))
        if status == "failed":
            self.failed_at[build_id] = self.now

    def call_later(self, seconds: float, action: Callable[[], object]) -> None:
        """Schedule an action."""
        heapq.heappush(self.schedule, (self.now + seconds, next(self.order), action))

    def advance(self, seconds: float) -> None:
        """Let time pass, and run the actions that are due."""
        until = self.now + seconds
        while self.schedule and self.schedule[0][0] <= until:
            self.now, _, action = heapq.heappop(self.schedule)
            action()
        self.now = until

    def listed_builds(self) -> list[Build]:
        """Return the list of builds, which may be stale."""
        listed_at = self.now - self.list_lag
        return [
            build
            for build in self.builds.values()
            if build.created_at and build.created_at.timestamp() <= listed_at
        ]

    # The task.

    def run_task(self) -> None:
        """Run one try of the task until its build is known, or until the try fails."""
        self.build_id = None
        try:
            self.build_id = self.continue_or_start()
        except DispatchUncertain:
            # A user who clears the task after a look at the dashboard gets a new build.
            self.store(replace(self.record, task_finished=True))
            return
        except (WorkerKilled, BuildPixelError):
            return
        own = {build.build_id for build in self.own_builds}
        assert self.build_id in own, "adopted a build of others"
        self.store(self.record.with_build(self.build_id, self.now))

    def store(self, record: DispatchRecord) -> None:
        """Store the record with the clear count of this try."""
        self.stored = replace(record, clear_count=self.clear_count).to_json()

    def load(self) -> DispatchRecord | None:
        """Return what the task has stored, as a later process reads it."""
        return DispatchRecord.from_json(self.stored)

    @property
    def record(self) -> DispatchRecord:
        """What the task has stored; it must have stored something."""
        record = self.load()
        assert record is not None, "nothing was stored"
        return record

    def continue_or_start(self) -> str:
        """Continue with what earlier tries stored, or start a build; return the build's id."""
        record = self.load()
        step = decide_from_record(record, REQUEST, self.clear_count)
        if isinstance(step, DispatchRecord):
            if step.build_id is None:
                return self.dispatch(step, search_first=True)
            stored = self.builds.get(step.build_id)
            decision = decide_about_build(stored, step, self.clear_count)
            if isinstance(decision, Adopt):
                assert not self.needs_new_build, "continues with a build that is over"
                return decision.build.id
        return self.start_build(record)

    def start_build(self, earlier: DispatchRecord | None) -> str:
        """Take a snapshot, store the request, and send it."""
        known = [build.id for build in self.listed_builds()]
        known += [earlier.build_id or "" if earlier else ""]
        record = DispatchRecord(REQUEST, requested_at=self.now, newest_id=max(known))
        self.store(record)
        return self.dispatch(record, search_first=False)

    def dispatch(self, record: DispatchRecord, *, search_first: bool) -> str:
        """Do what the machine decides until the build is known."""
        machine = DispatchMachine(search_first=search_first)
        requests = searches = 0
        while machine.build_id is None:
            pause = machine.search_pause()
            if pause is not None:
                searches += 1
                assert searches <= 20, "searches without end"
                self.search(machine, record, pause)
            else:
                requests += 1
                assert requests <= 2, "sends without end"
                self.send_request(machine)
        return machine.build_id

    def search(self, machine: DispatchMachine, record: DispatchRecord, pause: float) -> None:
        """Search the lists for the request's build."""
        self.advance(pause)
        facts = self.listed_builds(), REQUEST, SETTING, record.snapshot, self.token
        machine.on_search(builds_of_request(*facts), possible_builds_of_request(*facts))

    def send_request(self, machine: DispatchMachine) -> None:
        """Send one trigger request."""
        fate = FATES[self.fates.popleft() if self.fates else "answered"]
        requested_at, clear_count, build_id = self.now, self.clear_count, ""
        self.needs_new_build = False
        if fate.runs_after == 0.0:
            build_id = self.create_own_build(requested_at, clear_count)
        elif fate.runs_after:
            self.call_later(
                fate.runs_after, lambda: self.create_own_build(requested_at, clear_count)
            )
        if self.is_killed_by_request:
            raise WorkerKilled
        self.advance(0.2)
        if fate.error is not None:
            machine.on_error(fate.error)
        else:
            machine.on_started(build_id)

    def finish(self, status: str) -> None:
        """Let the task's build end, and the task use its result."""
        if self.build_id is None or self.is_finished:
            return
        if not self.builds[self.build_id].status.terminal:
            self.end_build(self.build_id, status)
        ended = self.builds[self.build_id].status
        self.store(replace(self.record, task_finished=True))
        self.is_finished = True
        self.needs_new_build, self.has_succeeded = ended == "failed", ended.succeeded

    def retry(self) -> None:
        """Run the task again, unless it has succeeded."""
        if not self.has_succeeded:
            self.is_finished = False
            self.run_task()

    def retry_and_kill(self) -> None:
        """Run the task again, and kill its worker when it sends a request."""
        self.is_killed_by_request = True
        self.retry()
        self.is_killed_by_request = False

    def clear(self) -> None:
        """Let a user clear the task, which runs again."""
        self.advance(60.0)  # a user is slower than a request that is still running
        self.clear_count += 1
        self.needs_new_build = self.needs_new_build or self.is_finished
        self.is_finished = self.has_succeeded = False
        self.run_task()
