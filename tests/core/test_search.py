from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from airflow_provider_buildpixel.core.model import Build, Status
from airflow_provider_buildpixel.core.search import Search, Sweep
from airflow_provider_buildpixel.exceptions import InvalidRequest
from tests.core.anything import EXAMPLES, JSON, OBJECTS


@EXAMPLES
@given(JSON | OBJECTS)
def test_any_json_is_a_search_or_refused(data: Any) -> None:
    """Whatever was stored, it is a search or an InvalidRequest."""
    try:
        search = Search.from_json(data)
    except InvalidRequest:
        return
    assert Search.from_json(search.to_json()) == search


def test_nothing_to_look_for_is_refused() -> None:
    """A search without a field would find any build."""
    with pytest.raises(InvalidRequest, match="nothing says"):
        Search.from_json({"project_id": None, "odd": 1})
    assert Search.from_json({"branch": "main"}) == Search(branch="main")
    assert Search.from_json(Search("p").to_json()) == Search("p")


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
    assert Search(**search).fits(build("b", **fields)) is fits


def test_a_search_names_and_asks() -> None:
    """A search says what it looks for, and asks for a list that has it."""
    search = Search("p", branch="main")
    assert search.title == "a build with project_id p, branch main"
    assert dict(search.call.query) == {"projectId": "p", "branch": "main", "limit": "100"}
    assert search.newest([build("b1"), build("b3"), build("b2")]) == build("b3")
    assert search.newest([]) is None


def test_a_sweep_goes_no_further_than_needed() -> None:
    """Newest first, the first page that has one ends the sweep."""
    sweep = Sweep(Search(branch="main"))
    assert not sweep.take((build("b9", branch="x"), build("b8", "failed", branch="x")))
    assert sweep.take((build("b7", branch="main"), build("b6", branch="main")))
    assert sweep.found == build("b7", branch="main")
    assert sweep.newest == "b9"


def test_a_sweep_of_a_list_that_may_be_grouped_reads_all() -> None:
    """Where what has ended may come first, the newest build may be on the last page."""
    sweep = Sweep(Search(branch="main"))
    assert not sweep.take((build("b7", "complete"), build("b6", "complete")))
    assert not sweep.take((build("b5", "complete"), build("b9", "running")))
    assert sweep.found == build("b9", "running")


def test_a_sweep_of_an_unsorted_list_reads_all() -> None:
    """Where the order is unknown, the newest may be on the last page."""
    sweep = Sweep(Search(branch="main"))
    assert not sweep.take((build("b1"), build("b2")))
    assert not sweep.take((build("b0"), build("b5")))
    assert not sweep.take(())
    assert sweep.found == build("b5")


def test_a_sweep_stops_at_what_was_seen() -> None:
    """What an earlier sweep saw is not looked through again."""
    sweep = Sweep(Search(branch="main"), seen="b5")
    known = (build("b7", branch="x"), build("b6", "failed", branch="x"), build("b5", branch="x"))
    assert sweep.take(known)
    assert (sweep.found, sweep.newest) == (None, "b7")
