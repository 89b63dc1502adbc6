"""Compares the records of Airflow and BuildPixel: every task must end as its build did."""

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
VIOLATIONS = (LOST, TWICE, STUCK, FALSE_SUCCESS, FALSE_FAILURE, WRONG_RESULT, STRAY)


@dataclass(frozen=True)
class TaskResult:
    """Airflow's record of one task.

    :param build_id: the id that it pushed at the dispatch.
    :param result: the id of the build in its result.
    :param status: the status of the build in its result.
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
class BuildResult:
    """BuildPixel's record of one build; instants are real seconds since the epoch."""

    id: str
    branch: str
    status: str
    created_at: float
    finished_at: float | None = None


@dataclass(frozen=True)
class Violation:
    """Something that must not happen."""

    kind: str
    branch: str
    details: str


@dataclass(frozen=True)
class Verification:
    """The violations of a run.

    :param retry_builds: number of builds that a retry started after the task's own build had
        failed, which is what a retry is for.
    """

    violations: list[Violation] = field(default_factory=list)
    retry_builds: int = 0

    def count(self, kind: str) -> int:
        """Return the number of violations of a kind."""
        return sum(violation.kind == kind for violation in self.violations)


def verify(
    branches: Iterable[str], tasks: Iterable[TaskResult], builds: Iterable[BuildResult]
) -> Verification:
    """Compare the requested tasks with the records of both sides.

    :param branches: one for each requested task.
    """
    task_of, builds_of = {task.branch: task for task in tasks}, defaultdict(list)
    for build in sorted(builds, key=lambda build: build.id):
        builds_of[build.branch].append(build)
    expected = list(branches)
    violations = [
        Violation(STRAY, branch, "no task requested it")
        for branch in builds_of
        if branch not in task_of
    ]
    retry_builds = 0
    for branch in expected:
        own_builds = builds_of[branch]
        violations += _violations_of(task_of.get(branch), branch, own_builds)
        retry_builds += max(0, len(own_builds) - 1) if not _started_twice(own_builds) else 0
    return Verification(violations, retry_builds)


def _violations_of(
    task: TaskResult | None, branch: str, builds: list[BuildResult]
) -> list[Violation]:
    if task is None:
        return [Violation(LOST, branch, "Airflow has no such task")]
    if not builds:
        return [Violation(LOST, branch, f"no build, and the task is {task.state}")]
    violations = []
    if _started_twice(builds):
        ends = ", ".join(f"{build.id} {build.status}" for build in builds)
        violations.append(Violation(TWICE, branch, f"{ends}; {task.tries} tries"))
    kind = _wrong_end(task, builds[-1])
    if kind is not None:
        violations.append(Violation(kind, branch, f"task {task}, build {builds[-1]}"))
    return violations


def _started_twice(builds: list[BuildResult]) -> bool:
    """Return whether a build was started before the previous one had failed."""
    return any(
        earlier.status != "failed"
        or earlier.finished_at is None
        or earlier.finished_at > later.created_at
        for earlier, later in pairwise(builds)
    )


def _wrong_end(task: TaskResult, build: BuildResult) -> str | None:
    """Return the kind of violation in the end of a task; ``build`` is its last build."""
    if task.state not in ENDS:
        return STUCK
    if task.state == "failed":
        return None if build.status in {"failed", "superseded"} else FALSE_FAILURE
    if build.status != "complete":
        return FALSE_SUCCESS
    correct = (task.build_id, task.result, task.status) == (build.id, build.id, "complete")
    return None if correct else WRONG_RESULT


def quantile(values: Iterable[float], fraction: float) -> float | None:
    """Return the value below which a fraction of the values lies; None without values."""
    ordered = sorted(values)
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, round(fraction * (len(ordered) - 1)))]


def spread(values: list[float]) -> tuple[str, ...]:
    """Return median, 95th percentile and maximum as text; question marks without values."""
    figures = [quantile(values, fraction) for fraction in (0.5, 0.95, 1.0)]
    return tuple("?" if figure is None else f"{figure:.1f}" for figure in figures)


def count_by_kind(kinds: Iterable[str]) -> list[tuple[str, int]]:
    """Return the number of each kind, in alphabetical order."""
    return sorted(Counter(kinds).items())
