"""What a task has done and learned: the facts that the invariants judge."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.simulation.schedule import Fate, SettingSpec, TaskSpec
    from tests.simulation.world.builds import SimBuild
    from tests.simulation.world.task import Task

BURST = 0.45
"""Seconds between two requests of one reading of the lists."""

LONGEST_BURST = 200.0


@dataclass(frozen=True)
class Target:
    """What a task asks for, with the setting as it was at that instant.

    :param revision: a commit or its first characters, or a changelist; empty for the newest one.
    """

    name: str
    setting: SettingSpec
    line: str
    revision: str


@dataclass(frozen=True)
class Loss:
    """A request whose answer is unknown, or a worker that was killed and may have sent one.

    :param since: a build from before this instant cannot be that of the request.
    :param until: a build from after this instant cannot be taken for that of the request.
    :param knows_token: the task knew how builds of its token are marked.
    """

    since: float
    target: Target
    until: float
    knows_token: bool


@dataclass(eq=False)
class Request:
    """One trigger request.

    :param spec: the parameters with which it was sent.
    :param target: what the service builds.
    :param believed: what the task asked for when it read its setting.
    :param seen_until: builds that were created later were not in the lists that the task has read.
    :param failed: when the client saw that its answer is lost.
    :param runs_at: when the server creates the build, None for never.
    """

    task: Task
    spec: TaskSpec
    target: Target
    believed: Target
    fate: Fate
    sent: float
    try_number: int
    seen_until: float
    try_started: float
    body: dict[str, Any] = field(default_factory=dict)
    failed: float = -inf
    runs_at: float | None = None
    is_lost: bool = True
    build: SimBuild | None = field(default=None, repr=False)

    @property
    def is_surprise(self) -> bool:
        """Whether somebody has edited the setting since the task read it."""
        is_late = self.build is not None and self.build.spec != self.target.setting
        return is_late or self.target != self.believed


@dataclass
class Traffic:
    """What a task has learned from the service.

    :param known_builds: the builds that it has read one by one, or got as an answer, with the
        parameters that the task had then.
    :param knows_token: it has read a build of its own, so it knows how these are marked.
    :param seen_until: as for :class:`Request`.
    """

    known_builds: dict[str, set[TaskSpec]] = field(default_factory=dict)
    knows_token: bool = False
    seen_until: float = -inf
    _began: float = -inf
    _ended: float = -inf
    _age: float = 0.0

    def begin_read(self, now: float, list_age: float | None) -> None:
        """Note the beginning of a GET; ``list_age`` is how stale a list is."""
        if now - self._ended > BURST or now - self._began > LONGEST_BURST:
            self._began, self._age = now, 0.0
        if list_age is not None:
            self._age = max(self._age, list_age)
            self.seen_until = self._began - self._age

    def end_burst(self) -> None:
        """Note that a request is sent: the lists that come after it are a new reading."""
        self._ended = -inf

    def end_read(self, now: float, *, is_repeated: bool) -> None:
        """Note the end of a GET, which may be repeated after a pause."""
        self._ended = inf if is_repeated else now


@dataclass(frozen=True)
class Clear:
    """A Clear of a task.

    :param state: of the task when it was cleared.
    """

    at: float
    state: str


@dataclass(eq=False)
class History:
    """What has happened to a task, for the invariants."""

    requests: list[Request] = field(default_factory=list)
    clears: list[Clear] = field(default_factory=list)
    successes: list[float] = field(default_factory=list)
    uncertain: list[float] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    edits_of_retries: list[float] = field(default_factory=list)
