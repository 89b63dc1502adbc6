"""Every documented endpoint as a value: one function each, one ``perform`` per shell."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Generic

from airflow_provider_buildpixel.api.endpoints import Call, T
from airflow_provider_buildpixel.api.errors import UnexpectedAnswer
from airflow_provider_buildpixel.api.model import (
    STATUSES,
    Build,
    Page,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_provider_buildpixel.api.endpoints import Call
    from airflow_provider_buildpixel.api.model import Build, Page


MAX_PAGES = 10_000
"""Pages after which a list is taken to be endless."""


class Pager(Generic[T]):
    """Turns the pages of a list; ``call`` is the next to perform, None after the last."""

    def __init__(self, call: Call[Page[T]]) -> None:
        self.call: Call[Page[T]] | None = call
        self._first = call
        self._seen: set[str] = set()

    def take_page(self, page: Page[T]) -> tuple[T, ...]:
        """Take a page, set the next call, and give the members; refuse to go in circles."""
        cursor = page.next_cursor
        if cursor is None:
            self.call = None
            return page.items
        if cursor in self._seen or len(self._seen) >= MAX_PAGES:
            raise UnexpectedAnswer(
                f"{self._first.title}: BuildPixel's list does not end: a cursor came twice, or "
                f"there are over {MAX_PAGES} pages; narrow it with a filter"
            )
        self._seen.add(cursor)
        self.call = replace(self._first, query=(*self._first.query, ("cursor", cursor)))
        return page.items


def newest_first(builds: Sequence[Build]) -> bool:
    """Tell whether the ids of these builds fall; of one build that says nothing."""
    return len(builds) > 1 and all(one.id > two.id for one, two in pairwise(builds))


def surely_newest_first(builds: Sequence[Build]) -> bool:
    """Tell whether a list surely starts with the newest: its ids fall over mixed statuses."""
    runs = [status for status, _ in groupby(build.status for build in builds)]
    return newest_first(builds) and len(runs) > len(set(runs))


class ListScan:
    """Turns the pages of a list of builds, as far as needed; ``call`` is the next to perform.

    :param listed: gives the call of the list, or of what it has of one status.
    :param take: takes each page; tells whether older builds than its last do not matter.
    """

    def __init__(
        self,
        listed: Callable[[str | None], Call[Page[Build]]],
        take: Callable[[tuple[Build, ...]], bool],
    ) -> None:
        self._listed = listed
        self._take = take
        self._statuses: list[str] | None = None
        self._seen: tuple[Build, ...] = ()
        self._pager: Pager[Build] = Pager(listed(None))
        self.call: Call[Page[Build]] | None = self._pager.call
        self.depth = ""
        """The id down to which all is known; empty where nothing was left out."""

    def take_page(self, page: Page[Build]) -> None:
        """Take the answer to the call, and set the next."""
        builds = self._pager.take_page(page)
        self._seen += builds
        enough = self._take(builds) and newest_first(self._seen)
        if enough and self._pager.call is not None:
            self.depth = max(self.depth, builds[-1].id)
            self._next(sure=surely_newest_first(self._seen))
        elif self._pager.call is None:
            self._next(sure=True)
        self.call = self._pager.call

    def _next(self, *, sure: bool) -> None:
        """Go on to the list of the next status, if there must be any."""
        if self._statuses is None:
            self._statuses = [] if sure else list(STATUSES)
        self._seen, self._pager.call = (), None
        if self._statuses:
            self._pager = Pager(self._listed(self._statuses.pop(0)))
