"""What an ended build means to the task that waits for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_buildpixel.core.names import same_branch
from airflow_provider_buildpixel.exceptions import BuildFailed, BuildSuperseded

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_buildpixel.core.model import Build

ON_SUPERSEDED = ("fail", "skip", "follow")
ERRORS_SHOWN = 5
MAX_FOLLOWED = 20
"""Newer builds that ``follow`` goes on to, one after the other, before it gives up."""


@dataclass(frozen=True)
class Succeed:
    """The pipeline may go on."""


@dataclass(frozen=True)
class Skip:
    """The task is skipped."""


@dataclass(frozen=True)
class Follow:
    """Wait for the newer build instead."""


@dataclass(frozen=True)
class Fail:
    """The task fails."""

    error: BuildFailed


Verdict = Succeed | Skip | Follow | Fail


def verdict(build: Build, on_superseded: str) -> Verdict | None:
    """Say what an ended build means; None means that it has not ended.

    Only success succeeds: a status that nobody knows yet cannot become one by accident. What
    becomes of a superseded build with ``fail`` is in :func:`superseded`, as it wants the newer
    build's name.
    """
    if not build.status.terminal:
        return None
    if build.status.succeeded:
        return Succeed()
    if build.status.superseded and on_superseded != "fail":
        return Skip() if on_superseded == "skip" else Follow()
    return Fail(failed(build))


def failed(build: Build, url: str | None = None) -> BuildFailed:
    """Make the error of a failed build: its phase, first error lines, cause and advice."""
    # Every parse of a Dag imports this module, and few tasks get here.
    from airflow_provider_buildpixel.core.logs import DIED, LogBook, cause_of, recent_lines

    book = LogBook.of(recent_lines(build.raw))
    cause = cause_of(book.errors) or (None if book.errors or book.ended else DIED)
    lasted = f" after {duration(build.duration_seconds)}" if build.duration_seconds else ""
    where = f" in phase {book.phase}" if book.phase else ""
    parts = [f"{build.title} {build.status}{where}{lasted}"]
    parts += [f"  {line}" for line in book.errors[:ERRORS_SHOWN]]
    parts += [f"What to do: {cause.advice}"] if cause else []
    parts += [f"See {url}"] if url else []
    return BuildFailed(
        "\n".join(parts),
        build=build,
        phase=book.phase,
        errors=tuple(book.errors),
        cause=cause.name if cause else None,
    )


def superseded(build: Build, newer: Build | None, url: str | None = None) -> BuildSuperseded:
    """Make the error of a superseded build."""
    by = f" by {newer.title}, triggered by {newer.triggered_by}" if newer else ""
    where = f"; see {url}" if url else ""
    return BuildSuperseded(
        f"{build.title} was superseded{by}: BuildPixel cancels a live build when a newer one of "
        "the same project, branch, platform and build type is queued. Set on_superseded to "
        f"'follow' to wait for the newer build, or to 'skip'{where}",
        build=build,
        newer=newer,
    )


def newer_build(build: Build, builds: Iterable[Build]) -> Build | None:
    """Find the build that took a build's place: the next one of the same kind."""
    later = (found for found in builds if found.id > build.id and same_kind(build, found))
    return min(later, key=lambda found: found.id, default=None)


def same_kind(build: Build, other: Build) -> bool:
    """Tell whether two builds supersede each other; what a list leaves out counts as equal."""
    pairs = (
        (build.project_id, other.project_id),
        (build.platform, other.platform),
        (build.build_type, other.build_type),
    )
    if any(one is not None and two is not None and one != two for one, two in pairs):
        return False
    return not build.branch or not other.branch or same_branch(build.branch, other.branch)


def duration(seconds: float) -> str:
    """Give a duration for people."""
    whole = round(seconds)
    if whole < 60:  # seconds in a minute
        return f"{seconds:.1f} s"
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {whole % 60} s"
