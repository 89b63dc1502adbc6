"""One task instance as Airflow treats it: tries, retries, kills, Clear, marks."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowSkipException

from airflow_provider_buildpixel.exceptions import BuildPixelError
from tests.simulation.schedule import GITHUB, Fate
from tests.simulation.world.client import AFTER_DEATH
from tests.simulation.world.history import Clear, History, Loss, Request, Target, Traffic
from tests.simulation.world.hub import CLOCK, RANDOM, START, Killed
from tests.simulation.world.invariants import FINISHED, Violation
from tests.simulation.world.service import normal_line
from tests.simulation.world.worker import Store, TriggererLost, Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.schedule import TaskSpec
    from tests.simulation.world.hub import Actor
    from tests.simulation.world.simulation import Simulation

ANSWERED = Fate()
LONG_AGO = {False: 150.0, True: 2000.0}
"""Seconds after which a task must not trust what it read of its setting, without and with the wait
for a lock; retries take 120."""

CLOCK_TOLERANCE, UNKNOWN_CLOCK = 2.0, 600.0
"""Seconds by which the instants of builds and requests can differ, with and without a ``Date``."""

SOON = 0.1
"""Seconds after the end of a request in which its worker has not stored yet how it ended."""

MAX_TRIES_LOST = 0.2
"""How often the Clear of a running task leaves ``max_tries`` as it is, which Airflow 3.3 may do."""


@dataclass
class DagRun:
    """A Dag run, of which each try gets a copy; ``clears`` are those of its tasks."""

    number: int
    started: float
    clear_number: int = 0
    clears: list[float] = field(default_factory=list)


class Task:
    """One task instance.

    :param spec: its parameters; an edit of the Dag replaces them. ``used`` are those of its
        current process.
    """

    def __init__(self, simulation: Simulation, number: int, spec: TaskSpec, run: DagRun) -> None:
        self.name = f"task {number}"
        self.spec = self.used = spec
        self.run = run
        self.state = "scheduled"
        self.try_number = 0
        self.max_tries = spec.retries
        self.traffic = Traffic()
        self.history = History()
        self.simulation = simulation
        self.store = Store(self.pause) if simulation.schedule.has_store else None
        self._asked, self._asked_at = self.target(), CLOCK.hub.now
        self.asked_in_try: list[Target] = []
        self._has_read_project = False
        self._steps = 0
        self._try_started = START
        self._version = 0
        self._is_restarting = self._keeps_max_tries = self._is_worker_lost = False
        self._actor: Actor | None = None
        self._at_end: list[Callable[[], object]] = []
        self._start_in(spec.start)

    @property
    def is_over(self) -> bool:
        """Whether the task has ended, or never began."""
        return self.state in FINISHED

    # What the code of the task does.

    def use_spec(self) -> None:
        """Note that a process begins, with the Dag as it is now."""
        self.used = self.spec
        self.asked_in_try.append(self.target())

    def pause(self, seconds: float) -> None:
        """Let time pass; a worker may be killed meanwhile."""
        if self.state == "running":
            self._steps += 1
            if self._steps in self.spec.kills:
                CLOCK.hub.sleep(seconds * RANDOM.random())
                self._lose_worker(self.spec.detection)
        CLOCK.hub.sleep(seconds)

    def note_setting(self, *, is_project: bool) -> None:
        """Note that the task has just read its project, or the settings of it.

        The setting that it asks for is the one that it reads just after the project.
        """
        if not is_project and self._has_read_project:
            self._asked, self._asked_at = self.target(), CLOCK.hub.now
        self._has_read_project = is_project

    def note_build(self, build_id: str, *, is_read: bool = True) -> None:
        """Note that the task has read a build, or got it as an answer."""
        self.traffic.known_builds.setdefault(build_id, set()).add(self.used)
        request = self.simulation.service.by_id[build_id].request
        taken = set[str | None]() if self.store is None else self.store.taken
        is_ours = (
            request is not None
            and request.task is self
            and (not request.is_lost or build_id in taken)
        )
        is_marked = self.simulation.service.spec.mark is not None
        self.traffic.knows_token |= is_read and is_ours and is_marked

    def note_loss(self, target: Target, seen_until: float, lifetime: float) -> None:
        """Note that the answer of a request is lost, or that there may have been one."""
        tolerance = CLOCK_TOLERANCE if self.simulation.service.spec.tells_time else UNKNOWN_CLOCK
        since, until = seen_until - tolerance, CLOCK.hub.now + lifetime + tolerance
        self.history.losses.append(Loss(since, target, until, self.traffic.knows_token))

    def new_request(self) -> Request:
        """Return the trigger request that the task sends now."""
        count, fates = len(self.history.requests), self.spec.fates
        target = self.target()
        has_lock = self.used.on_in_flight != "supersede"
        is_stale = CLOCK.hub.now - self._asked_at > LONG_AGO[has_lock]
        request = Request(
            self,
            self.used,
            target,
            target if is_stale else self._asked,
            fates[count] if count < len(fates) else ANSWERED,
            CLOCK.hub.now,
            self.try_number,
            self.traffic.seen_until,
            self._try_started,
        )
        self.history.requests.append(request)
        self.traffic.end_burst()
        return request

    def target(self) -> Target:
        """Return what the task asks for now."""
        spec = self.used
        setting = self.simulation.service.settings[spec.setting]
        line = normal_line(spec.branch or setting.line)
        revision = spec.commit if setting.project == GITHUB else spec.changelist
        return Target(spec.setting, setting, line, (revision or "").strip())

    # What Airflow and its users do.

    def clear(self) -> None:
        """Let a user clear the task."""
        if not self.try_number:
            return
        now = CLOCK.hub.now
        self.history.clears.append(Clear(now, self.state))
        self.run.clear_number += 1
        self.run.clears.append(now)
        if self.state == "running":
            keeps_max_tries = self._is_worker_lost or RANDOM.random() < MAX_TRIES_LOST
            self._keeps_max_tries = keeps_max_tries
            self._is_restarting = True
            self._lose_worker(5.0)
            return
        self._drop_actor()
        self.max_tries = self.try_number + self.spec.retries
        self._start_in(5.0)

    def mark(self, state: str) -> None:
        """Let a user mark the task."""
        if self.try_number:
            if self.state == "running":
                self.note_loss(self._asked, self.traffic.seen_until, AFTER_DEATH)
            self._drop_actor()
            self._is_restarting = False
            self._finish(state)

    def kill(self) -> None:
        """Kill the worker, or the triggerer."""
        if self.state == "running":
            self._lose_worker(self.spec.detection)
        elif self.state == "deferred" and self._actor is not None:
            self._actor.throw(TriggererLost)

    def edit(self, changes: dict[str, Any]) -> None:
        """Let somebody edit the Dag; a process that runs does not see it."""
        if changes.get("retries", self.spec.retries) != self.spec.retries:
            self.history.edits_of_retries.append(CLOCK.hub.now)
        self.spec = replace(self.spec, **changes)

    def when_finished(self, action: Callable[[], object]) -> None:
        """Call a function when the task has ended."""
        if self.state in FINISHED:
            CLOCK.hub.call_at(CLOCK.hub.now, action)
        else:
            self._at_end.append(action)

    def _start_in(self, seconds: float) -> None:
        self.state = "scheduled"
        self._version += 1
        self._call_in(seconds, self._start)

    def _call_in(self, seconds: float, action: Callable[[], object]) -> None:
        """Call a function later, unless another try has begun or the task was marked."""
        version = self._version

        def call() -> None:
            if version == self._version:
                action()

        CLOCK.hub.call_at(CLOCK.hub.now + seconds, call)

    def _start(self) -> None:
        self.state = "running"
        self.try_number += 1
        self._try_started = CLOCK.hub.now
        self.asked_in_try, self._is_worker_lost = [], False
        if self.store is None or not self.spec.durable:
            self.traffic.knows_token = False  # nothing is stored from try to try
        self.simulation.note(self.name, "try", self.try_number, "of", self.max_tries + 1)
        self._actor = CLOCK.hub.spawn(self._run)
        self._actor.pause = self.pause

    def _drop_actor(self) -> None:
        self._version += 1
        if self._actor is not None:
            self._actor.kill()

    def _lose_worker(self, detection: float) -> None:
        """Kill the worker; Airflow notices it after some seconds."""
        actor = self._actor
        if self._is_worker_lost or actor is None:
            return
        self._is_worker_lost = True
        self.simulation.note(self.name, "worker killed")
        self.note_loss(self._asked, self.traffic.seen_until, AFTER_DEATH)
        if self.history.requests and CLOCK.hub.now - self.history.requests[-1].failed < SOON:
            self.simulation.hasten(self.history.requests[-1])
        self._call_in(detection, lambda: self._end_try("failed"))
        actor.kill()

    def _end_try(self, state: str) -> None:
        self._version += 1
        if self._is_restarting:
            self._is_restarting = False
            if not self._keeps_max_tries:
                self.max_tries = self.try_number + self.spec.retries
        elif state != "failed" or not (self.spec.retries and self.try_number <= self.max_tries):
            self._finish(state)
            return
        self._start_in(self.spec.retry_delay)

    def _finish(self, state: str) -> None:
        self.simulation.note(self.name, "ends:", state)
        self.state = state
        actions, self._at_end = self._at_end, []
        for action in actions:
            CLOCK.hub.call_at(CLOCK.hub.now, action)

    # One try.

    def _run(self) -> None:
        try:
            facts = Worker(self.simulation, self).execute()
        except Killed:
            return
        except AirflowSkipException:
            self._end_try("skipped")
        except (BuildPixelError, AirflowException) as error:
            self.simulation.note(self.name, type(error).__name__, error)
            self.simulation.judge.on_error(self, error)
            self._end_try("failed")
        except Exception as error:  # whatever it is, it is a defect
            raise Violation(f"{self.name} crashed: {error!r}") from error
        else:
            self.simulation.note(self.name, "returns", facts["build_id"])
            self.simulation.judge.on_success(self, facts)
            self.history.successes.append(CLOCK.hub.now)
            self._end_try("success")
