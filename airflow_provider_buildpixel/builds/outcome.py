"""What the end of a build means for the task that waits for it."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from airflow_provider_buildpixel.api.text import duration_text
from airflow_provider_buildpixel.builds.errors import BuildFailed, BuildSuperseded

if TYPE_CHECKING:
    from airflow_provider_buildpixel.api.model import Build


ON_SUPERSEDED = ("fail", "skip", "follow")
MAX_ERRORS_SHOWN = 5
MAX_FOLLOWED = 20
"""Newer builds that ``on_superseded="follow"`` waits for, one after the other, before it fails."""


class Outcome(Enum):
    """What an ended build means for its task."""

    SUCCEED = "succeed"
    SKIP = "skip"
    FOLLOW_NEWER = "follow"
    """Wait for the newer build instead."""
    FAIL = "fail"


def outcome_of(build: Build, on_superseded: str) -> Outcome | None:
    """Return what an ended build means for its task, or None if the build has not ended.

    Only a build that succeeded counts as success; an unknown status never does. For a superseded
    build with ``fail``, callers raise :func:`superseded_error` instead, which names the newer
    build.
    """
    if not build.status.terminal:
        return None
    if build.status.succeeded:
        return Outcome.SUCCEED
    if build.status.superseded and on_superseded != "fail":
        return Outcome.SKIP if on_superseded == "skip" else Outcome.FOLLOW_NEWER
    return Outcome.FAIL


def failure_error(build: Build, url: str | None = None) -> BuildFailed:
    """Return the error of a failed build: its phase, first error lines, cause and advice.

    :param url: the page of the build.
    """
    # Every parse of a Dag imports this module; only a failed build needs these.
    from airflow_provider_buildpixel.builds.failure_cause import failure_cause
    from airflow_provider_buildpixel.builds.logs import LogSummary, recent_lines

    summary = LogSummary.from_lines(recent_lines(build.raw))
    cause = failure_cause(summary)
    duration = f" after {duration_text(build.duration_seconds)}" if build.duration_seconds else ""
    phase = f" in phase {summary.phase}" if summary.phase else ""
    parts = [f"{build.title} {build.status}{phase}{duration}"]
    parts += [f"  {line}" for line in summary.errors[:MAX_ERRORS_SHOWN]]
    parts += [f"What to do: {cause.advice}"] if cause else []
    parts += [f"See {url}"] if url else []
    return BuildFailed(
        "\n".join(parts),
        build=build,
        phase=summary.phase,
        errors=tuple(summary.errors),
        cause=cause.name if cause else None,
    )


def superseded_error(build: Build, newer: Build | None, url: str | None = None) -> BuildSuperseded:
    """Return the error of a superseded build.

    :param newer: the build that superseded it, None if it could not be identified.
    :param url: the page of the superseded build.
    """
    by = f" by {newer.title}, triggered by {newer.triggered_by}" if newer else ""
    page = f"; see {url}" if url else ""
    return BuildSuperseded(
        f"{build.title} was superseded{by}: BuildPixel cancels a live build when a newer one of "
        "the same project, branch, platform and build type is queued. Set on_superseded to "
        f"'follow' to wait for the newer build, or to 'skip' to skip this task{page}",
        build=build,
        newer=newer,
    )
