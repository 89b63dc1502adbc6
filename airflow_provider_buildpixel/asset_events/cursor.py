"""Which ended builds a watcher has handled, so that each is reported exactly once.

Builds end in another order than they are created, and BuildPixel promises no order of its lists, so
a single build cannot be the cursor. The cursor has three parts: a watermark, at or below which new
builds are ignored; the builds above it that are handled; and the ids that are tracked because their
end was not handled. A build that a list left out may appear late, between handled ones: it still
counts as new, unless it ended before the watcher started.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from airflow_provider_buildpixel.api import fields
from airflow_provider_buildpixel.api.errors import RateLimited
from airflow_provider_buildpixel.api.retry import retry_after_pause
from airflow_provider_buildpixel.builds.list_order import ALL, Since
from airflow_provider_buildpixel.builds.request import Match
from airflow_provider_buildpixel.builds.search import LOOK_BACK, by_creation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from airflow_provider_buildpixel.api.errors import BuildPixelError
    from airflow_provider_buildpixel.api.model import Build
    from airflow_provider_buildpixel.builds.request import BuildFilter


T = TypeVar("T")

MAX_HANDLED = 400
"""Handled builds that are kept. A build that first appears after as many newer ones is missed."""

MAX_TRACKED = 1000
"""Tracked ids that are kept; together with the handled ids they fit into Airflow's state store."""

MAX_PAUSE = 600.0
"""Longest pause in seconds between polls while BuildPixel fails."""


@dataclass(frozen=True)
class Watched:
    """The builds that a watcher reports.

    :param statuses: statuses to report. Each counts as an end, even one the provider does not know.
    """

    build_filter: BuildFilter
    statuses: tuple[str, ...] = ("complete",)

    def may_match(self, row: Build) -> bool:
        """Return whether no known field contradicts the filter: list rows can lack fields."""
        return self.build_filter.compare(row) is not Match.NO

    def has_ended(self, build: Build) -> bool:
        """Return whether the build's status is terminal or one to report."""
        return build.status.terminal or build.status in self.statuses


class Position(NamedTuple):
    """When a build was created, in seconds since the epoch if that is known, and its id."""

    created_at: float | None = None
    id: str = ""

    @classmethod
    def of(cls, build: Build) -> Position:
        """Return the position of a build."""
        created = build.created_at
        return cls(None if created is None else created.timestamp(), build.id)

    def is_after(self, other: Position) -> bool:
        """Return whether it is later; ids only decide where the times do not."""
        if self.created_at is None or other.created_at is None:
            return self.id > other.id
        return (self.created_at, self.id) > (other.created_at, other.id)


NOWHERE = Position()
"""A position before that of every build."""


@dataclass(frozen=True)
class Cursor:
    """The progress of a watcher.

    :param watermark: builds at or below it are ignored unless they are tracked.
    :param handled: builds above the watermark whose end was handled, and when they were created.
    :param tracked: ids that were seen and whose end was not handled yet.
    :param never_live: tracked ids of builds that had ended when they were seen first.
    :param started_at: when the watcher started, in seconds since the epoch on the server's clock;
        None if that clock is not known.
    :param version: number of saves; of several stored copies the highest version is used.
    """

    watermark: Position = NOWHERE
    handled: Mapping[str, float | None] = field(default_factory=dict)
    tracked: frozenset[str] = frozenset()
    never_live: frozenset[str] = frozenset()
    started_at: float | None = None
    version: int = 0

    @classmethod
    def start(cls, builds: Iterable[Build], watched: Watched, started_at: float | None) -> Cursor:
        """Return a cursor that starts now: ended builds are handled, the others are tracked.

        :param builds: the newest builds, and all that have not ended.
        """
        found = by_creation({one.id: one for one in builds if watched.may_match(one)}.values())
        ended = [Position.of(one) for one in found if watched.has_ended(one)][-MAX_HANDLED:]
        tracked = [one.id for one in found if not watched.has_ended(one)]
        return cls(
            watermark=ended[0] if ended else NOWHERE,
            handled={position.id: position.created_at for position in ended},
            tracked=frozenset(tracked[-MAX_TRACKED:]),
            started_at=started_at,
        )

    @classmethod
    def from_json(cls, data: Any) -> Cursor | None:
        """Return the cursor that :meth:`to_json` wrote; None for any other value.

        Earlier versions stored only the ids of handled builds.
        """
        if not isinstance(data, dict) or not isinstance(data.get("watermark"), str):
            return None
        handled, tracked = data.get("handled"), data.get("tracked")
        if not isinstance(handled, list | dict) or not isinstance(tracked, list):
            return None
        never_live = _strings(data.get("never_live"))
        times = handled if isinstance(handled, dict) else dict.fromkeys(_strings(handled))
        return cls(
            watermark=Position(fields.number(data.get("created_at")), data["watermark"]),
            handled={key: fields.number(value) for key, value in times.items()},
            tracked=_strings(tracked) | never_live,
            never_live=never_live,
            started_at=fields.number(data.get("started_at")),
            version=fields.integer(data.get("version")) or 0,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the cursor as plain JSON of bounded length."""
        return {
            "watermark": self.watermark.id,
            "created_at": self.watermark.created_at,
            "handled": dict(self.handled),
            "tracked": sorted(self.tracked - self.never_live),
            "never_live": sorted(self.never_live),
            "started_at": self.started_at,
            "version": self.version,
        }

    @property
    def since(self) -> Since:
        """The time since which a watcher that continues has to read the lists."""
        newest = _oldest_first(self._handled_positions)[-1:] or [self.watermark]
        created_at, build_id = newest[0]
        if not build_id:
            return ALL if self.started_at is None else Since(self.started_at - LOOK_BACK)
        return Since(None if created_at is None else created_at - LOOK_BACK, build_id)

    def is_unhandled(self, build: Build, watched: Watched) -> bool:
        """Return whether the end of a build is still to be handled."""
        if build.id in self.tracked:
            return True
        is_above = build.id not in self.handled and Position.of(build).is_after(self.watermark)
        return is_above and not (
            watched.has_ended(build)
            and self._was_before_start(build.finished_at or build.created_at)
        )

    def ended_before_start(self, build: Build) -> bool:
        """Return whether a build, read by id, had ended when the watcher started.

        Not if it was seen live, although its status may have changed some time after its end.
        """
        was_live = build.id in self.tracked - self.never_live
        return not was_live and self._was_before_start(build.finished_at)

    def _was_before_start(self, time: datetime | None) -> bool:
        if time is None or self.started_at is None:
            return False
        return time.timestamp() < self.started_at

    @property
    def _handled_positions(self) -> list[Position]:
        return [Position(created_at, build_id) for build_id, created_at in self.handled.items()]

    def unhandled_ends(self, builds: Iterable[Build], watched: Watched) -> list[Build]:
        """Return the ended builds to handle, oldest first."""
        found = {
            build.id: build
            for build in builds
            if watched.has_ended(build)
            and self.is_unhandled(build, watched)
            and watched.may_match(build)
        }
        return by_creation(found.values())

    def missing_from(self, builds: Iterable[Build]) -> list[str]:
        """Return the ids of tracked builds that a list leaves out."""
        return sorted(self.tracked - {build.id for build in builds})

    def with_handled(self, *positions: Position) -> Cursor:
        """Return the cursor with builds handled; over the limit, the watermark rises."""
        handled = _oldest_first([*self._handled_positions, *positions])
        dropped, kept = handled[:-MAX_HANDLED], handled[-MAX_HANDLED:]
        tracked = self.tracked - {position.id for position in positions}
        return replace(
            self,
            watermark=_highest([self.watermark, *dropped]),
            handled={position.id: position.created_at for position in kept},
            tracked=tracked,
            never_live=self.never_live & tracked,
        )

    def with_tracked(self, builds: Iterable[Build], watched: Watched) -> Cursor:
        """Return the cursor with unhandled builds tracked: they are read until they are handled."""
        found = {
            build.id: watched.has_ended(build)
            for build in builds
            if build.id not in self.tracked
            and self.is_unhandled(build, watched)
            and watched.may_match(build)
        }
        tracked = frozenset(sorted(self.tracked | found.keys())[-MAX_TRACKED:])
        ended = {build_id for build_id, has_ended in found.items() if has_ended}
        return replace(self, tracked=tracked, never_live=(self.never_live | ended) & tracked)

    def next_version(self) -> Cursor:
        """Return the cursor to save next."""
        return replace(self, version=self.version + 1)


def _oldest_first(positions: Iterable[Position]) -> list[Position]:
    """Return positions in the order of creation: by id unless all times are known."""
    known = list(positions)
    if any(position.created_at is None for position in known):
        return sorted(known, key=lambda position: position.id)
    return sorted(known)


def _highest(positions: Iterable[Position]) -> Position:
    """Return a position that is not before any of these, compared by time or by id."""
    known = list(positions)
    times = [one.created_at for one in known if one.created_at is not None]
    return Position(max(times, default=None), max(one.id for one in known))


def _strings(values: Any) -> frozenset[str]:
    """Return the strings of a list; none of anything else."""
    found = values if isinstance(values, list) else []
    return frozenset(value for value in found if isinstance(value, str))


def split_at_limit(ended: list[T], limit: int) -> tuple[list[T], list[T]]:
    """Split ended builds, oldest first, into those over the limit and the newest ones to report."""
    kept = ended[-limit:] if limit > 0 else []
    return ended[: len(ended) - len(kept)], kept


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
