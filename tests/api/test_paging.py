from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_buildpixel.api.endpoints import (
    MAX_PAGE_ITEMS,
    Page,
    get_build,
    list_builds,
    list_projects,
)
from airflow_provider_buildpixel.api.model import Build, Status
from airflow_provider_buildpixel.api.paging import Pager, at_most
from airflow_provider_buildpixel.api.sessions import UnreadableRows
from airflow_provider_buildpixel.exceptions import NotFound, UnexpectedAnswer
from tests.api.list_service import ListService, make_build

if TYPE_CHECKING:
    from airflow_provider_buildpixel.api.paging import Steps


def three_builds() -> list[Build]:
    """Return three builds, the newest first."""
    return [make_build(number, age=60.0 * number) for number in range(3)]


def read_pages() -> Steps[list[Build]]:
    """Read all builds, page by page."""
    pager, found = Pager(list_builds()), list[Build]()
    while pager.call is not None:
        found += pager.take_page((yield pager.call))
    return found


@pytest.mark.parametrize(("count", "is_enough"), [(2, False), (3, True), (4, True)])
def test_at_most_so_many_requests(count: int, *, is_enough: bool) -> None:
    """Steps that need more requests than are allowed end without a value."""
    service = ListService.of(three_builds(), page_size=1)
    found = service.run(at_most(count, read_pages()))
    assert (found is not None and len(found) == 3) is is_enough
    assert service.counts() == {"list all": min(count, 3)}


def test_steps_are_closed_at_the_limit() -> None:
    """Steps that are not continued can release what they hold."""
    closed = []

    def steps() -> Steps[None]:
        try:
            while True:
                yield list_builds()
        finally:
            closed.append(True)

    unfinished = steps()
    assert ListService().run(at_most(1, unfinished)) is None
    assert closed == [True]
    assert next(unfinished, None) is None


def test_steps_of_which_a_call_finds_nothing() -> None:
    """A call that finds nothing raises its error in the steps, which may go on."""

    def steps() -> Steps[str]:
        try:
            yield get_build("gone")
        except NotFound:
            build = yield get_build(known.id)
            return str(build.id)
        return "found"

    known = make_build(1)
    service = ListService.of([known])
    assert service.run(at_most(2, steps())) == known.id
    assert service.run(at_most(1, steps())) is None


def test_repeated_rows_are_dropped() -> None:
    """A cursor that counts rows repeats some, which are returned once; others may lack an id."""
    pager = Pager(list_builds())
    first, second, third = three_builds()
    assert pager.take_page(Page((first, second), "2")) == (first, second)
    assert pager.take_page(Page((second, third, third))) == (third,)
    rows: Pager[Any] = Pager(list_builds())
    assert rows.take_page(Page(({"id": "a"}, {"id": "a"}, {}, {}, 7))) == ({"id": "a"}, {}, {}, 7)


@pytest.mark.parametrize("row", [None, {"id": "b", "status": None}, {"status": "running"}, []])
def test_a_row_that_cannot_be_read(row: Any) -> None:
    """Such a row is left out and counted, and the others are read."""
    good = {"id": "b1", "status": "running"}
    page = list_builds().parse({"items": [row, good, row], "nextCursor": "next"})
    assert page == Page((Build("b1", Status("running")),), "next", unreadable=2)


def test_unreadable_rows_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """One warning tells that a list has rows that cannot be read; other lists have their own."""
    log, page = UnreadableRows(), Page[Build]((), None, unreadable=2)
    for call in (list_builds(), list_builds(status="failed"), list_projects()):
        log.log(call, Page(()))
        log.log(call, "no page")
        log.log(call, page)
    assert [record.getMessage().partition(";")[0] for record in caplog.records] == [
        "GET /builds: 2 rows of BuildPixel's list cannot be read and are left out",
        "GET /projects: 2 rows of BuildPixel's list cannot be read and are left out",
    ]


def test_a_page_that_is_too_long() -> None:
    """Parsing a very long page would block an event loop, so it is an error."""
    assert len(list_builds().parse([None] * MAX_PAGE_ITEMS).items) == 0
    with pytest.raises(UnexpectedAnswer, match="too long"):
        list_builds().parse([None] * (MAX_PAGE_ITEMS + 1))
