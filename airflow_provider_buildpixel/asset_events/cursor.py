"""Which finished builds a watcher has told of, so that none is missed and none comes twice.

Ids sort by creation, but builds end in another order, so one id cannot be the cursor. It is a
floor, below which nothing matters any more, the ids above it that are settled, and the ids of
builds that were seen under way. A list may be stale and leave out what it showed before: what is
under way is then read by its id, and what appears late, between the settled ones, is still new.
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


MAX_SETTLED = 300
"""Settled ids that are kept; a build that appears later than so many newer ones is missed."""

MAX_LIVE = 1000
"""Open builds that are kept; with the settled ones they fit into Airflow's state store."""

MAX_PAUSE = 600.0
"""Seconds between looks while BuildPixel is in trouble."""


@dataclass(frozen=True)
class BuildFilter:
    """Which builds a watcher wants to hear of; None fits all.

    :param statuses: those that are told; they count as ends even if nobody has heard of them.
    """

    project_id: str | None = None
    build_setting_id: str | None = None
    branch: str | None = None
    statuses: tuple[str, ...] = ("complete",)

    def may_match(self, build: Build) -> bool:
        """Tell whether nothing that is known of a build speaks against it: lists can be brief."""
        return all(have is None or want in (None, have) for want, have in self._pairs(build))

    def matches(self, build: Build) -> bool:
        """Tell whether a build, read in full, is one of those."""
        return all(want in (None, have) for want, have in self._pairs(build))

    def ended(self, build: Build) -> bool:
        """Tell whether nothing more is to be heard of a build."""
        return build.status.terminal or build.status in self.statuses

    def selects(self, build: Build) -> bool:
        """Tell whether a build, read in full, is to be told of."""
        return self.matches(build) and build.status in self.statuses

    def _pairs(self, build: Build) -> tuple[tuple[str | None, str | None], ...]:
        return (
            (self.project_id, build.project_id),
            (self.build_setting_id, build.build_setting_id),
            (self.branch, build.branch),
        )


@dataclass(frozen=True)
class Cursor:
    """How far a watcher has come.

    :param version: how often it was saved; of several copies the newest counts.
    """

    floor: str = ""
    settled: frozenset[str] = frozenset()
    live: frozenset[str] = frozenset()
    version: int = 0

    @classmethod
    def begin(
        cls, newest: Iterable[Build], live: Iterable[Build], interest: BuildFilter, *, depth: str
    ) -> Cursor:
        """Start from now: what has ended is settled, what is under way will be told.

        :param newest: the newest builds; what is older than they are is not news when it shows.
        :param live: builds under way, of any age.
        :param depth: the id down to which they are all there are; empty for all of them.
        """
        known = {build.id: build for build in newest if interest.may_match(build)}
        going = {build.id: build for build in live if interest.may_match(build)} | known
        under_way = {one for one, build in going.items() if not interest.ended(build)}
        started = cls(floor=depth, live=frozenset(under_way))
        for build_id in sorted(one for one in known.keys() - under_way if one > depth):
            started = started.settle(build_id)
        return started

    @classmethod
    def from_json(cls, data: Any) -> Cursor | None:
        """Read what :meth:`to_json` wrote; None if it is something else."""
        if not isinstance(data, dict) or not isinstance(data.get("floor"), str):
            return None
        ids = {key: data.get(key) for key in ("settled", "live")}
        if not all(isinstance(value, list) for value in ids.values()):
            return None
        version = fields.whole(data.get("version")) or 0
        return cls(data["floor"], _texts(ids["settled"]), _texts(ids["live"]), version)

    def to_json(self) -> dict[str, Any]:
        """Give it as plain JSON, of bounded length."""
        return {
            "floor": self.floor,
            "settled": sorted(self.settled),
            "live": sorted(self.live),
            "version": self.version,
        }

    @property
    def newest(self) -> str:
        """The newest build that it knows."""
        return max([self.floor, *self.settled, *self.live])

    def open(self, build_id: str) -> bool:
        """Tell whether there is still something to be told of a build."""
        return build_id in self.live or (build_id > self.floor and build_id not in self.settled)

    def ended(self, builds: Iterable[Build], interest: BuildFilter) -> list[str]:
        """Give the builds whose end is new, the oldest first, as the floor rises over them."""
        return sorted(
            {
                build.id
                for build in builds
                if interest.may_match(build) and interest.ended(build) and self.open(build.id)
            }
        )

    def unseen(self, builds: Iterable[Build]) -> list[str]:
        """Give the builds under way that a list leaves out."""
        return sorted(self.live - {build.id for build in builds})

    def settle(self, build_id: str) -> Cursor:
        """Take a build as told; the oldest of too many settled ones become the floor."""
        settled = sorted(self.settled | {build_id})
        dropped, kept = settled[:-MAX_SETTLED], settled[-MAX_SETTLED:]
        floor = max([self.floor, *dropped])
        return replace(self, floor=floor, settled=frozenset(kept), live=self.live - {build_id})

    def see(self, builds: Iterable[Build], interest: BuildFilter) -> Cursor:
        """Note the builds that are open, so that they are looked for until they are settled."""
        found = {build.id for build in builds if interest.may_match(build) and self.open(build.id)}
        return replace(self, live=frozenset(sorted(self.live | found)[-MAX_LIVE:]))

    def saved(self) -> Cursor:
        """Give what is to be saved next."""
        return replace(self, version=self.version + 1)


def _texts(values: Any) -> frozenset[str]:
    return frozenset(value for value in values if isinstance(value, str))


def split_at_limit(ended: list[str], limit: int) -> tuple[list[str], list[str]]:
    """Part the ends that are too old to be told from those that are."""
    kept = ended[-limit:] if limit > 0 else []
    return ended[: len(ended) - len(kept)], kept


class NewestBuilds:
    """Collects a list from its newest builds down, no further than needed.

    :param known: the newest id of an earlier look: what is older was seen then.
    :param limit: builds after which it is enough in any case.
    """

    def __init__(self, known: str, limit: int) -> None:
        self._known = known
        self._limit = limit
        self._builds: dict[str, Build] = {}

    @property
    def builds(self) -> list[Build]:
        """What was shown, each build once."""
        return list(self._builds.values())

    def take(self, page: Iterable[Build]) -> bool:
        """Take a page; tell whether builds that are older than its last do not matter."""
        last = self._known
        for build in page:
            self._builds[build.id] = build
            last = build.id
        return last <= self._known or len(self._builds) >= self._limit


def state_key(*parts: Any) -> str:
    """Name a watcher's cursor among others of the same asset: by what it watches."""
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode())
    return f"buildpixel_{digest.hexdigest()[:16]}"


def next_pause(
    interval: float, failures: int, error: BuildPixelError | None, jitter: float
) -> float:
    """Give the seconds until the next look.

    :param failures: how many looks have failed in a row.
    """
    if isinstance(error, RateLimited) and error.wait is not None:
        return retry_after_pause(error.wait, jitter, interval)
    usual = interval * (0.9 + jitter / 5)
    return max(usual, min(usual * 2.0 ** min(failures, 16), MAX_PAUSE)) if failures else usual
