"""The environment of the kill tests, and one running case of them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from http.client import HTTPException
from math import inf
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_buildpixel.sandbox.demo.api import SERVER_ERROR, AirflowRefused
from tests.e2e.execution_api_proxy import CallPattern
from tests.e2e.kill_cases import DEFERRED, EventSent, Held, Waiting

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox import Sandbox
    from airflow_provider_buildpixel.sandbox.demo.airflow import Airflow
    from tests.e2e.execution_api_proxy import Breakpoint, ExecutionApiProxy
    from tests.e2e.kill_cases import Case

COMPILER = "Foo.cpp(12): error C2065: 'x': undeclared identifier"
RESUMED = CallPattern("PATCH", "/run$", process_number=2, done=True)
ENDS = {"success", "failed"}
CACHE_SECONDS = 1.0


@dataclass
class _CachedTasks:
    """The tasks as last read."""

    at: float = -inf
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class KillEnvironment:
    """Airflow, the sandbox, and the proxy between workers and API server."""

    airflow: Airflow
    sandbox: Sandbox
    proxy: ExecutionApiProxy
    tokens: list[str]
    crashes: list[str] = field(default_factory=list)
    _cache: _CachedTasks = field(default_factory=_CachedTasks)

    def restart_crashed(self) -> None:
        """Restart components that ended by themselves, as a service manager would.

        The scheduler of Airflow 3.3 can end with an AssertionError when the report of a killed
        worker is late.
        """
        for component in self.airflow.components.values():
            if component.failed:
                self.crashes.append(f"{component.name} ended by itself:\n{component.tail(3)}")
                component.start()

    def start(self, dag_id: str, number: int) -> str:
        """Start a run of a Dag, with its own branch and connection; return its id."""
        branch = f"topic-{number}"
        conf = {"branch": branch, "conn": f"cell_{number}"}
        # Airflow writes its audit log in its event loop. On SQLite this write waits for the one of
        # a worker's call, which waits for the loop: only without calls there is no deadlock.
        with self.proxy.blocked():
            self.airflow.api.start_run(dag_id, conf, branch)
        return branch

    def builds(self, branch: str) -> list[dict[str, Any]]:
        """Return the builds of a branch."""
        return [build for build in self.sandbox.builds() if build["branch"] == branch]

    def end(self, build_id: str, outcome: str) -> None:
        """End a build."""
        if outcome == "failed":
            self.sandbox.log(build_id, COMPILER, "error")
        self.sandbox.set_status(build_id, outcome)

    def tasks(self) -> dict[str, dict[str, Any]]:
        """Return the task of each run; nothing while Airflow's API is down or fails."""
        try:
            found = self.airflow.api.call("GET", "/dags/~/dagRuns/~/taskInstances?limit=200")
        except (OSError, HTTPException):
            return {}
        except AirflowRefused as refused:
            if refused.status < SERVER_ERROR:
                raise
            return {}
        return {task["dag_run_id"]: task for task in found["task_instances"]}

    def cached_tasks(self) -> dict[str, dict[str, Any]]:
        """Return the same, at most a second old: the full list costs the API server much CPU."""
        if time.monotonic() > self._cache.at + CACHE_SECONDS:
            self._cache.tasks = self.tasks()
            self._cache.at = time.monotonic()
        return self._cache.tasks


class Pause(Protocol):
    """Something that pauses a task."""

    @property
    def reached(self) -> bool:
        """Whether the task is paused."""

    def release(self, *, cut: bool) -> None:
        """Let it continue."""


@dataclass
class RunningCase:
    """One case in progress."""

    env: KillEnvironment
    case: Case
    number: int
    pause: Pause | None = None
    resume_breakpoint: Breakpoint | None = None
    build_ended: bool = False
    waiting_since: float | None = None
    killed_at: float | None = None
    ended_at: float | None = None
    started: bool = False
    at_step: bool = False
    task: dict[str, Any] = field(default_factory=dict)

    def start(self) -> None:
        """Prepare the pause, and start the run."""
        self.started = True
        at, run_id = self.case.step.at, f"topic-{self.number}"
        if isinstance(at, CallPattern):
            self.pause = self.env.proxy.add_breakpoint(run_id, at)
        elif isinstance(at, Held) and not self.case.step.late:
            self.pause = self._hold(at)
        elif isinstance(at, Held) and self.case.mode == DEFERRED:
            self.resume_breakpoint = self.env.proxy.add_breakpoint(run_id, RESUMED)
        self.env.start(f"killed_{self.case.mode}", self.number)

    def _hold(self, at: Held) -> Pause:
        token = self.env.tokens[self.number]
        return _HeldRequest(self.env.sandbox.fault("held", at.route, 1, token=token, done=at.done))

    @property
    def builds(self) -> list[dict[str, Any]]:
        """The builds that its task started."""
        return self.env.builds(f"topic-{self.number}")

    @property
    def build_id(self) -> str:
        """The id of its first build."""
        return str(self.builds[0]["id"])

    def is_waiting(self) -> bool:
        """Return whether the task's wait has joined its build's room."""
        joined = bool(self.builds) and self.env.sandbox.joined(self.build_id) > 0
        if joined and self.waiting_since is None:
            self.waiting_since = time.monotonic()
        return joined

    def end_build(self) -> None:
        """End the build, once."""
        if not self.build_ended:
            self.build_ended = True
            self.env.end(self.build_id, self.case.outcome)

    def advance(self) -> bool:
        """Move it towards its step; return whether it has reached it."""
        at = self.case.step.at
        if isinstance(at, Waiting | EventSent):
            return self.is_waiting()
        if self.case.step.late and not self.build_ended and self.is_waiting():
            if isinstance(at, Held) and self.resume_breakpoint is None:
                self.pause = self._hold(at)
            self.end_build()
        if (
            self.resume_breakpoint is not None
            and self.resume_breakpoint.reached
            and self.pause is None
        ):
            self.pause = self._hold(Held("GET /builds/:id"))
            self.resume_breakpoint.release()
        return self.pause is not None and self.pause.reached and self._build_is_expected()

    def _build_is_expected(self) -> bool:
        at = self.case.step.at
        return bool(self.builds) or not (isinstance(at, Held) and at.done)

    def release(self, *, cut: bool = False) -> None:
        """Record the time of the kill, and let the task continue."""
        self.killed_at = time.monotonic()
        if self.pause is not None:
            self.pause.release(cut=cut)
        if isinstance(self.case.step.at, Waiting):
            self.end_build()

    def has_ended(self, tasks: dict[str, dict[str, Any]]) -> bool:
        """End the build once a wait follows it; return whether the task has ended."""
        if self.killed_at is not None and not self.build_ended and self.is_waiting():
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
class _HeldRequest:
    """A request held by the sandbox."""

    fault: Any

    @property
    def reached(self) -> bool:
        return bool(self.fault.hits)

    def release(self, *, cut: bool) -> None:  # noqa: ARG002  # a killed BuildPixel cuts by itself
        self.fault.remove()
