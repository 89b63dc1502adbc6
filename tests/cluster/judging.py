"""Whether every task ended with the truth: pure decisions over what both sides wrote down."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

ENDS = {"success", "failed"}
LOST, TWICE, STUCK = "lost", "started twice", "stuck"
FALSE_SUCCESS, FALSE_FAILURE, WRONG_RESULT = "false success", "false failure", "wrong result"
STRAY = "stray build"
FAULTS = (LOST, TWICE, STUCK, FALSE_SUCCESS, FALSE_FAILURE, WRONG_RESULT, STRAY)


@dataclass(frozen=True)
class Told:
    """What Airflow has of one task.

    :param build_id: what it published at the dispatch.
    :param result: the build that its result is of.
    :param status: how that ended, by its result.
    :param ended_at: seconds since the epoch.
    """

    branch: str
    state: str
    tries: int = 1
    build_id: str | None = None
    result: str | None = None
    status: str | None = None
    ended_at: float | None = None


@dataclass(frozen=True)
class Made:
    """What BuildPixel has of one build; instants are seconds since the epoch, on one clock."""

    id: str
    branch: str
    status: str
    created_at: float
    finished_at: float | None = None


@dataclass(frozen=True)
class Fault:
    """Something that must not be."""

    kind: str
    branch: str
    words: str


@dataclass(frozen=True)
class Judgement:
    """All that was found.

    :param again: builds that were started by a retry after the task's own build had failed, which
        is what a retry is for.
    """

    faults: list[Fault] = field(default_factory=list)
    again: int = 0

    def count(self, kind: str) -> int:
        """Count the faults of a kind."""
        return sum(fault.kind == kind for fault in self.faults)


def judge(branches: Iterable[str], told: Iterable[Told], made: Iterable[Made]) -> Judgement:
    """Compare what was asked for with what each side has of it.

    :param branches: one for each task that was asked for.
    """
    tasks, builds = {task.branch: task for task in told}, defaultdict(list)
    for build in sorted(made, key=lambda build: build.id):
        builds[build.branch].append(build)
    expected = list(branches)
    faults = [Fault(STRAY, branch, "nobody asked") for branch in builds if branch not in tasks]
    again = 0
    for branch in expected:
        own = builds[branch]
        faults += _of_task(tasks.get(branch), branch, own)
        again += max(0, len(own) - 1) if not _twice(own) else 0
    return Judgement(faults, again)


def _of_task(task: Told | None, branch: str, builds: list[Made]) -> list[Fault]:
    if task is None:
        return [Fault(LOST, branch, "Airflow has no such task")]
    if not builds:
        return [Fault(LOST, branch, f"no build, and the task is {task.state}")]
    faults = []
    if _twice(builds):
        ends = ", ".join(f"{build.id} {build.status}" for build in builds)
        faults.append(Fault(TWICE, branch, f"{ends}; {task.tries} tries"))
    wrong = _wrong_end(task, builds[-1])
    if wrong is not None:
        faults.append(Fault(wrong, branch, f"task {task}, build {builds[-1]}"))
    return faults


def _twice(builds: list[Made]) -> bool:
    """Tell whether a build was started although the one before had not failed by then."""
    return any(
        earlier.status != "failed"
        or earlier.finished_at is None
        or earlier.finished_at > later.created_at
        for earlier, later in pairwise(builds)
    )


def _wrong_end(task: Told, build: Made) -> str | None:
    """Name what is wrong with the end of a task, whose last build this is."""
    if task.state not in ENDS:
        return STUCK
    if task.state == "failed":
        return None if build.status in {"failed", "superseded"} else FALSE_FAILURE
    if build.status != "complete":
        return FALSE_SUCCESS
    right = (task.build_id, task.result, task.status) == (build.id, build.id, "complete")
    return None if right else WRONG_RESULT


def quantile(values: Iterable[float], share: float) -> float | None:
    """Give the value below which a share of the values lies; None without values."""
    ordered = sorted(values)
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def spread(values: list[float]) -> tuple[str, ...]:
    """Write the median, the 95th percentile and the greatest; question marks without values."""
    figures = [quantile(values, share) for share in (0.5, 0.95, 1.0)]
    return tuple("?" if figure is None else f"{figure:.1f}" for figure in figures)


def sorts(kinds: Iterable[str]) -> list[tuple[str, int]]:
    """Count by kind, in alphabetical order."""
    return sorted(Counter(kinds).items())
