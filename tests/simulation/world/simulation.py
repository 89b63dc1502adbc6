"""Runs one schedule: the service, the tasks, and everybody else who acts."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from tests.simulation.world.client import AFTER_DEATH, LATENCY
from tests.simulation.world.hub import CLOCK, RANDOM, START, VARIABLES, Hub, simulated_time
from tests.simulation.world.invariants import Judge, Violation, violate_if
from tests.simulation.world.service import Service
from tests.simulation.world.task import DagRun, Task

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.api.endpoints import Call
    from tests.simulation.schedule import Action, Schedule
    from tests.simulation.world.builds import SimBuild
    from tests.simulation.world.history import Request

T = TypeVar("T")

LONGEST = 30 * 86_400.0
MOST_STEPS = 20_000


class Simulation:
    """One run of a schedule; ``log`` is what happened."""

    def __init__(self, schedule: Schedule) -> None:
        RANDOM.seed(schedule.seed)
        CLOCK.hub = self.hub = Hub()
        self.schedule = schedule
        VARIABLES.stored = {} if schedule.has_variables else None
        self.service = Service(schedule.service)
        self.judge = Judge(self)
        self.log: list[tuple[Any, ...]] = []
        self._down_until = START
        self._parsed: dict[Any, tuple[Any, Any]] = {}
        runs = {spec.run: DagRun(spec.run, START) for spec in schedule.tasks}
        self.tasks = [
            Task(self, number, spec, runs[spec.run]) for number, spec in enumerate(schedule.tasks)
        ]
        self._fill_history(schedule.service.history)
        for action in schedule.actions:
            self._plan(action)

    def run(self) -> None:
        """Run until nothing is left to do.

        :raises Violation: an invariant does not hold.
        """
        try:
            is_over = self.hub.run(START + LONGEST, MOST_STEPS)
            self.judge.at_end(is_over=is_over)
        finally:
            self.hub.end()

    def note(self, *parts: object) -> None:
        """Add a line to the log."""
        self.log.append((self.hub.now, *parts))

    # What the client asks.

    def parsed(self, call: Call[T], answer: Any) -> T:
        """Return what the client makes of an answer; equal answers are parsed only once."""
        items = answer.get("items")
        rows = (id(answer),) if items is None else (*map(id, items), answer["nextCursor"])
        key = call.title, rows
        if key not in self._parsed:
            self._parsed[key] = answer, call.parse(answer)
        found: T = self._parsed[key][1]
        return found

    def list_age(self) -> float:
        """Return by how many seconds the next list is stale."""
        spec = self.schedule.service
        return RANDOM.choice((0.0, spec.staleness)) if spec.jumps_back else spec.staleness

    def is_down(self) -> bool:
        """Return whether every read fails now."""
        return self.hub.now < self._down_until

    def send(self, request: Request) -> None:
        """Plan the creation of the build of a request."""
        delay, name = request.fate.delay, request.fate.name
        if name in ("answered", "unreadable"):
            delay = LATENCY if delay is None else delay
        if delay is not None and name not in ("429", "400", "unsent"):
            self._create_at(request.sent + max(delay, 0.001), request)

    def hasten(self, request: Request) -> None:
        """Let a request run soon, if at all, as its worker was killed."""
        limit = request.sent + AFTER_DEATH * RANDOM.random()
        if request.runs_at is not None and request.build is None and request.runs_at > limit:
            self._create_at(max(limit, self.hub.now), request)

    def _create_at(self, instant: float, request: Request) -> None:
        request.runs_at = instant

        def create() -> None:
            if request.runs_at == instant and request.build is None:
                setting, mark = request.target.name, self.schedule.service.mark
                build, superseded = self._create(setting, mark, request.body, request)
                self.judge.on_build(request, build, superseded)

        self.hub.call_at(instant, create)

    def _create(
        self, setting: str, who: str | None, body: dict[str, Any], request: Request | None = None
    ) -> tuple[SimBuild, list[SimBuild]]:
        build, superseded = self.service.create(self.hub.now, setting, who, body, request)
        request_of = None if request is None else request.task.name
        if request is not None:
            request.build = build
        ended = [old.id for old in superseded]
        self.note("service", "new build", build.id, setting, build.line, who, request_of, ended)
        return build, superseded

    # What others do.

    def _fill_history(self, count: int) -> None:
        """Create builds that have ended long ago."""
        for number in range(count):
            setting = ("main", "linux", "stream", "release")[number % 4]
            branch = f"feature-{number}" if number % 2 else None
            before = 86_400.0 - number * 60.0
            self.service.create(START - before, setting, "user:old", {"branch": branch})

    def _plan(self, action: Action) -> None:
        act = partial(self._act, action)
        if not action.after_end:
            self.hub.call_at(START + action.at, act)
            return
        task = self.tasks[action.task]
        later = partial(self._act_later, action.at, act)
        self.hub.call_at(START, partial(task.when_finished, later))

    def _act_later(self, seconds: float, act: Any) -> None:
        self.hub.call_at(self.hub.now + seconds, act)

    def _act(self, action: Action) -> None:
        self.note("action", action.kind, action.value, f"task {action.task}")
        task, value = self.tasks[action.task], action.value
        acts: dict[str, Callable[[], object]] = {
            "build": lambda: self._others_build(**value),
            "clear": task.clear,
            "clear another": partial(self._clear_another, task),
            "mark": lambda: task.mark(value),
            "kill": task.kill,
            "edit task": lambda: task.edit(value),
            "edit setting": lambda: self._edit_setting(*value),
            "outage": lambda: self._begin_outage(value),
            "delete": lambda: self._delete_build(task),
        }
        acts[action.kind]()

    def _clear_another(self, task: Task) -> None:
        """Let a user clear another task of the run."""
        task.run.clear_number += 1
        task.run.clears.append(self.hub.now)

    def _edit_setting(self, name: str, changes: dict[str, Any]) -> None:
        self.service.settings[name] = replace(self.service.settings[name], **changes)
        self.service.is_edited = True
        for task in self.tasks:
            task.asked_in_try.append(task.target())

    def _begin_outage(self, seconds: float) -> None:
        """Let every read fail for a while."""
        self._down_until = self.hub.now + seconds

    def _others_build(
        self, setting: str, who: str, branch: str | None = None, commit: str | None = None
    ) -> None:
        """Let somebody else start a build."""
        if who == "push":
            who = f"push:{self.service.push(branch or self.service.settings[setting].line)}"
        self._create(setting, who, {"branch": branch, "commit": commit})

    def _delete_build(self, task: Task) -> None:
        """Delete the newest build of a task."""
        builds = [request.build for request in task.history.requests if request.build]
        if builds:
            builds[-1].deleted = min(builds[-1].deleted, self.hub.now)


def violation_of(schedule: Schedule) -> tuple[Violation | None, Simulation]:
    """Run a schedule; return what it violates."""
    simulation = Simulation(schedule)
    try:
        simulation.run()
    except Violation as violation:
        return violation, simulation
    return None, simulation


__all__ = ["Simulation", "simulated_time", "violate_if", "violation_of"]
