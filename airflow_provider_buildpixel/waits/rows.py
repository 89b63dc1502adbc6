"""Lists of builds, read no further than thousands of waits need."""

from __future__ import annotations

from typing import Any

from airflow_provider_buildpixel.api.endpoints import Call, list_builds
from airflow_provider_buildpixel.api.model import LIVE_STATUSES, Page

LISTED_STATUSES = LIVE_STATUSES
"""The lists of a sweep: the queued builds first, as one that starts meanwhile is in the next."""

EXTRA_PAGES = 3
"""Pages of ended builds that may bring nothing: older ends, or in an order that does not help."""

PAGE_TRIES = 3
"""Times that a page is asked for before its sweep is given up."""

Row = dict[str, Any]
"""A build in a list, read no further than its id and status, which are text."""


def list_rows(status: str) -> Call[Page[Row]]:
    """Give the request for the builds of a status, as rows."""
    listed = list_builds(status=status)
    return Call(listed.method, listed.path, _parse_page, listed.route, listed.query)


def _parse_page(data: Any) -> Page[Row]:
    """Read a page; a member that nobody can make out must not spoil the others."""
    members = Page.from_json(data, _parse_row, "builds")
    return Page(tuple(row for row in members.items if row is not None), members.next_cursor)


def _parse_row(data: Any) -> Row | None:
    row = data if isinstance(data, dict) else {}
    build_id, status = row.get("id"), row.get("status")
    named = isinstance(build_id, str) and isinstance(status, str)
    return row if named and build_id and status else None


def is_worthwhile(pages: int, found: int, left: int) -> bool:
    """Tell whether one more page of ended builds may go on sparing more than it costs.

    At worst, when the list brings none of them, it costs a quarter more than single reads.
    """
    return left > 0 and pages < found + max(EXTRA_PAGES, left // 4)
