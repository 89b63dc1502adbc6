"""The lists that watchers read: one for all watchers of a connection, and one when each starts.

Each read is written as steps that the client performs; see :mod:`api.paging`.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_buildpixel.api.endpoints import list_builds
from airflow_provider_buildpixel.api.paging import at_most
from airflow_provider_buildpixel.builds.list_order import (
    ALL,
    ONLY_LIVE,
    ListOrder,
    Since,
    read_builds,
)
from airflow_provider_buildpixel.builds.search import LOOK_BACK, by_creation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_buildpixel.api.endpoints import Call, Page
    from airflow_provider_buildpixel.api.model import Build
    from airflow_provider_buildpixel.api.paging import Steps
    from airflow_provider_buildpixel.builds.request import BuildFilter


FULL_READ_INTERVAL = 3600.0
"""Seconds between full reads, which forget what was known of the order of the list."""

MAX_WHOLE_PAGES = 10
"""Requests of a read between full reads; a list that needs more counts as long."""


class ListRead(NamedTuple):
    """The builds of one read.

    :param is_full: whether all builds since the last full read are in it.
    """

    builds: list[Build]
    is_full: bool


class SharedList:
    """Reads the list of all builds of a connection, each time since the last read.

    Where it is not proven that new builds come first, a read goes through the whole list. If that
    takes more than ``MAX_WHOLE_PAGES`` requests, it is done once per hour. In between, the first
    page and the builds that have not ended are read: watchers track these, and read them by id at
    their end. Only builds that start and end between two polls may have to wait for the full read.
    """

    def __init__(self) -> None:
        self._order = ListOrder()
        self._since: Since | None = None
        self._is_long = False
        self._full_read_at = -inf

    def read(self, now: float) -> Steps[ListRead]:
        """Return the builds since the last read, as far as the list is not too long.

        :param now: seconds on a clock that is never set back.
        """
        if now >= self._full_read_at:
            self._order = ListOrder()
            builds = yield from self._read_since()
            self._full_read_at = now + FULL_READ_INTERVAL
            self._is_long = False
            return ListRead(self._with_since(builds), is_full=True)
        if not self._is_long:
            found = yield from at_most(MAX_WHOLE_PAGES, self._read_since())
            if found is not None:
                return ListRead(self._with_since(found), is_full=False)
            self._is_long = True
        live = yield from read_builds(_all_builds, lambda _: ONLY_LIVE, self._order)
        return ListRead([*live.values()], is_full=False)

    def _read_since(self) -> Steps[dict[str, Build]]:
        since = self._since
        needed = since_newest if since is None else lambda _: since
        return (yield from read_builds(_all_builds, needed, self._order, all_live=False))

    def _with_since(self, builds: Mapping[str, Build]) -> list[Build]:
        """Return the builds; the next read needs those that are newer."""
        self._since = since_newest(builds, LOOK_BACK) if builds else self._since
        return [*builds.values()]


def since_newest(builds: Mapping[str, Build], look_back: float = 0.0) -> Since:
    """Return the time of creation of the newest build.

    :param look_back: seconds before it: lists may be stale.
    """
    if not builds:
        return ALL
    since = Since.of_build(by_creation(builds.values())[-1])
    return since if since.at is None else Since(since.at - look_back, since.build_id)


def read_start(build_filter: BuildFilter) -> Steps[list[Build]]:
    """Return the builds from which a watcher starts: the newest, and all that have not ended."""
    listed = yield from read_builds(build_filter.list_call, since_newest, ListOrder())
    return [build_filter.complete(build) for build in listed.values()]


def read_missed(build_filter: BuildFilter, since: Since) -> Steps[list[Build]]:
    """Return the builds since some time, for a watcher that continues."""
    listed = yield from read_builds(
        build_filter.list_call, lambda _: since, ListOrder(), all_live=False
    )
    return [build_filter.complete(build) for build in listed.values()]


def _all_builds(status: str | None) -> Call[Page[Build]]:
    return list_builds(status=status)
