"""Reads paged lists: all items of any list, or the newest builds of a list of builds."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Generic

from airflow_provider_buildpixel.api.endpoints import T
from airflow_provider_buildpixel.api.errors import UnexpectedAnswer
from airflow_provider_buildpixel.api.model import STATUSES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_provider_buildpixel.api.endpoints import Call, Page
    from airflow_provider_buildpixel.api.model import Build


MAX_PAGES = 10_000
"""Maximum pages of a list; a longer list is treated as endless."""


class Pager(Generic[T]):
    """Reads a list page by page; ``call`` is the next call to perform, None after the last page."""

    def __init__(self, call: Call[Page[T]]) -> None:
        self.call: Call[Page[T]] | None = call
        self._first = call
        self._seen: set[str] = set()

    def take_page(self, page: Page[T]) -> tuple[T, ...]:
        """Return the items of a page, and set the next call.

        :raises UnexpectedAnswer: the cursor repeats, or the list has too many pages.
        """
        cursor = page.next_cursor
        if cursor is None:
            self.call = None
            return page.items
        if cursor in self._seen or len(self._seen) >= MAX_PAGES:
            raise UnexpectedAnswer(
                f"{self._first.title}: BuildPixel's list does not end: a cursor was repeated, or "
                f"there are more than {MAX_PAGES} pages; use a filter to shorten it"
            )
        self._seen.add(cursor)
        self.call = replace(self._first, query=(*self._first.query, ("cursor", cursor)))
        return page.items


def is_newest_first(builds: Sequence[Build]) -> bool:
    """Whether the ids of the builds are in descending order; False for fewer than two builds."""
    return len(builds) > 1 and all(build.id > older.id for build, older in pairwise(builds))


def is_surely_newest_first(builds: Sequence[Build]) -> bool:
    """Whether the list certainly starts with the newest builds.

    Its ids are in descending order over mixed statuses, so it is not grouped by status.
    """
    runs = [status for status, _ in groupby(build.status for build in builds)]
    return is_newest_first(builds) and len(runs) > len(set(runs))


class ListScan:
    """Reads a list of builds as far as needed; ``call`` is the next call, None at the end.

    A list that may be grouped by status or unordered is read once per status instead.

    :param list_call: returns the call that lists the builds, all of them or those of one status.
    :param on_page: receives each page, and returns whether builds older than its last are not
        needed.
    """

    def __init__(
        self,
        list_call: Callable[[str | None], Call[Page[Build]]],
        on_page: Callable[[tuple[Build, ...]], bool],
    ) -> None:
        self._list_call = list_call
        self._on_page = on_page
        self._statuses: list[str] | None = None
        self._seen: tuple[Build, ...] = ()
        self._pager: Pager[Build] = Pager(list_call(None))
        self.call: Call[Page[Build]] | None = self._pager.call
        self.complete_down_to = ""
        """The oldest id down to which every build was read; empty if the whole list was read."""

    def take_page(self, page: Page[Build]) -> None:
        """Process the response to ``call``, and set the next call."""
        builds = self._pager.take_page(page)
        self._seen += builds
        enough = self._on_page(builds) and is_newest_first(self._seen)
        if enough and self._pager.call is not None:
            self.complete_down_to = max(self.complete_down_to, builds[-1].id)
            self._end_list(needs_statuses=not is_surely_newest_first(self._seen))
        elif self._pager.call is None:
            self._end_list(needs_statuses=False)
        self.call = self._pager.call

    def _end_list(self, *, needs_statuses: bool) -> None:
        """Continue with the list of the next status, if lists per status are needed."""
        if self._statuses is None:
            self._statuses = list(STATUSES) if needs_statuses else []
        self._seen, self._pager.call = (), None
        if self._statuses:
            self._pager = Pager(self._list_call(self._statuses.pop(0)))
