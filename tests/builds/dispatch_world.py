"""BuildPixel as a dispatch meets it: stale lists, lost answers, other people's builds."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.api.model import Build, BuildSetting, Status
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
    from types import ModuleType

SETTING = BuildSetting("setting", "Win64", "Shipping", "main")
OURS = "api_token:ours"
AUTOMATIC = ("push:c0ffee", "cron")
OTHER_TOKEN = "api_token:theirs"  # a name
STRANGERS = (*AUTOMATIC, "user:them", OTHER_TOKEN)
"""Other makers of builds; people and tokens can be told from ours once ours is known."""


@dataclass(frozen=True)
class Fate:
    """What becomes of one trigger request.

    :param runs_after: seconds until the server makes the build, None for never.
    :param error: what the client sees instead of the answer.
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
QUICK = tuple(name for name, fate in FATES.items() if (fate.runs_after or 0.0) < 30.0)
"""Fates that the next try's look outlasts; a worker that died cannot say that one is open."""


class WorkerDied(Exception):
    """The process is gone; only what was stored is left."""


@dataclass
class Made:
    """A build that one of our requests made."""

    build_id: str
    requested_at: float
    clear_count: int


class World:
    """One task and the builds of its kind. Every broken promise is an AssertionError."""

    def __init__(self, dispatch: ModuleType, record: ModuleType, *, token: bool = True) -> None:
        self.machine: Any = dispatch
        self.memory: Any = record
        self.read_requested = self.memory.BuildRequest("project", "setting")
        self.token = OURS if token else None
        self.now = 1_000_000.0
        self.order = count()
        self.plans: list[tuple[float, int, Callable[[], object]]] = []
        self.builds: dict[str, Build] = {}
        self.made: list[Made] = []
        self.failures: dict[str, float] = {}
        self.lag = 0.0
        # The task.
        self.stored: Any = None
        self.clear_count = 0
        self.fates: deque[str] = deque()
        self.dies_after: int | None = None
        self.holds: str | None = None
        self.finished = self.succeeded = False
        self.wants_new = True

    # The service.

    def make(self, triggered_by: str) -> str:
        """Make a build; live ones of the kind are superseded."""
        for build in list(self.builds.values()):
            if not build.status.terminal:
                self.end(build.id, "superseded")
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

    def make_ours(self, requested_at: float, clear_count: int) -> str:
        """Make the build of a request, which must not repeat one that already made its own."""
        for earlier in self.made:
            over = self.failures.get(earlier.build_id, self.now + 1) <= requested_at
            assert over or earlier.clear_count != clear_count, "two requests made a build"
        build_id = self.make(OURS)
        self.made.append(Made(build_id, requested_at, clear_count))
        return build_id

    def end(self, build_id: str, status: str) -> None:
        """End a build."""
        build = self.builds[build_id]
        self.builds[build_id] = Build(**{**build.__dict__, "status": Status(status)})
        if status == "failed":
            self.failures[build_id] = self.now

    def plan(self, seconds: float, action: Callable[[], object]) -> None:
        """Let something happen later."""
        heapq.heappush(self.plans, (self.now + seconds, next(self.order), action))

    def advance(self, seconds: float) -> None:
        """Let time pass, and what was planned happen."""
        until = self.now + seconds
        while self.plans and self.plans[0][0] <= until:
            self.now, _, action = heapq.heappop(self.plans)
            action()
        self.now = until

    def listed(self) -> list[Build]:
        """Give the list of builds as it was a while ago."""
        seen = self.now - self.lag
        return [
            build
            for build in self.builds.values()
            if build.created_at and build.created_at.timestamp() <= seen
        ]

    # The task.

    def attempt(self) -> None:
        """Run one try of the task as far as its build is known, or to its failure."""
        self.holds = None
        try:
            self.holds = self.goes_on()
        except DispatchUncertain:
            # What a user clears after having looked at the dashboard starts afresh.
            self.keep(replace(self.record, concluded=True))
            return
        except (WorkerDied, BuildPixelError):
            return
        assert self.holds in {made.build_id for made in self.made}, "adopted a stranger's build"
        self.keep(self.record.started(self.holds, self.now))

    def keep(self, record: Any) -> None:
        """Store the intent, under the generation of this try."""
        self.stored = replace(record, clear_count=self.clear_count).to_json()

    @property
    def record(self) -> Any:
        """What the task has stored, as a later process reads it."""
        return self.memory.DispatchRecord.from_json(self.stored)

    def goes_on(self) -> str:
        """Go on with what earlier tries left, or start afresh; give the build's id."""
        record = self.record
        step = self.memory.decide_from_record(record, self.read_requested, self.clear_count)
        kind = type(step).__name__
        if kind == "Search":
            return self.dispatches(record, searching=True)
        if kind == "Recheck":
            stored = self.builds.get(step.build_id)
            found = self.memory.decide_about_build(stored, record, self.clear_count)
            if type(found).__name__ == "Adopt":
                assert not self.wants_new, "goes on with a build that is over and done with"
                return str(found.build.id)
        return self.starts_afresh(record)

    def starts_afresh(self, earlier: Any) -> str:
        """Take a snapshot, store what is about to be asked, and ask."""
        known = [build.id for build in self.listed()] + [earlier.build_id or "" if earlier else ""]
        record = self.memory.DispatchRecord(
            self.read_requested, requested_at=self.now, newest=max(known)
        )
        self.keep(record)
        return self.dispatches(record, searching=False)

    def dispatches(self, record: Any, *, searching: bool) -> str:
        """Drive the machine."""
        machine = self.machine.DispatchMachine(searching=searching)
        requests = 0
        while True:
            wish = machine.next_action()
            kind = type(wish).__name__
            if kind == "Started":
                return str(wish.build_id)
            if kind == "Request":
                requests += 1
                assert requests <= 2, "asks again and again"
                self.request(machine)
            else:
                self.advance(wish.pause)
                builds = self.listed()
                before = record.before
                machine.on_search(
                    self.memory.builds_of_request(
                        builds, self.read_requested, SETTING, before, self.token
                    ),
                    self.memory.possible_builds_of_request(
                        builds, self.read_requested, SETTING, before, self.token
                    ),
                )

    def request(self, machine: Any) -> None:
        """Send one trigger request."""
        fate = FATES[self.fates.popleft() if self.fates else "answered"]
        requested_at, clear_count, build_id = self.now, self.clear_count, None
        self.wants_new = False
        if fate.runs_after == 0.0:
            build_id = self.make_ours(requested_at, clear_count)
        elif fate.runs_after:
            self.plan(fate.runs_after, lambda: self.make_ours(requested_at, clear_count))
        if self.dies_after is not None:
            self.dies_after = None
            raise WorkerDied
        self.advance(0.2)
        if fate.error is not None:
            machine.on_error(fate.error)
        else:
            machine.on_started(build_id)

    def concludes(self, status: str) -> None:
        """Let the build that the task holds end, and the task take the result."""
        if self.holds is None or self.finished:
            return
        if not self.builds[self.holds].status.terminal:
            self.end(self.holds, status)
        status = self.builds[self.holds].status
        self.keep(replace(self.record, concluded=True))
        self.finished = True
        self.wants_new, self.succeeded = status == "failed", status.succeeded

    def retries(self) -> None:
        """Run the task again, unless it has succeeded."""
        if self.succeeded:
            return
        self.finished = False
        self.attempt()

    def clears(self) -> None:
        """Let a user clear the task, which runs again."""
        self.advance(60.0)  # a user is slower than a request that is still under way
        over = self.finished
        self.clear_count += 1
        self.finished = self.succeeded = False
        self.wants_new = self.wants_new or over
        self.attempt()
