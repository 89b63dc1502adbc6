"""What an ended build means to the task that waits for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_buildpixel.api.text import duration_text
from airflow_provider_buildpixel.builds.errors import BuildFailed, BuildSuperseded
from airflow_provider_buildpixel.builds.request import same_branch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_buildpixel.api.model import Build


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
class FollowNewer:
    """Wait for the newer build instead."""


@dataclass(frozen=True)
class Fail:
    """The task fails."""

    error: BuildFailed


Outcome = Succeed | Skip | FollowNewer | Fail


def outcome_of(build: Build, on_superseded: str) -> Outcome | None:
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
        return Skip() if on_superseded == "skip" else FollowNewer()
    return Fail(failure_error(build))


def failure_error(build: Build, url: str | None = None) -> BuildFailed:
    """Make the error of a failed build: its phase, first error lines, cause and advice."""
    # Every parse of a Dag imports this module, and few tasks get here.
    from airflow_provider_buildpixel.builds.logs import (
        NO_ERROR_LINE,
        LogSummary,
        cause_of,
        recent_lines,
    )

    book = LogSummary.of(recent_lines(build.raw))
    cause = cause_of(book.errors) or (None if book.errors or book.ended else NO_ERROR_LINE)
    lasted = f" after {duration_text(build.duration_seconds)}" if build.duration_seconds else ""
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


def superseded_error(build: Build, newer: Build | None, url: str | None = None) -> BuildSuperseded:
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
