"""The previous builds of a build setting, as a chart of their durations."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.api.paging import is_newest_first
from airflow_provider_buildpixel.api.text import sanitize

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_provider_buildpixel.api.model import Build, Status


MAX_SHOWN = 20
"""Builds in the chart."""

MAX_PAGES = 5
"""Pages of the list that are read at most: its order is not documented."""


class RecentBuilds:
    """Collects the newest builds of a list page by page; ids sort by creation."""

    def __init__(self) -> None:
        self._builds: dict[str, Build] = {}
        self._pages = 0

    def add_page(self, page: Sequence[Build]) -> bool:
        """Add a page; return whether no further page is needed."""
        self._builds |= {build.id: build for build in page}
        self._pages += 1
        enough = len(self._builds) >= MAX_SHOWN and is_newest_first(page)
        return enough or self._pages >= MAX_PAGES

    @property
    def builds(self) -> tuple[Build, ...]:
        """The newest builds, oldest first."""
        return tuple(self._builds[build_id] for build_id in sorted(self._builds)[-MAX_SHOWN:])


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

    :param builds: the newest builds of the setting; they may include an older read of ``current``.
    """
    by_id = {build.id: build for build in builds} | {current.id: current}
    ids = sorted(by_id)
    # The newest builds, moved back if needed to include the current one.
    first = min(len(ids) - MAX_SHOWN, ids.index(current.id))
    shown = [by_id[build_id] for build_id in ids[max(0, first) :][:MAX_SHOWN]]
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
