"""Kills one process after the other as ``kill -9`` does, and starts again what ended."""

from __future__ import annotations

import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import psutil

from airflow_provider_buildpixel.sandbox.demo.home import LOOPBACK
from tests.cluster.fleet import API_SERVER, PROCESSOR, SCHEDULER, TRIGGERER, WORKER

if TYPE_CHECKING:
    import random
    from types import TracebackType

    from tests.cluster.books import Books
    from tests.cluster.fleet import Fleet, Member

RESTART = 1.0
"""Seconds until a process that ended is started again, as a service manager would."""

SETTLED = 15.0
"""Seconds for which a process has been ready before it is killed: else nothing would ever run."""

PAUSE = 0.5

WEIGHTS = {API_SERVER: 4, SCHEDULER: 2, PROCESSOR: 2, TRIGGERER: 5, WORKER: 7}
"""How often each kind is hit, relatively: those most that hold tasks and waits."""

WHOLE = "whole"
TASK = "airflow worker --"
"""How Airflow titles the process of a task."""

PARTS = {WORKER: 0.6, TRIGGERER: 0.3, PROCESSOR: 0.3}
"""How often one process of a component is killed, and not all of them, where there are several."""


@dataclass(frozen=True)
class Kill:
    """What was killed when, in seconds since the epoch.

    :param victim: ``whole`` for a component with all its processes, or what one of them was.
    :param job: under which the victim's component had registered with Airflow.
    """

    at: float
    member: str
    kind: str
    victim: str
    job: int | None = None

    @property
    def sort(self) -> str:
        """Name what was killed without whose it was."""
        return f"{self.kind}, {self.victim}"


@dataclass
class Life:
    """How one member stands."""

    member: Member
    started_at: float
    down_since: float | None = None
    ready_at: float | None = None
    offset: int = 0


@dataclass
class Keeper:
    """Keeps all members alive in a thread of its own, and kills some on demand."""

    fleet: Fleet
    books: Books
    chance: random.Random
    kills: list[Kill] = field(default_factory=list)
    restarts: int = 0
    recoveries: dict[str, list[float]] = field(default_factory=dict)
    _every: float | None = None
    _next: float = 0.0

    def __post_init__(self) -> None:
        now = time.time()
        self._lives = [Life(member, now, ready_at=now) for member in self.fleet.members]
        self._deck: list[str] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="keeper")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether its thread goes on."""
        return self._thread.is_alive()

    def rage(self, every: float | None) -> None:
        """Kill one process about every so many seconds from now on; None for no more."""
        self._every, self._next = every, time.monotonic()

    @property
    def all_ready(self) -> bool:
        """Whether every member is up again."""
        return all(life.ready_at is not None for life in self._lives)

    def _keep(self) -> None:
        while not self._over.wait(PAUSE):
            for life in self._lives:
                self._tend(life)
            if self._every is not None and time.monotonic() >= self._next:
                self._deck = self._deck or self._shuffled()
                self._next = time.monotonic() + self._every * self.chance.uniform(0.5, 1.5)
                self._strike()

    def _tend(self, life: Life) -> None:
        """Start a member again some time after it ended, and note when it is ready."""
        now, component = time.time(), life.member.component
        if not component.alive and life.down_since is None:
            life.down_since, life.ready_at = now, None
        if not component.alive and now - (life.down_since or now) >= RESTART:
            self.restarts += 1
            life.offset = component.log.stat().st_size
            life.started_at = now
            component.start()
        elif component.alive and life.ready_at is None and self._ready(life):
            life.ready_at = now
            if life.down_since is not None:
                seconds = now - life.down_since
                self.recoveries.setdefault(life.member.kind, []).append(seconds)
                life.down_since = None

    def _ready(self, life: Life) -> bool:
        member = life.member
        if member.port is not None:
            return _answers(member.port)
        if member.kind == WORKER:
            with member.component.log.open("rb") as log:
                log.seek(life.offset)
                return b" ready." in log.read()
        return self.books.newest_job(member.name, life.started_at) is not None

    def _shuffled(self) -> list[str]:
        """Give a deck of kinds to hit, each kind once before any comes again."""
        first = list(WEIGHTS)
        rest = [kind for kind, weight in WEIGHTS.items() for _ in range(weight - 1)]
        self.chance.shuffle(first)
        self.chance.shuffle(rest)
        return first + rest

    def _strike(self) -> None:
        """Hit a component of the next kind in the deck; while one is down, a task at work."""
        now = time.time()
        ripe = [life for life in self._lives if life.ready_at and now - life.ready_at > SETTLED]
        if not self.all_ready:
            self._snipe(ripe)
            return
        there = {life.member.kind for life in ripe}
        kind = next((kind for kind in self._deck if kind in there), None)
        if kind is None:
            self._snipe(ripe)
            return
        self._deck.remove(kind)
        life = self.chance.choice([life for life in ripe if life.member.kind == kind])
        self._note(life.member, self._kill(life))

    def _snipe(self, ripe: list[Life]) -> None:
        """Kill a task at work or its supervisor, which takes no component down."""
        workers = [life.member for life in ripe if life.member.kind == WORKER]
        if workers:
            member = self.chance.choice(workers)
            victim = self._part(member)
            if victim is not None:
                self._note(member, victim)

    def _note(self, member: Member, victim: str) -> None:
        kill = Kill(
            time.time(), member.name, member.kind, victim, self.books.newest_job(member.name)
        )
        self.kills.append(kill)
        sys.stderr.write(f"{time.strftime('%H:%M:%S')} kill -9: {member.name}, {victim}\n")

    def _kill(self, life: Life) -> str:
        """Kill a member, or one process of it; tell which."""
        member = life.member
        if self.chance.random() < PARTS.get(member.kind, 0.0):
            part = self._part(member)
            if part is not None:
                return part
        member.component.kill()
        life.down_since, life.ready_at = time.time(), None
        return WHOLE

    def _part(self, member: Member) -> str | None:
        """Kill one of the processes below a member's first, if it has any."""
        leader = member.component.pid
        if leader is None:  # it has just ended
            return None
        try:
            chosen = self.chance.choice(_parts(leader) or [None])
            if chosen is None:
                return None
            name = _named(chosen)
            chosen.kill()
        except psutil.NoSuchProcess:  # it has just ended
            return None
        return name


def _parts(leader: int) -> list[psutil.Process | None]:
    """Give the processes below one; of a worker at work those of tasks, with their supervisors."""
    family = psutil.Process(leader).children(recursive=True)
    below = [process for process in family if process.status() != psutil.STATUS_ZOMBIE]
    tasks = [process for process in below if _title(process).startswith(TASK)]
    return [*tasks, *(task.parent() for task in tasks)] or [*below]


def _named(process: psutil.Process) -> str:
    """Say what a process is."""
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


def _answers(port: int) -> bool:
    try:
        with _opener.open(f"http://{LOOPBACK}:{port}/api/v2/version", timeout=2.0) as answer:
            return bool(answer.status == 200)
    except OSError:  # HTTPError and URLError are
        return False
