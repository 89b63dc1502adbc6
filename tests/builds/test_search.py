from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from airflow_provider_buildpixel.api.model import STATUSES, Build, Page, Status
from airflow_provider_buildpixel.api.paging import ListScan
from airflow_provider_buildpixel.builds.search import BuildQuery, NewestMatch
from airflow_provider_buildpixel.exceptions import InvalidRequest
from tests.strategies import EXAMPLES, JSON, OBJECTS


@EXAMPLES
@given(JSON | OBJECTS)
def test_any_json_is_a_search_or_refused(data: Any) -> None:
    """Whatever was stored, it is a search or an InvalidRequest."""
    try:
        search = BuildQuery.from_json(data)
    except InvalidRequest:
        return
    assert BuildQuery.from_json(search.to_json()) == search


def test_nothing_to_look_for_is_refused() -> None:
    """A search without a field would find any build."""
    with pytest.raises(InvalidRequest, match="nothing says"):
        BuildQuery.from_json({"project_id": None, "odd": 1})
    assert BuildQuery.from_json({"branch": "main"}) == BuildQuery(branch="main")
    assert BuildQuery.from_json(BuildQuery("p").to_json()) == BuildQuery("p")


def build(identity: str, status: str = "pending", **fields: Any) -> Build:
    """Make a build."""
    return Build(identity, Status(status), **fields)


@pytest.mark.parametrize(
    ("search", "fields", "fits"),
    [
        ({"project_id": "p"}, {"project_id": "p"}, True),
        ({"project_id": "p"}, {"project_id": "q"}, False),
        ({"branch": "main"}, {}, True),
        ({"commit": "abc"}, {"commit": "ABCDEF"}, True),
        ({"commit": "abc"}, {"commit": "def"}, False),
        ({"commit": "abc"}, {}, False),
    ],
)
def test_fits(search: dict[str, Any], fields: dict[str, Any], *, fits: bool) -> None:
    """A build fits if no known field differs; a commit must be known."""
    assert BuildQuery(**search).matches(build("b", **fields)) is fits


def test_a_search_names_and_asks() -> None:
    """A search says what it looks for, and asks for a list that has it."""
    search = BuildQuery("p", branch="main")
    assert search.title == "a build with project_id p, branch main"
    assert dict(search.listed().query) == {"projectId": "p", "branch": "main", "limit": "100"}
    assert search.newest([build("b1"), build("b3"), build("b2")]) == build("b3")
    assert search.newest([]) is None


def swept(
    sweep: NewestMatch, pages: list[tuple[Build, ...]], ended: tuple[Build, ...] = ()
) -> tuple[int, list[str]]:
    """Turn pages; give how many were wanted, and of which statuses the lists were wanted then.

    :param ended: what the list of each status has.
    """
    scan, turned, statuses = ListScan(BuildQuery(branch="main").listed, sweep.take), 0, list[str]()
    while scan.call is not None:
        status = dict(scan.call.query).get("status")
        if status is not None:
            statuses.append(status)
            scan.take_page(Page(tuple(one for one in ended if one.status == status)))
            continue
        turned += 1
        scan.take_page(Page(pages[turned - 1], str(turned) if turned < len(pages) else None))
    return turned, statuses


MIXED = (build("b9", branch="x"), build("b8", "failed", branch="x"), build("b7", branch="x"))


def test_a_sweep_goes_no_further_than_needed() -> None:
    """Newest first, the first page that has one ends the sweep."""
    sweep = NewestMatch(BuildQuery(branch="main"))
    known = (build("b6", branch="main"), build("b5", branch="main"))
    assert swept(sweep, [MIXED, known, ()]) == (2, [])
    assert sweep.found == build("b6", branch="main")
    assert sweep.newest == "b9"


def test_a_sweep_of_a_list_that_may_be_grouped() -> None:
    """Where what has ended may come first, the newest is looked for among each status."""
    sweep = NewestMatch(BuildQuery(branch="main"))
    ended = (build("b7", "complete"), build("b6", "complete"))
    live = build("b9", "running")
    assert swept(sweep, [ended, ()], (*ended, live)) == (1, list(STATUSES))
    assert (sweep.found, sweep.newest) == (live, "b9")


def test_a_sweep_of_an_unsorted_list_reads_all() -> None:
    """Where the order is unknown, the newest may be on the last page."""
    sweep = NewestMatch(BuildQuery(branch="main"))
    pages = [(build("b1"), build("b2")), (build("b0"), build("b5")), ()]
    assert swept(sweep, pages) == (3, [])
    assert sweep.found == build("b5")


def test_a_sweep_stops_at_what_was_seen() -> None:
    """What an earlier sweep saw is not looked through again."""
    sweep = NewestMatch(BuildQuery(branch="main"), seen="b7")
    assert swept(sweep, [MIXED, ()]) == (1, [])
    assert (sweep.found, sweep.newest) == (None, "b9")


def test_statuses_are_listed_in_the_order_of_life() -> None:
    """A build that starts, or ends, between two lists is in the later one."""
    assert STATUSES[:2] == ("pending", "running")
    assert all(Status(status).terminal for status in STATUSES[2:])


def test_a_sweep_of_lists_that_are_not_whole() -> None:
    """A list of one status is read to where the others were, if it falls, else to its end."""
    taken: list[tuple[Build, ...]] = []
    search = BuildQuery(branch="main")

    def take(page: tuple[Build, ...]) -> bool:
        taken.append(page)
        return True

    scan = ListScan(search.listed, take)
    scan.take_page(Page((build("b8", "complete"), build("b7", "complete")), "more"))
    scan.take_page(Page((build("b9", "pending"), build("b3", "pending")), "more"))
    assert scan.depth == "b7"
    while scan.call is not None:
        assert dict(scan.call.query)["status"] != "pending"
        scan.take_page(Page(()))
    assert len(taken) == 2 + len(STATUSES) - 1
