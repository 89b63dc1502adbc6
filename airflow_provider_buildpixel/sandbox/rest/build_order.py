"""The order of GET /builds, under each variant of the contract."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_buildpixel.sandbox.world.errors import invalid
from airflow_provider_buildpixel.sandbox.world.model import LIVE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_buildpixel.sandbox.world.model import StoredBuild
    from airflow_provider_buildpixel.sandbox.world.world import World

# From a build and the time of the request; groups are in ascending order of these texts.
GROUPS: dict[str, Callable[[StoredBuild, float], str]] = {
    "random": lambda build, _: hashlib.sha1(build.id.encode(), usedforsecurity=False).hexdigest(),
    "ended-first": lambda build, at: "live" if build.status_at(at) in LIVE else "ended",
    "live-first": lambda build, at: "1 live" if build.status_at(at) in LIVE else "2 ended",
    "by-status": lambda build, at: build.status_at(at),
    "by-branch": lambda build, _: build.branch,
    "by-project": lambda build, _: build.project.id,
    "by-setting": lambda build, _: build.setting["id"],
    "by-platform": lambda build, _: build.setting["platform"],
    "by-build-type": lambda build, _: build.setting["buildType"],
}


@dataclass(frozen=True)
class Position:
    """The place of a build in the list when it was listed, even if its status changes later."""

    group: str
    age_key: tuple[float, int]

    @classmethod
    def parse(cls, key: str) -> Position:
        """Return the position in the key of a cursor.

        :raises ApiError: if the key is not one of a build.
        """
        try:
            group, created_at, number = json.loads(key)
            return cls(str(group), (float(created_at), int(number)))
        except (TypeError, ValueError) as error:
            raise invalid("This cursor is not one of ours.") from error

    @property
    def key(self) -> str:
        """Return the key for a cursor."""
        return json.dumps([self.group, *self.age_key])


def ordered_builds(world: World, key: str | None, at: float) -> Iterator[tuple[str, StoredBuild]]:
    """Yield the builds after a position, each with the key of its own position.

    :param key: the key of the position; None for all builds.
    :param at: the time as of which statuses are compared.
    """
    order = world.variants.builds_order
    start = None if key is None else Position.parse(key)
    if order not in GROUPS:
        builds = _by_age(world, start, newest_first=order == "newest")
        return ((Position("", build.age_key).key, build) for build in builds)
    group = GROUPS[order]
    builds = reversed([world.builds[build_id] for build_id in world.build_ids])
    placed = [(Position(group(build, at), build.age_key), build) for build in builds]
    placed.sort(key=lambda one: one[0].group)
    return (
        (position.key, build)
        for position, build in placed
        if start is None or _is_after(position, start)
    )


def _by_age(world: World, start: Position | None, *, newest_first: bool) -> Iterator[StoredBuild]:
    def age_key(build_id: str) -> tuple[float, int]:
        return world.builds[build_id].age_key

    ids = world.build_ids
    if newest_first:
        end = len(ids) if start is None else bisect_left(ids, start.age_key, key=age_key)
        places = range(end - 1, -1, -1)
    else:
        first = 0 if start is None else bisect_right(ids, start.age_key, key=age_key)
        places = range(first, len(ids))
    return (world.builds[ids[place]] for place in places)


def _is_after(position: Position, start: Position) -> bool:
    if position.group != start.group:
        return position.group > start.group
    return position.age_key < start.age_key
