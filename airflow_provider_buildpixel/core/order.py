"""Finding the newest builds of a list without reading all of it, though no order is promised.

As a rule a list starts with the newest, and years of builds need not be read for the last one.
But a list can look so and be sorted by something else first, such as the status; then what is
newest is on a later page. So a page is enough only if its ids fall over mixed statuses. Where they
fall, and it may still be grouped, the lists of each status are read as far; else all is read.
"""

from __future__ import annotations

from itertools import groupby, pairwise
from typing import TYPE_CHECKING

from airflow_provider_buildpixel.core.calls import Pager
from airflow_provider_buildpixel.core.model import STATUSES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_provider_buildpixel.core.calls import Call
    from airflow_provider_buildpixel.core.model import Build, Page


def newest_first(builds: Sequence[Build]) -> bool:
    """Tell whether the ids of these builds fall; of one build that says nothing."""
    return len(builds) > 1 and all(one.id > two.id for one, two in pairwise(builds))


def by_age(builds: Sequence[Build]) -> bool:
    """Tell whether a list surely starts with the newest: its ids fall over mixed statuses."""
    runs = [status for status, _ in groupby(build.status for build in builds)]
    return newest_first(builds) and len(runs) > len(set(runs))


class Scan:
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

    def turn(self, page: Page[Build]) -> None:
        """Take the answer to the call, and set the next."""
        builds = self._pager.turn(page)
        self._seen += builds
        enough = self._take(builds) and newest_first(self._seen)
        if enough and self._pager.call is not None:
            self.depth = max(self.depth, builds[-1].id)
            self._next(sure=by_age(self._seen))
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
