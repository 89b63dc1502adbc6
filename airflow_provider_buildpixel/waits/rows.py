"""Lists of builds, parsed no further than thousands of waits need."""

from __future__ import annotations

from typing import Any

from airflow_provider_buildpixel.api.endpoints import Call, Page, list_builds
from airflow_provider_buildpixel.api.model import LIVE_STATUSES

LISTED_STATUSES = LIVE_STATUSES
"""The lists that a sweep reads: queued builds first; one that starts meanwhile is in the next."""

EXTRA_PAGES = 3
"""Pages of ended builds that may contain none of the wanted builds: they are older or unordered."""

PAGE_TRIES = 3
"""Requests for one page before its sweep fails."""

Row = dict[str, Any]
"""A build of a list, of which only id and status have been checked to be text."""


def list_rows(status: str) -> Call[Page[Row]]:
    """Return the request that lists the builds of a status as rows."""
    listed = list_builds(status=status)
    return Call(listed.method, listed.path, _parse_page, listed.route, listed.query)


def _parse_page(data: Any) -> Page[Row]:
    """Parse a page; skip unreadable members, so that the others stay readable."""
    members = Page.from_json(data, _parse_row, "builds")
    return Page(tuple(row for row in members.items if row is not None), members.next_cursor)


def _parse_row(data: Any) -> Row | None:
    row = data if isinstance(data, dict) else {}
    build_id, status = row.get("id"), row.get("status")
    named = isinstance(build_id, str) and isinstance(status, str)
    return row if named and build_id and status else None


def is_worthwhile(pages: int, found: int, left: int) -> bool:
    """Return whether one more page of ended builds may save more requests than it costs.

    In the worst case, when the list has none of them, it costs a quarter more than single reads.

    :param pages: pages read so far.
    :param found: wanted builds found so far.
    :param left: wanted builds that are still missing.
    """
    return left > 0 and pages < found + max(EXTRA_PAGES, left // 4)
