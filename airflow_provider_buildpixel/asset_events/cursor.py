"""Which ended builds a watcher has handled, so that each is reported exactly once.

Ids sort by creation, but builds end in another order, so a single id cannot be the cursor. The
cursor has three parts: a watermark, at or below which new ids are ignored; the ids above it that
are handled; and the ids that are tracked because their builds have not ended. A stale list may
leave out builds that an earlier list contained: tracked builds are then read by id, and a build
that appears late, between handled ones, still counts as new.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.api import fields
from airflow_provider_buildpixel.api.errors import RateLimited
from airflow_provider_buildpixel.api.retry import retry_after_pause

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_buildpixel.api.errors import BuildPixelError
    from airflow_provider_buildpixel.api.model import Build


MAX_HANDLED = 300
"""Handled ids that are kept. A build that first appears after this many newer ones is missed."""

MAX_TRACKED = 1000
"""Tracked ids that are kept; together with the handled ids they fit into Airflow's state store."""

MAX_PAUSE = 600.0
"""Longest pause in seconds between polls while BuildPixel fails."""


@dataclass(frozen=True)
class BuildFilter:
    """Selects the builds of a watcher; None matches every value.

    :param statuses: statuses to report. Each counts as an end, even one the provider does not know.
    """

    project_id: str | None = None
    build_setting_id: str | None = None
    branch: str | None = None
    statuses: tuple[str, ...] = ("complete",)

    def may_match(self, build: Build) -> bool:
        """Return whether no known field contradicts the filter: list items can lack fields."""
        return all(value is None or wanted in (None, value) for wanted, value in self._pairs(build))

    def matches(self, build: Build) -> bool:
        """Return whether a build, read by id, matches project, build setting and branch."""
        return all(wanted in (None, value) for wanted, value in self._pairs(build))

    def has_ended(self, build: Build) -> bool:
        """Return whether the build's status is terminal or one to report."""
        return build.status.terminal or build.status in self.statuses

    def selects(self, build: Build) -> bool:
        """Return whether a build, read by id, is to be reported."""
        return self.matches(build) and build.status in self.statuses

    def _pairs(self, build: Build) -> tuple[tuple[str | None, str | None], ...]:
        return (
            (self.project_id, build.project_id),
            (self.build_setting_id, build.build_setting_id),
            (self.branch, build.branch),
        )


@dataclass(frozen=True)
class Cursor:
    """The progress of a watcher.

    :param watermark: ids at or below it are ignored unless they are tracked.
    :param handled: ids above the watermark whose end was handled.
    :param tracked: ids that were seen and whose end was not handled yet.
    :param version: number of saves; of several stored copies the highest version is used.
    """

    watermark: str = ""
    handled: frozenset[str] = frozenset()
    tracked: frozenset[str] = frozenset()
    version: int = 0

    @classmethod
    def start(
        cls,
        newest: Iterable[Build],
        live: Iterable[Build],
        build_filter: BuildFilter,
        *,
        complete_down_to: str,
    ) -> Cursor:
        """Return a cursor that starts now: ended builds are handled, the others are tracked.

        :param newest: the newest builds; an older build that shows up later is ignored.
        :param live: builds that have not ended, of any age.
        :param complete_down_to: the id down to which ``newest`` is complete; empty if it has all.
        """
        known = {build.id: build for build in newest if build_filter.may_match(build)}
        candidates = {build.id: build for build in live if build_filter.may_match(build)} | known
        tracked = {
            build_id for build_id, build in candidates.items() if not build_filter.has_ended(build)
        }
        cursor = cls(watermark=complete_down_to, tracked=frozenset(tracked))
        ended = known.keys() - tracked
        for build_id in sorted(build_id for build_id in ended if build_id > complete_down_to):
            cursor = cursor.with_handled(build_id)
        return cursor

    @classmethod
    def from_json(cls, data: Any) -> Cursor | None:
        """Return the cursor that :meth:`to_json` wrote; None for any other value."""
        if not isinstance(data, dict) or not isinstance(data.get("watermark"), str):
            return None
        ids = {key: data.get(key) for key in ("handled", "tracked")}
        if not all(isinstance(value, list) for value in ids.values()):
            return None
        version = fields.integer(data.get("version")) or 0
        return cls(data["watermark"], _strings(ids["handled"]), _strings(ids["tracked"]), version)

    def to_json(self) -> dict[str, Any]:
        """Return the cursor as plain JSON of bounded length."""
        return {
            "watermark": self.watermark,
            "handled": sorted(self.handled),
            "tracked": sorted(self.tracked),
            "version": self.version,
        }

    @property
    def newest_id(self) -> str:
        """The id of the newest build that the cursor knows."""
        return max([self.watermark, *self.handled, *self.tracked])

    def is_unhandled(self, build_id: str) -> bool:
        """Return whether the end of a build is still to be handled."""
        return build_id in self.tracked or (
            build_id > self.watermark and build_id not in self.handled
        )

    def unhandled_ends(self, builds: Iterable[Build], build_filter: BuildFilter) -> list[str]:
        """Return the ids of ended builds to handle, oldest first: the watermark rises with them."""
        return sorted(
            {
                build.id
                for build in builds
                if build_filter.may_match(build)
                and build_filter.has_ended(build)
                and self.is_unhandled(build.id)
            }
        )

    def missing_from(self, builds: Iterable[Build]) -> list[str]:
        """Return the ids of tracked builds that a list leaves out."""
        return sorted(self.tracked - {build.id for build in builds})

    def with_handled(self, build_id: str) -> Cursor:
        """Return the cursor with a build handled; over the limit, the watermark rises."""
        handled = sorted(self.handled | {build_id})
        dropped, kept = handled[:-MAX_HANDLED], handled[-MAX_HANDLED:]
        return replace(
            self,
            watermark=max([self.watermark, *dropped]),
            handled=frozenset(kept),
            tracked=self.tracked - {build_id},
        )

    def with_tracked(self, builds: Iterable[Build], build_filter: BuildFilter) -> Cursor:
        """Return the cursor with unhandled builds tracked: they are read until they are handled."""
        found = {
            build.id
            for build in builds
            if build_filter.may_match(build) and self.is_unhandled(build.id)
        }
        return replace(self, tracked=frozenset(sorted(self.tracked | found)[-MAX_TRACKED:]))

    def next_version(self) -> Cursor:
        """Return the cursor to save next."""
        return replace(self, version=self.version + 1)


def _strings(values: Any) -> frozenset[str]:
    return frozenset(value for value in values if isinstance(value, str))


def split_at_limit(ended: list[str], limit: int) -> tuple[list[str], list[str]]:
    """Split ended builds, oldest first, into those over the limit and the newest ones to report."""
    kept = ended[-limit:] if limit > 0 else []
    return ended[: len(ended) - len(kept)], kept


class NewestBuilds:
    """Collects a list of builds, newest first, until it reaches a known id or a limit.

    :param known_id: the newest id of an earlier poll; older builds were read then.
    :param limit: number of builds after which to stop in any case.
    """

    def __init__(self, known_id: str, limit: int) -> None:
        self._known_id = known_id
        self._limit = limit
        self._builds: dict[str, Build] = {}

    @property
    def builds(self) -> list[Build]:
        """The collected builds, each once."""
        return list(self._builds.values())

    def add_page(self, page: Iterable[Build]) -> bool:
        """Add a page; return whether builds older than its last one are not needed."""
        last = self._known_id
        for build in page:
            self._builds[build.id] = build
            last = build.id
        return last <= self._known_id or len(self._builds) >= self._limit


def state_key(*parts: Any) -> str:
    """Return the key of a watcher's cursor in an asset's state store, derived from its filter."""
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode())
    return f"buildpixel_{digest.hexdigest()[:16]}"


def next_pause(
    interval: float, failures: int, error: BuildPixelError | None, jitter: float
) -> float:
    """Return the seconds until the next poll: the interval with ±10 % jitter, or a back-off.

    :param interval: the polling interval in seconds.
    :param failures: number of polls that have failed in a row.
    :param error: why the last poll failed; None if it succeeded.
    :param jitter: a random number from 0 to 1.
    """
    if isinstance(error, RateLimited) and error.wait is not None:
        return retry_after_pause(error.wait, jitter, interval)
    usual = interval * (0.9 + jitter / 5)
    return max(usual, min(usual * 2.0 ** min(failures, 16), MAX_PAUSE)) if failures else usual
