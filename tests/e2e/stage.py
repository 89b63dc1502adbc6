"""Where the kill tests play, and how one case of them is brought to its step and to its end."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from http.client import HTTPException
from math import inf
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_buildpixel.sandbox.demo.api import SERVER_FAULT, AirflowRefused
from tests.e2e.steps import DEFERRED, Held, Waiting, Yielded
from tests.e2e.turnstile import Call

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox import Sandbox
    from airflow_provider_buildpixel.sandbox.demo.airflow import Airflow
    from tests.e2e.steps import Case
    from tests.e2e.turnstile import Gate, Turnstile

COMPILER = "Foo.cpp(12): error C2065: 'x': undeclared identifier"
RESUMED = Call("PATCH", "/run$", leg=2, done=True)
ENDS = {"success", "failed"}
LOOK_EVERY = 1.0


@dataclass
class _Look:
    """The tasks as they were a moment ago."""

    at: float = -inf
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """Where the cases play."""

    airflow: Airflow
    sandbox: Sandbox
    turnstile: Turnstile
    tokens: list[str]
    crashes: list[str] = field(default_factory=list)
    _looked: _Look = field(default_factory=_Look)

    def revive(self) -> None:
        """Start what ended by itself once more, as whatever runs Airflow as a service does.

        The scheduler of Airflow 3.3 can end in an AssertionError when the report of a killed
        worker comes late.
        """
        for component in self.airflow.components.values():
            if component.failed:
                self.crashes.append(f"{component.name} ended by itself:\n{component.tail(3)}")
                component.start()

    def start(self, dag_id: str, number: int) -> str:
        """Start a run of a Dag, with a branch and a connection of its own; give its id."""
        branch = f"topic-{number}"
        conf = {"branch": branch, "conn": f"cell_{number}"}
        # Airflow writes its audit log from its event loop. On SQLite that waits for a write of a
        # worker's call, which waits for the loop.
        with self.turnstile.closed():
            self.airflow.api.start_run(dag_id, conf, branch)
        return branch

    def builds(self, branch: str) -> list[dict[str, Any]]:
        """Give the builds of a branch."""
        return [build for build in self.sandbox.builds() if build["branch"] == branch]

    def end(self, build_id: str, truth: str) -> None:
        """Let a build end."""
        if truth == "failed":
            self.sandbox.log(build_id, COMPILER, "error")
        self.sandbox.set_status(build_id, truth)

    def tasks(self) -> dict[str, dict[str, Any]]:
        """Give the task of each run; nothing while Airflow's API is away, or fails."""
        try:
            found = self.airflow.api.call("GET", "/dags/~/dagRuns/~/taskInstances?limit=200")
        except (OSError, HTTPException):
            return {}
        except AirflowRefused as refused:
            if refused.status < SERVER_FAULT:
                raise
            return {}
        return {task["dag_run_id"]: task for task in found["task_instances"]}

    def glance(self) -> dict[str, dict[str, Any]]:
        """Give the same, as old as a second: to tell of them all keeps a core busy for a while."""
        if time.monotonic() > self._looked.at + LOOK_EVERY:
            self._looked.tasks = self.tasks()
            self._looked.at = time.monotonic()
        return self._looked.tasks


class Stop(Protocol):
    """Something that holds a task up."""

    @property
    def reached(self) -> bool:
        """Whether the task is there."""

    def open(self, *, cut: bool) -> None:
        """Let it go on."""


@dataclass
class Play:
    """One case on its way."""

    stage: Stage
    case: Case
    number: int
    stop: Stop | None = None
    resuming: Gate | None = None
    build_ended: bool = False
    waiting_since: float | None = None
    killed_at: float | None = None
    ended_at: float | None = None
    started: bool = False
    there: bool = False
    task: dict[str, Any] = field(default_factory=dict)

    def start(self) -> None:
        """Set the stop up, and start the run."""
        self.started = True
        at, run_id = self.case.step.at, f"topic-{self.number}"
        if isinstance(at, Call):
            self.stop = self.stage.turnstile.gate(run_id, at)
        elif isinstance(at, Held) and not self.case.step.late:
            self.stop = self._hold(at)
        elif isinstance(at, Held) and self.case.mode == DEFERRED:
            self.resuming = self.stage.turnstile.gate(run_id, RESUMED)
        self.stage.start(f"killed_{self.case.mode}", self.number)

    def _hold(self, at: Held) -> Stop:
        token = self.stage.tokens[self.number]
        return _Hold(self.stage.sandbox.fault("held", at.route, 1, token=token, done=at.done))

    @property
    def builds(self) -> list[dict[str, Any]]:
        """The builds that were started for it."""
        return self.stage.builds(f"topic-{self.number}")

    @property
    def build_id(self) -> str:
        """The build; there is one by now."""
        return str(self.builds[0]["id"])

    def waits(self) -> bool:
        """Tell whether the task's wait has joined its build's room."""
        there = bool(self.builds) and self.stage.sandbox.joined(self.build_id) > 0
        if there and self.waiting_since is None:
            self.waiting_since = time.monotonic()
        return there

    def end_build(self) -> None:
        """Let the build end, once."""
        if not self.build_ended:
            self.build_ended = True
            self.stage.end(self.build_id, self.case.truth)

    def arrived(self) -> bool:
        """Push it towards its step, and tell whether it is there."""
        at = self.case.step.at
        if isinstance(at, Waiting | Yielded):
            return self.waits()
        if self.case.step.late and not self.build_ended and self.waits():
            if isinstance(at, Held) and self.resuming is None:
                self.stop = self._hold(at)
            self.end_build()
        if self.resuming is not None and self.resuming.reached and self.stop is None:
            self.stop = self._hold(Held("GET /builds/:id"))
            self.resuming.open()
        return self.stop is not None and self.stop.reached and self._carried_out()

    def _carried_out(self) -> bool:
        at = self.case.step.at
        return bool(self.builds) or not (isinstance(at, Held) and at.done)

    def release(self, *, cut: bool = False) -> None:
        """Note the kill, and let the task go on."""
        self.killed_at = time.monotonic()
        if self.stop is not None:
            self.stop.open(cut=cut)
        if isinstance(self.case.step.at, Waiting):
            self.end_build()

    def over(self, tasks: dict[str, dict[str, Any]]) -> bool:
        """Let the build end once it is waited for, and tell whether the task has ended."""
        if self.killed_at is not None and not self.build_ended and self.waits():
            self.end_build()
        self.task = tasks.get(f"topic-{self.number}", self.task)
        if self.ended_at is None and self.killed_at and self.task.get("state") in ENDS:
            self.ended_at = time.monotonic()
        return self.ended_at is not None

    @property
    def recovery(self) -> float:
        """Seconds from the kill to the end of the task."""
        assert self.killed_at is not None
        builds = [build["status"] for build in self.builds]
        assert self.ended_at is not None, f"{self.case.name}: {self.task.get('state')}, {builds}"
        return self.ended_at - self.killed_at


@dataclass(frozen=True)
class _Hold:
    """A request that the sandbox holds."""

    fault: Any

    @property
    def reached(self) -> bool:
        return bool(self.fault.hits)

    def open(self, *, cut: bool) -> None:  # a killed BuildPixel cuts by itself
        self.fault.remove()
