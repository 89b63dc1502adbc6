"""Reads the builds that something depends on from lists whose order nobody promises.

A list can be sorted and grouped by anything, so it proves only what it shows: :class:`ListOrder`
decides when the builds that were read prove that no needed one was left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from itertools import accumulate, groupby, pairwise
from math import inf
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.api.model import LIVE_STATUSES, STATUSES
from airflow_provider_buildpixel.api.paging import Pager

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_provider_buildpixel.api.endpoints import Call, Page
    from airflow_provider_buildpixel.api.model import Build
    from airflow_provider_buildpixel.api.paging import Steps


MAX_PASSES = 3
"""Times that a list of live builds is read at most, until it shows no further build."""

SAME_TIME = 1.0
"""Seconds by which lists may mix up builds: ids of one second may not sort by creation."""


@dataclass(frozen=True)
class Since:
    """The time from which on builds are needed.

    :param at: seconds since the epoch on the server's clock; infinite if no build is needed.
    :param build_id: a build of about that time, for builds whose time of creation is not known.
    """

    at: float | None = None
    build_id: str | None = None

    @classmethod
    def of_build(cls, build: Build) -> Since:
        """Return the time of creation of a build."""
        created = build.created_at
        return cls(None if created is None else created.timestamp() - SAME_TIME, build.id)

    @property
    def in_list(self) -> Since:
        """The time down to which a sorted list is to be read."""
        return self if self.at is None else replace(self, at=self.at - SAME_TIME)

    def is_after(self, build: Build) -> bool:
        """Return whether a build is certainly older."""
        if self.at is not None and build.created_at is not None:
            return build.created_at.timestamp() < self.at
        return self.at == inf or (self.build_id is not None and build.id < self.build_id)


ALL = Since()
"""Every build is needed, however old."""

ONLY_LIVE = Since(inf)
"""Only the builds that have not ended are needed."""


_GROUPINGS: dict[str, Callable[[Build], Any]] = {
    "status": lambda build: str(build.status),
    "has ended": lambda build: build.status.terminal,
    "projectId": lambda build: build.project_id,
    "buildSettingId": lambda build: build.build_setting_id,
    "platform": lambda build: build.platform,
    "buildType": lambda build: build.build_type,
    "branch": lambda build: build.branch,
}
"""What a list may be grouped by before it is sorted, by the name of the list's filter."""

_STATUS_GROUPINGS = frozenset({"status", "has ended"})


class ListOrder:
    """What is known of the order of a list; it may be kept for later reads of the same list.

    :param wanted: values that all needed builds have, by the name of the list's filter.
    """

    def __init__(self, wanted: Mapping[str, Any] | None = None) -> None:
        self._wanted = wanted or {}
        self._refuted: set[str] = set()
        self._single: dict[str, Any] = {}

    def on_whole_list(self, rows: Sequence[Build]) -> None:
        """Learn from a list that was read to its end: which fields have the same value in all.

        The rows may hide the value of a field by which they are grouped, such as the stream.
        """
        hidden = set() if is_newest_first(rows) else {None}
        for name, value_of in _GROUPINGS.items():
            values = {value_of(build) for build in rows}
            self._single.pop(name, None)
            if len(values) == 1 and values != hidden:
                self._single[name] = values.pop()

    def unproven(self, rows: Sequence[Build], since: Since, filtered: Iterable[str]) -> set[str]:
        """Return the fields that the list may be grouped by, so that needed builds may be missing.

        :param filtered: the names of the filters of the list: they have one value in all rows.
        """
        return {
            name
            for name in _GROUPINGS.keys() - {*filtered}
            if not self._is_no_grouping(name, rows) and not self._has_whole_group(name, rows, since)
        }

    def _is_no_grouping(self, name: str, rows: Sequence[Build]) -> bool:
        """Return whether the list is not grouped by a field: a value came back after another one.

        A field that has one value in the whole list groups nothing, unless another value is wanted:
        its group may come after the last page.
        """
        values = [_GROUPINGS[name](build) for build in rows]
        runs = [value for value, _ in groupby(values)]
        if len(runs) > len(set(runs)):
            self._refuted.add(name)
        if name in self._refuted:
            return True
        is_single = name in self._single and {self._single[name]} == {*values}
        return is_single and self._wanted.get(name) in (None, self._single[name])

    def _has_whole_group(self, name: str, rows: Sequence[Build], since: Since) -> bool:
        """Return whether rows go back far enough in the group of all needed builds."""
        wanted, value_of = self._wanted.get(name), _GROUPINGS[name]
        return wanted is not None and any(
            value_of(build) == wanted and since.is_after(build) for build in rows
        )


def is_newest_first(rows: Sequence[Build]) -> bool:
    """Return whether builds are sorted, the newest first; False if they are of the same time."""
    times = [build.created_at.timestamp() for build in rows if build.created_at is not None]
    if len(times) < len(rows):
        return len(rows) > 1 and all(build.id > older.id for build, older in pairwise(rows))
    is_falling = all(
        time <= oldest + SAME_TIME
        for oldest, time in zip(accumulate(times, min), times, strict=True)
    )
    return is_falling and bool(times) and times[-1] < times[0] - SAME_TIME


Needed = Callable[[Mapping[str, "Build"]], Since]
"""Returns, from the builds that were read so far, since when ended builds are needed."""


def read_builds(
    list_call: Callable[[str | None], Call[Page[Build]]],
    needed: Needed,
    order: ListOrder,
    *,
    all_live: bool = True,
) -> Steps[dict[str, Build]]:
    """Return builds by id: all ended ones since some time, and all that have not ended.

    The first page is enough if the list has no further one. Otherwise, builds that have not ended
    are read from the lists of their statuses, which are short, and ended ones from the list of all
    builds, as far as its order is proven. Where it may be grouped by status, they are read from
    the list of each status; where nothing else is proven, the list is read to its end.

    :param list_call: returns the call that lists the builds of one status, or of all.
    :param needed: since when ended builds are needed.
    :param order: what is known of the order of the list.
    :param all_live: whether builds that have not ended are needed, however old they are.
    """
    reader = _ListReader(list_call, needed, order)
    rest = yield from reader.read_all(all_live=all_live)
    if rest is _Rest.NOTHING:
        return reader.builds
    unknown = {build.status for build in reader.builds.values()} - {*STATUSES}
    live = (*LIVE_STATUSES, *sorted(unknown))
    for status in live:
        yield from reader.read_live(status)
    for status in STATUSES if rest is _Rest.BY_STATUS else ():
        if status not in live:
            yield from reader.read_ended(status)
    return reader.builds


class _Rest(Enum):
    """What is to be read after the list of all builds."""

    NOTHING = 0
    LIVE = 1  # the lists of live statuses
    BY_STATUS = 2  # the lists of all statuses


class _ListReader:
    """The lists that :func:`read_builds` reads, and the builds that they have shown."""

    def __init__(
        self,
        list_call: Callable[[str | None], Call[Page[Build]]],
        needed: Needed,
        order: ListOrder,
    ) -> None:
        self._list_call = list_call
        self._needed = needed
        self._order = order
        self.builds: dict[str, Build] = {}

    def read_all(self, *, all_live: bool) -> Steps[_Rest]:
        """Read the list of all builds as far as it helps; return what is to be read after it."""
        call = self._list_call(None)
        filtered = {name for name, _ in call.query}
        rows: list[Build] = []
        pager = Pager(call)
        while pager.call is not None:
            rows += self._take(pager, (yield pager.call))
            if not pager.is_at_end and _is_check_due(pager.pages):
                rest = self._rest_after(rows, filtered, all_live=all_live)
                if rest is not None:
                    return rest
        self._order.on_whole_list(rows)
        return _Rest.LIVE if all_live and pager.pages > 1 else _Rest.NOTHING

    def _rest_after(
        self, rows: Sequence[Build], filtered: set[str], *, all_live: bool
    ) -> _Rest | None:
        """Return what is to be read after some pages; None if it is the next page."""
        since = self._needed(self.builds).in_list
        if since == ONLY_LIVE:
            return _Rest.LIVE
        if not is_newest_first(rows):
            return None
        unproven = self._order.unproven(rows, since, filtered)
        if "status" in unproven and unproven <= _STATUS_GROUPINGS:
            return _Rest.BY_STATUS
        if not _shows_needed_ended(rows, since, unproven):
            return None
        return _Rest.LIVE if all_live or unproven else _Rest.NOTHING

    def read_live(self, status: str) -> Steps[None]:
        """Read the list of a status to its end.

        Rows move up while builds leave the list, so a list of several pages is read again until it
        shows no build that an earlier pass has not shown.
        """
        seen: set[str] = set()
        for _ in range(MAX_PASSES):
            known, pager = len(seen), Pager(self._list_call(status))
            while pager.call is not None:
                page = yield pager.call
                seen |= {build.id for build in self._take(pager, page)}
            if pager.pages == 1 or len(seen) == known:
                return

    def read_ended(self, status: str) -> Steps[None]:
        """Read the list of a status of ended builds, as far as its order is proven."""
        call = self._list_call(status)
        filtered = {name for name, _ in call.query} | {"has ended"}
        rows: list[Build] = []
        pager = Pager(call)
        while pager.call is not None:
            rows += self._take(pager, (yield pager.call))
            if _is_check_due(pager.pages) and self._shows_needed(rows, filtered):
                return

    def _shows_needed(self, rows: Sequence[Build], filtered: set[str]) -> bool:
        """Return whether the first rows of a list have all builds that are needed."""
        since = self._needed(self.builds).in_list
        is_proven = is_newest_first(rows) and since.is_after(rows[-1])
        return is_proven and not self._order.unproven(rows, since, filtered)

    def _take(self, pager: Pager[Build], page: Page[Build]) -> tuple[Build, ...]:
        self.builds |= {build.id: build for build in page.items}
        return pager.take_page(page)


def _is_check_due(pages: int) -> bool:
    """Return whether the rows are checked after so many pages.

    Each check goes through all rows, so a long list is checked more rarely, and then read up to a
    tenth further than needed.
    """
    return pages % max(1, pages // 10) == 0


def _shows_needed_ended(rows: Sequence[Build], since: Since, unproven: set[str]) -> bool:
    """Return whether the rows of a sorted list have all ended builds that are needed.

    :param unproven: what the list may be grouped by.
    """
    if not unproven:
        return since.is_after(rows[-1])
    return unproven == {"has ended"} and any(
        build.status.terminal and since.is_after(build) for build in rows
    )
