"""Searches lists for builds: the newest one that matches, live ones, and the one that came next.

Each search is written as steps that either client performs; see :mod:`api.paging`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_buildpixel.api import endpoints
from airflow_provider_buildpixel.api.errors import NotFound, ServerFault, UnexpectedAnswer
from airflow_provider_buildpixel.api.paging import Pager
from airflow_provider_buildpixel.builds.list_order import (
    ALL,
    ONLY_LIVE,
    ListOrder,
    Since,
    read_builds,
)
from airflow_provider_buildpixel.builds.request import (
    Match,
    kind_of_build,
    projects_without_lines,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from airflow_provider_buildpixel.api.model import Build
    from airflow_provider_buildpixel.api.paging import Steps
    from airflow_provider_buildpixel.builds.request import BuildFilter
    from airflow_provider_buildpixel.builds.request_window import RequestWindow


LOOK_BACK = 120.0
"""Seconds before a search from which the next search reads: lists may be stale."""

ORDER_INTERVAL = 3600.0
"""Seconds for which what is known of the order of a list is used: a new project or platform can
form a new group at its end."""

MAX_READS = 500
"""Builds that one search reads by id: list rows can lack the fields that decide."""

MAX_NEWER = 50
"""Builds that the search for the one that superseded a build reads by id at most."""


def by_creation(builds: Iterable[Build]) -> list[Build]:
    """Return builds in the order of their creation, the oldest first.

    Ids of one second may not sort among themselves, so the time of creation decides where it is
    known of every build.
    """
    known = list(builds)
    if any(build.created_at is None for build in known):
        return sorted(known, key=lambda build: build.id)
    return sorted(known, key=lambda build: (build.created_at, build.id))


def read_lines(builds: Iterable[Build], lines: dict[str, str | None]) -> Steps[None]:
    """Add the branches or streams of build settings that builds without their own one have.

    :param lines: by the id of the setting; None where the setting does not exist any more.
    """
    known = list(builds)
    for project_id in sorted(projects_without_lines(known, lines)):
        pager = Pager(endpoints.list_build_settings(project_id))
        while pager.call is not None:
            try:
                page = yield pager.call
            except NotFound:
                break
            lines |= {one.id: one.branch_or_stream for one in pager.take_page(page)}
    for build in known:
        if not build.branch and build.build_setting_id:
            lines.setdefault(build.build_setting_id, None)


def read_build(build_id: str, listed: Build | None = None) -> Steps[Build | None]:
    """Return a build with all its fields; None if it does not exist.

    :param listed: the build as a list shows it; it is returned if BuildPixel cannot give this one
        build, while other requests succeed.
    """
    try:
        build: Build = yield endpoints.get_build(build_id)
    except NotFound:
        return None
    except (ServerFault, UnexpectedAnswer):
        if listed is None:
            raise
        return listed
    return build


class NewestMatch:
    """Searches for the newest build that matches, again and again until there is one.

    The first search reads all builds. Later ones read what is new, and the live builds of which it
    is not known yet whether they match, such as queued builds without a commit.
    """

    def __init__(self, build_filter: BuildFilter) -> None:
        self.build_filter = build_filter
        self._order = ListOrder(build_filter.wanted)
        self._order_at: float | None = None
        self._lines: dict[str, str | None] = {}
        self._since = ALL
        self._undecided: dict[str, Build] = {}
        self._rejected: set[str] = set()

    def search(self, now: float) -> Steps[Build | None]:
        """Return the newest build that matches; None if there is none yet.

        :param now: seconds since the epoch on the server's clock.
        """
        if self._order_at is None or now - self._order_at > ORDER_INTERVAL:
            self._order, self._order_at = ListOrder(self.build_filter.wanted), now
        listed = yield from read_builds(
            self.build_filter.list_call, self._needed_since, self._order, all_live=False
        )
        candidates = self._undecided | listed
        reads = 0
        for build in reversed(by_creation(map(self.build_filter.complete, candidates.values()))):
            if build.id in self._rejected:
                continue
            match = yield from self._compare(build)
            if match is Match.MAYBE:
                if reads == MAX_READS:
                    return None
                reads += 1
                match = yield from self._decide(build)
            if match is Match.YES:
                return build
        self._since = Since(now - LOOK_BACK)
        return None

    def _needed_since(self, builds: Mapping[str, Build]) -> Since:
        matching = [
            build
            for build in map(self.build_filter.complete, builds.values())
            if self.build_filter.compare(build, self._lines) is Match.YES
        ]
        return Since.of_build(by_creation(matching)[-1]) if matching else self._since

    def _compare(self, build: Build) -> Steps[Match]:
        """Return whether a build matches, with the stream of its setting if that decides."""
        match = self.build_filter.compare(build, self._lines)
        if match is Match.MAYBE and self.build_filter.branch:
            yield from read_lines([build], self._lines)
            match = self.build_filter.compare(build, self._lines)
        return match

    def _decide(self, listed: Build) -> Steps[Match]:
        """Read a build whose row did not decide; keep it if it is live and still undecided."""
        build_id = listed.id
        self._undecided.pop(build_id, None)
        build = yield from read_build(build_id, listed)
        match = Match.NO if build is None else (yield from self._compare(build))
        if build and match is Match.MAYBE and not build.status.terminal:
            self._undecided[build_id] = build
        elif build and match is not Match.YES:
            self._rejected.add(build_id)
        return match


def builds_of_kind(
    kind: BuildFilter, lines: dict[str, str | None], since: Since = ONLY_LIVE
) -> Steps[list[Build]]:
    """Return all live builds of a kind, and builds that have ended as far as they were listed.

    :param kind: project, platform, build type and branch; the branch may differ.
    :param lines: see :func:`read_lines`; those of the returned builds are added.
    :param since: since when all ended builds are needed, too.
    """
    listed = yield from read_builds(kind.list_call, lambda _: since, ListOrder(kind.wanted))
    builds = []
    for row in by_creation(map(kind.complete, listed.values())):
        # A row without a branch may be brief; its setting tells the branch only if it does not.
        is_brief = not row.branch and not row.status.terminal
        full = (yield from read_build(row.id, row)) if is_brief else None
        builds.append(full or row)
    yield from read_lines((build for build in builds if not build.status.terminal), lines)
    return builds


def confirm_first(
    live: Sequence[Build], kind: BuildFilter, lines: dict[str, str | None]
) -> Steps[tuple[Build, ...]]:
    """Return the live builds without those at the front that are not live, or of another kind.

    The first one was read by id: a row can be stale, or lack the fields that decide.

    :param live: the builds as listed.
    :param kind: project, platform, build type and branch.
    :param lines: see :func:`read_lines`.
    """
    for index, listed in enumerate(live):
        build = yield from read_build(listed.id, listed)
        if build is None or build.status.terminal:
            continue
        yield from read_lines([build], lines)
        if kind.compare(build, lines) is not Match.NO:
            return (build, *live[index + 1 :])
    return ()


def read_all(listed: Iterable[Build], lines: dict[str, str | None]) -> Steps[list[Build]]:
    """Return builds as read by id, without those that do not exist."""
    found = []
    for row in listed:
        build = yield from read_build(row.id, row)
        found += [build] if build else []
    yield from read_lines(found, lines)
    return found


def builds_in_window(
    target: BuildFilter, window: RequestWindow, lines: dict[str, str | None]
) -> Steps[list[Build]]:
    """Return the builds that may have been started while a request can have run, oldest first.

    Rows that do not tell when their builds were created, by whom, or what they are of, are read by
    id.

    :param lines: see :func:`read_lines`; those of the returned builds are added.
    """
    since = Since(window.starts_at)
    listed = yield from read_builds(target.list_call, lambda _: since, ListOrder(target.wanted))
    found, reads = [], 0
    for row in by_creation(map(target.complete, listed.values())):
        build = row
        if since.is_after(row) or row.id in window.known_ids:
            continue
        tells_all = row.created_at and row.triggered_by and target.compare(row) is not Match.MAYBE
        if not tells_all and reads < MAX_READS:
            reads += 1
            build = (yield from read_build(row.id, row)) or row
        found.append(build)
    yield from read_lines(found, lines)
    return found


def newer_build(build: Build) -> Steps[Build | None]:
    """Return the build that superseded a build: the next one of the same kind.

    Return None if the lists do not show it, or if it is not certain which one it is.
    """
    lines: dict[str, str | None] = {}
    yield from read_lines([build], lines)
    kind, since = kind_of_build(build, lines), Since.of_build(build)
    if kind.branch is None:
        return None
    listed = yield from read_builds(kind.list_call, lambda _: since, ListOrder(kind.wanted))
    reads = 0
    for one in by_creation(map(kind.complete, listed.values())):
        if one.id == build.id or not _is_later(one, build):
            continue
        yield from read_lines([one], lines)
        match, found = kind.compare(one, lines), one
        is_brief = not one.branch or one.created_at is None
        if (match is Match.MAYBE or is_brief) and reads < MAX_NEWER:
            reads += 1
            full = yield from read_build(one.id, one)
            found = full or one
            yield from read_lines([found], lines)
            match = kind.compare(found, lines)
        if match is Match.YES and _is_later(found, build):
            return found
    return None


def _is_later(build: Build, than: Build) -> bool:
    """Return whether a build was created after another one.

    Of two builds of the same instant, the one that was superseded is the older.
    """
    if build.created_at is None or than.created_at is None:
        return build.id > than.id
    if build.created_at == than.created_at:
        return build.id > than.id or not build.status.superseded
    return build.created_at > than.created_at
