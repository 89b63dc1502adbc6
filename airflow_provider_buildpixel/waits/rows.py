"""Lists of builds, parsed no further than thousands of waits need."""

from __future__ import annotations

from typing import Any

from airflow_provider_buildpixel.api import fields
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
    return Page.from_json(data, _parse_row, "builds")


def _parse_row(data: Any) -> Row:
    row = fields.json_object(data, "a build")
    fields.required_text(row, "id", "a build")
    fields.required_text(row, "status", "a build")
    return row


def is_worthwhile(pages: int, found: int, left: int) -> bool:
    """Return whether one more page of ended builds may save more requests than it costs.

    In the worst case, when the list has none of them, it costs a quarter more than single reads.

    :param pages: pages read so far.
    :param found: wanted builds found so far.
    :param left: wanted builds that are still missing.
    """
    return left > 0 and pages < found + max(EXTRA_PAGES, left // 4)
