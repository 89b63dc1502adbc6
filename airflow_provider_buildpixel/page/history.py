"""The previous builds of a build setting, as a chart of their durations."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.api.text import sanitize
from airflow_provider_buildpixel.builds.list_order import ALL, Since
from airflow_provider_buildpixel.builds.search import by_creation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_provider_buildpixel.api.model import Build, Status


MAX_SHOWN = 20
"""Builds in the chart."""


def newest(builds: Mapping[str, Build]) -> tuple[Build, ...]:
    """Return the newest builds, as many as the chart shows, oldest first."""
    return tuple(by_creation(builds.values())[-MAX_SHOWN:])


def since_shown(builds: Mapping[str, Build]) -> Since:
    """Return since when builds are needed for the chart, from those that were read so far."""
    shown = newest(builds)
    return Since.of_build(shown[0]) if len(shown) == MAX_SHOWN else ALL


def tone(status: Status) -> str:
    """Return how a status is coloured: success, failed, neutral, queued or live."""
    if status.succeeded:
        return "success"
    if status.superseded:
        return "neutral"
    if status.terminal:
        return "failed"
    return "queued" if status.queued else "live"


def chart(builds: Iterable[Build], current: Build) -> dict[str, Any]:
    """Return the bars of the chart, and the median duration of successful builds.

    :param builds: builds of the setting; they may include an older read of ``current``.
    """
    by_id = {build.id: build for build in builds} | {current.id: current}
    ordered = by_creation(by_id.values())
    # The newest builds, moved back if needed to include the current one.
    first = min(len(ordered) - MAX_SHOWN, ordered.index(current))
    shown = ordered[max(0, first) :][:MAX_SHOWN]
    durations = [
        build.duration_seconds
        for build in shown
        if build.status.succeeded and build.duration_seconds is not None
    ]
    return {
        "bars": [_bar(build, current) for build in shown],
        "median_seconds": median(durations) if durations else None,
    }


def _bar(build: Build, current: Build) -> dict[str, Any]:
    return {
        "id": sanitize(build.id, 64),
        "status": sanitize(build.status, 40),
        "tone": tone(build.status),
        "seconds": build.duration_seconds,
        "created_at": build.created_at and build.created_at.isoformat(),
        "commit": sanitize(build.commit or build.changelist or "", 12),
        "current": build.id == current.id,
    }
