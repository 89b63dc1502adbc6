from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from airflow_provider_buildpixel.api.endpoints import Page
from airflow_provider_buildpixel.api.model import STATUSES, Build, Status
from airflow_provider_buildpixel.api.paging import ListScan
from airflow_provider_buildpixel.builds.search import BuildQuery, NewestMatch
from airflow_provider_buildpixel.exceptions import InvalidRequest
from tests.strategies import EXAMPLES, JSON, OBJECTS


@EXAMPLES
@given(JSON | OBJECTS)
def test_any_json_is_a_query_or_an_error(data: Any) -> None:
    """Any stored value is parsed as a query or raises InvalidRequest."""
    try:
        query = BuildQuery.from_json(data)
    except InvalidRequest:
        return
    assert BuildQuery.from_json(query.to_json()) == query


def test_a_query_without_fields_is_refused() -> None:
    """A query without a field would match any build."""
    with pytest.raises(InvalidRequest, match="has no fields"):
        BuildQuery.from_json({"project_id": None, "odd": 1})
    assert BuildQuery.from_json({"branch": "main"}) == BuildQuery(branch="main")
    assert BuildQuery.from_json(BuildQuery("p").to_json()) == BuildQuery("p")


def build(identity: str, status: str = "pending", **fields: Any) -> Build:
    """Return a build."""
    return Build(identity, Status(status), **fields)


@pytest.mark.parametrize(
    ("query", "fields", "is_match"),
    [
        ({"project_id": "p"}, {"project_id": "p"}, True),
        ({"project_id": "p"}, {"project_id": "q"}, False),
        ({"branch": "main"}, {}, True),
        ({"commit": "abc"}, {"commit": "ABCDEF"}, True),
        ({"commit": "abc"}, {"commit": "def"}, False),
        ({"commit": "abc"}, {}, False),
    ],
)
def test_matches(query: dict[str, Any], fields: dict[str, Any], *, is_match: bool) -> None:
    """A build matches if no known field differs; a requested commit must be known."""
    assert BuildQuery(**query).matches(build("b", **fields)) is is_match


def test_title_and_call_of_a_query() -> None:
    """A query has a title, a call that lists matching builds, and finds the newest of them."""
    query = BuildQuery("p", branch="main")
    assert query.title == "a build with project_id p, branch main"
    assert dict(query.list_call().query) == {"projectId": "p", "branch": "main", "limit": "100"}
    assert query.newest_match([build("b1"), build("b3"), build("b2")]) == build("b3")
    assert query.newest_match([]) is None


def scanned(
    match: NewestMatch, pages: list[tuple[Build, ...]], by_status: tuple[Build, ...] = ()
) -> tuple[int, list[str]]:
    """Scan pages; return how many were read, and of which statuses lists were read after that.

    :param by_status: the builds in the lists of one status.
    """
    scan = ListScan(BuildQuery(branch="main").list_call, match.add_page)
    pages_read, statuses = 0, list[str]()
    while scan.call is not None:
        status = dict(scan.call.query).get("status")
        if status is not None:
            statuses.append(status)
            scan.take_page(Page(tuple(one for one in by_status if one.status == status)))
            continue
        pages_read += 1
        cursor = str(pages_read) if pages_read < len(pages) else None
        scan.take_page(Page(pages[pages_read - 1], cursor))
    return pages_read, statuses


MIXED = (build("b9", branch="x"), build("b8", "failed", branch="x"), build("b7", branch="x"))


def test_a_scan_stops_at_the_first_match() -> None:
    """In a list that is newest first, the first page with a match ends the scan."""
    match = NewestMatch(BuildQuery(branch="main"))
    known = (build("b6", branch="main"), build("b5", branch="main"))
    assert scanned(match, [MIXED, known, ()]) == (2, [])
    assert match.found == build("b6", branch="main")
    assert match.newest_id == "b9"


def test_a_list_that_may_be_grouped_by_status() -> None:
    """Where ended builds may come first, the list of each status is read."""
    match = NewestMatch(BuildQuery(branch="main"))
    ended = (build("b7", "complete"), build("b6", "complete"))
    live = build("b9", "running")
    assert scanned(match, [ended, ()], (*ended, live)) == (1, list(STATUSES))
    assert (match.found, match.newest_id) == (live, "b9")


def test_an_unsorted_list_is_read_completely() -> None:
    """Where the order is unknown, all pages are read: the newest build may be on the last."""
    match = NewestMatch(BuildQuery(branch="main"))
    pages = [(build("b1"), build("b2")), (build("b0"), build("b5")), ()]
    assert scanned(match, pages) == (3, [])
    assert match.found == build("b5")


def test_a_scan_stops_at_builds_of_an_earlier_scan() -> None:
    """Builds that an earlier scan has read are not read again."""
    match = NewestMatch(BuildQuery(branch="main"), known_newest_id="b7")
    assert scanned(match, [MIXED, ()]) == (1, [])
    assert (match.found, match.newest_id) == (None, "b9")


def test_statuses_are_listed_in_the_order_of_progress() -> None:
    """A build that starts, or ends, between two lists is in the later one."""
    assert STATUSES[:2] == ("pending", "running")
    assert all(Status(status).terminal for status in STATUSES[2:])


def test_lists_of_one_status_are_read_as_deep_as_the_first() -> None:
    """A list of one status is read down to the depth of the others if it is newest first."""
    taken: list[tuple[Build, ...]] = []
    query = BuildQuery(branch="main")

    def add_page(page: tuple[Build, ...]) -> bool:
        taken.append(page)
        return True

    scan = ListScan(query.list_call, add_page)
    scan.take_page(Page((build("b8", "complete"), build("b7", "complete")), "more"))
    scan.take_page(Page((build("b9", "pending"), build("b3", "pending")), "more"))
    assert scan.complete_down_to == "b7"
    while scan.call is not None:
        assert dict(scan.call.query)["status"] != "pending"
        scan.take_page(Page(()))
    assert len(taken) == 2 + len(STATUSES) - 1
