"""The previous builds of a setting: which are shown, and how they stand beside each other."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.api.paging import newest_first
from airflow_provider_buildpixel.api.text import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_provider_buildpixel.api.model import Build, Status


MAX_SHOWN = 20
"""Builds in the chart."""

MAX_PAGES = 5
"""Pages of the list that are read at most: its order is unspecified."""


class RecentBuilds:
    """Collects the newest builds of a list page by page; ids sort by creation."""

    def __init__(self) -> None:
        self._builds: dict[str, Build] = {}
        self._pages = 0

    def take(self, page: Sequence[Build]) -> bool:
        """Take a page; tell whether the next will, or shall, not change the outcome."""
        self._builds |= {build.id: build for build in page}
        self._pages += 1
        enough = len(self._builds) >= MAX_SHOWN and newest_first(page)
        return enough or self._pages >= MAX_PAGES

    @property
    def builds(self) -> tuple[Build, ...]:
        """The newest, the oldest of them first."""
        return tuple(self._builds[build_id] for build_id in sorted(self._builds)[-MAX_SHOWN:])


def tone(status: Status) -> str:
    """Name how a status is to be taken: ``good``, ``bad``, ``gone``, ``queued`` or ``live``."""
    if status.succeeded:
        return "good"
    if status.superseded:
        return "gone"
    if status.terminal:
        return "bad"
    return "queued" if status.queued else "live"


def chart(builds: Iterable[Build], current: Build) -> dict[str, Any]:
    """Give the bars of the chart, with the current build as it is now, and what is usual.

    :param builds: the newest builds of the setting; the current one may be among them.
    """
    by_id = {build.id: build for build in builds} | {current.id: current}
    ids = sorted(by_id)
    first = min(
        len(ids) - MAX_SHOWN, ids.index(current.id)
    )  # the newest, and the current among them
    shown = [by_id[build_id] for build_id in ids[max(0, first) :][:MAX_SHOWN]]
    good = [
        build.duration_seconds
        for build in shown
        if build.status.succeeded and build.duration_seconds is not None
    ]
    return {
        "bars": [_bar(build, current) for build in shown],
        "usual_seconds": median(good) if good else None,
    }


def _bar(build: Build, current: Build) -> dict[str, Any]:
    return {
        "id": plain(build.id, 64),
        "status": plain(build.status, 40),
        "tone": tone(build.status),
        "seconds": build.duration_seconds,
        "created_at": build.created_at and build.created_at.isoformat(),
        "commit": plain(build.commit or build.changelist or "", 12),
        "current": build.id == current.id,
    }
