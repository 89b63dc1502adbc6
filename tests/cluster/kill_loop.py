"""Kills processes with ``kill -9``, one after the other, and restarts those that ended."""

from __future__ import annotations

import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import psutil

from airflow_provider_buildpixel.sandbox.demo.home import LOOPBACK
from tests.cluster.airflow_cluster import API_SERVER, PROCESSOR, SCHEDULER, TRIGGERER, WORKER
from tests.cluster.background import BackgroundLoop

if TYPE_CHECKING:
    import random

    from tests.cluster.airflow_cluster import AirflowCluster, Member
    from tests.cluster.airflow_database import AirflowDatabase

RESTART_DELAY = 1.0
"""Seconds until an ended process is restarted, as by a service manager."""

READY_SECONDS = 15.0
"""Seconds for which a process has been ready before it is killed: else nothing would ever run."""

WEIGHTS = {API_SERVER: 4, SCHEDULER: 2, PROCESSOR: 2, TRIGGERER: 5, WORKER: 7}
"""Relative frequency of kills of each kind: highest for those that run tasks and waits."""

WHOLE = "whole"
TASK = "airflow worker --"
"""Start of the process title of a task in Airflow."""

PART_FRACTION = {WORKER: 0.6, TRIGGERER: 0.3, PROCESSOR: 0.3}
"""Fraction of kills that affect one process of a component with several, and not all of them."""


@dataclass(frozen=True)
class Kill:
    """One kill; ``at`` is in seconds since the epoch.

    :param victim: ``whole`` for a component with all its processes, or the kind of one of them.
    :param job: id of the component's registration in Airflow.
    """

    at: float
    member: str
    kind: str
    victim: str
    job: int | None = None

    @property
    def description(self) -> str:
        """What was killed, without the name of the component."""
        return f"{self.kind}, {self.victim}"


@dataclass
class MemberState:
    """The state of one member.

    :param offset: position in the member's log at its last start.
    """

    member: Member
    started_at: float
    down_since: float | None = None
    ready_at: float | None = None
    offset: int = 0


@dataclass
class KillLoop(BackgroundLoop):
    """Restarts members that have ended, in a thread, and kills members on request."""

    name: ClassVar[str] = "kill loop"
    pause: ClassVar[float] = 0.5

    cluster: AirflowCluster
    database: AirflowDatabase
    rng: random.Random
    kills: list[Kill] = field(default_factory=list)
    restarts: int = 0
    recoveries: dict[str, list[float]] = field(default_factory=dict)
    _interval: float | None = None
    _next_kill_at: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        now = time.time()
        self._states = [MemberState(member, now, ready_at=now) for member in self.cluster.members]
        self._queue: list[str] = []

    def set_interval(self, seconds: float | None) -> None:
        """Kill a process about every so many seconds from now on; None to stop."""
        self._interval, self._next_kill_at = seconds, time.monotonic()

    @property
    def all_ready(self) -> bool:
        """Whether every member is ready."""
        return all(state.ready_at is not None for state in self._states)

    def step(self) -> None:
        """Restart ended members, and kill a process if one is due."""
        for state in self._states:
            self._update(state)
        if self._interval is not None and time.monotonic() >= self._next_kill_at:
            self._queue = self._queue or self._shuffled()
            self._next_kill_at = time.monotonic() + self._interval * self.rng.uniform(0.5, 1.5)
            self._kill_next()

    def _update(self, state: MemberState) -> None:
        """Restart a member some time after it ended, and record when it is ready."""
        now, component = time.time(), state.member.component
        if not component.alive and state.down_since is None:
            state.down_since, state.ready_at = now, None
        if not component.alive and now - (state.down_since or now) >= RESTART_DELAY:
            self.restarts += 1
            state.offset = component.log.stat().st_size
            state.started_at = now
            component.start()
        elif component.alive and state.ready_at is None and self._is_ready(state):
            state.ready_at = now
            if state.down_since is not None:
                seconds = now - state.down_since
                self.recoveries.setdefault(state.member.kind, []).append(seconds)
                state.down_since = None

    def _is_ready(self, state: MemberState) -> bool:
        member = state.member
        if member.port is not None:
            return _responds(member.port)
        if member.kind == WORKER:
            with member.component.log.open("rb") as log:
                log.seek(state.offset)
                return b" ready." in log.read()
        return self.database.newest_job(member.name, state.started_at) is not None

    def _shuffled(self) -> list[str]:
        """Return the next kinds to kill: each kind once before any is repeated."""
        first = list(WEIGHTS)
        rest = [kind for kind, weight in WEIGHTS.items() for _ in range(weight - 1)]
        self.rng.shuffle(first)
        self.rng.shuffle(rest)
        return first + rest

    def _kill_next(self) -> None:
        """Kill a component of the next kind in the queue; while one is down, a running task."""
        now = time.time()
        eligible = [
            state
            for state in self._states
            if state.ready_at and now - state.ready_at > READY_SECONDS
        ]
        if not self.all_ready:
            self._kill_task(eligible)
            return
        kinds = {state.member.kind for state in eligible}
        kind = next((kind for kind in self._queue if kind in kinds), None)
        if kind is None:
            self._kill_task(eligible)
            return
        self._queue.remove(kind)
        state = self.rng.choice([state for state in eligible if state.member.kind == kind])
        self._record(state.member, self._kill(state))

    def _kill_task(self, eligible: list[MemberState]) -> None:
        """Kill a running task or its supervisor, which leaves all components running."""
        workers = [state.member for state in eligible if state.member.kind == WORKER]
        if workers:
            member = self.rng.choice(workers)
            victim = self._kill_part(member)
            if victim is not None:
                self._record(member, victim)

    def _record(self, member: Member, victim: str) -> None:
        kill = Kill(
            time.time(), member.name, member.kind, victim, self.database.newest_job(member.name)
        )
        self.kills.append(kill)
        sys.stderr.write(f"{time.strftime('%H:%M:%S')} kill -9: {member.name}, {victim}\n")

    def _kill(self, state: MemberState) -> str:
        """Kill a member, or one of its processes; return what was killed."""
        member = state.member
        if self.rng.random() < PART_FRACTION.get(member.kind, 0.0):
            part = self._kill_part(member)
            if part is not None:
                return part
        member.component.kill()
        state.down_since, state.ready_at = time.time(), None
        return WHOLE

    def _kill_part(self, member: Member) -> str | None:
        """Kill one descendant of a member's main process, if there is one; return its kind."""
        main_pid = member.component.pid
        if main_pid is None:  # it has just ended
            return None
        try:
            chosen = self.rng.choice(_descendants(main_pid) or [None])
            if chosen is None:
                return None
            kind = _kind_of(chosen)
            chosen.kill()
        except psutil.NoSuchProcess:  # it has just ended
            return None
        return kind


def _descendants(pid: int) -> list[psutil.Process | None]:
    """Return the descendants of a process; of a busy worker only tasks and their supervisors."""
    family = psutil.Process(pid).children(recursive=True)
    running = [process for process in family if process.status() != psutil.STATUS_ZOMBIE]
    tasks = [process for process in running if _title(process).startswith(TASK)]
    return [*tasks, *(task.parent() for task in tasks)] or [*running]


def _kind_of(process: psutil.Process) -> str:
    if _title(process).startswith(TASK):
        return "a task"
    tasks = [child for child in process.children() if _title(child).startswith(TASK)]
    return "the supervisor of a task" if tasks else "one of its processes"


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it has ended
        return ""


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _responds(port: int) -> bool:
    try:
        with _opener.open(f"http://{LOOPBACK}:{port}/api/v2/version", timeout=2.0) as response:
            return bool(response.status == 200)
    except OSError:  # also HTTPError and URLError
        return False
