from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_buildpixel.api.endpoints import list_builds
from airflow_provider_buildpixel.api.model import Build, Status
from airflow_provider_buildpixel.builds import list_order
from airflow_provider_buildpixel.builds.list_order import (
    ALL,
    ONLY_LIVE,
    ListOrder,
    Since,
    is_newest_first,
    read_builds,
)
from tests.api.list_service import NOW, ListService, make_build
from tests.builds.list_worlds import BY_STATUS, random_world

if TYPE_CHECKING:
    from airflow_provider_buildpixel.api.endpoints import Call, Page

MANY_EXAMPLES = settings(max_examples=1000, deadline=None)
SEEDS = st.integers(0, 10**9)


def read_a_random_list(seed: int) -> None:
    """Fail if a read of lists that do not change leaves out a build."""
    world = random_world(seed)
    missing = world.needed() - world.read().keys()
    assert not missing, world.describe(missing)


def read_a_changing_list(seed: int) -> None:
    """Fail if a read of lists that change leaves out a build.

    An ended build may be left out where rows move for two reasons: the list is sorted by status,
    and its cursor counts rows. Then a search is made again.
    """
    world = random_world(seed, changes=True)
    before, live = world.needed(), world.live()
    found = world.read()
    needed = before & live & world.live() if world.all_live else set()
    if world.service.cursor == "key" or world.service.order not in BY_STATUS:
        needed |= before - live
    missing = needed - found.keys()
    assert not missing, world.describe(missing)


@MANY_EXAMPLES
@given(SEEDS)
@example(1)
@example(475)
@example(2238)
def test_every_needed_build_is_read(seed: int) -> None:
    """Whatever the order and grouping of lists, no build is left out that is needed."""
    read_a_random_list(seed)


@MANY_EXAMPLES
@given(SEEDS)
@example(175)
@example(482)
@example(607)
@example(1001323)
def test_builds_that_change_meanwhile(seed: int) -> None:
    """A build that does not end meanwhile is read, although others move from page to page."""
    read_a_changing_list(seed)


CREATED = {
    "falling": (9.0, 5.0, 1.0),
    "of one second": (5.0, 5.9, 1.0),
    "all of one second": (5.9, 5.0, 5.0),
    "just not of one second": (6.0, 5.0, 5.0),
    "of a whole second": (5.0, 6.0, 1.0),
    "rising a little": (5.0, 5.9, 6.8, 1.0),
    "rising": (1.0, 5.0),
    "one": (1.0,),
    "none": (),
}


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ("falling", True),
        ("of one second", True),
        ("of a whole second", True),
        ("all of one second", False),
        ("just not of one second", False),
        ("rising a little", False),
        ("rising", False),
        ("one", False),
        ("none", False),
    ],
)
def test_is_newest_first(times: str, *, expected: bool) -> None:
    """A list counts as sorted if times of creation fall; within a second, they may rise."""
    rows = [make_build(1, age=-time) for time in CREATED[times]]
    assert is_newest_first(rows) is expected


@pytest.mark.parametrize(
    ("ids", "expected"),
    [("cba", True), ("ba", True), ("ab", False), ("bb", False), ("a", False), ("cab", False)],
)
def test_is_newest_first_by_id(ids: str, *, expected: bool) -> None:
    """Where a time of creation is unknown, ids must fall."""
    rows = [Build(one, Status("running")) for one in ids]
    assert is_newest_first(rows) is expected
    assert is_newest_first([replace(rows[0], created_at=datetime.now(UTC)), *rows[1:]]) is expected


@pytest.mark.parametrize(
    ("since", "build", "expected"),
    [
        (ALL, make_build(1, age=9e8), False),
        (ONLY_LIVE, make_build(1), True),
        (ONLY_LIVE, Build("b", Status("running")), True),
        (Since(NOW), make_build(1, age=0.1), True),
        (Since(NOW), make_build(1), False),
        (Since(NOW), Build("b", Status("running")), False),
        (Since(NOW, "c"), Build("b", Status("running")), True),
        (Since(NOW, "b"), Build("b", Status("running")), False),
        (Since(None, "c"), Build("b", Status("running")), True),
    ],
)
def test_a_build_before_a_time(since: Since, build: Build, *, expected: bool) -> None:
    """A build is older by its time of creation, or by its id where the time is not known."""
    assert since.is_after(build) is expected


def test_the_time_of_a_build() -> None:
    """Builds of the same second count as needed; without a time, the id tells which are older."""
    build, unknown = make_build(1), Build("b", Status("running"))
    assert Since.of_build(build) == Since(NOW - 1.0, build.id)
    assert Since.of_build(unknown) == Since(None, "b")
    assert Since(NOW, "b").in_list == Since(NOW - 1.0, "b")
    assert Since(None, "b").in_list == Since(None, "b")
    assert ONLY_LIVE.in_list == ONLY_LIVE


STATUS = {"status", "has ended"}


@pytest.mark.parametrize(
    ("wanted", "values", "expected"),
    [
        ({}, "a", {"branch"}),
        ({}, "aab", {"branch"}),
        ({}, "aba", set()),
        ({}, "-a-", set()),
        ({}, "_", {"branch"}),
        ({"branch": "a"}, "aa", {"branch"}),
        ({"branch": "a"}, "aA", set()),
        ({"branch": "a"}, "aAb", set()),
        ({"branch": "b"}, "aA", {"branch"}),
        ({"branch": "b"}, "aAb", {"branch"}),
        ({"branch": "b"}, "aAbB", set()),
        ({"branch": "b"}, "aba", set()),
    ],
)
def test_what_is_no_grouping(wanted: dict[str, str], values: str, expected: set[str]) -> None:
    """A list is not grouped if a value comes back; the wanted group is whole if it is old enough.

    Branches are letters: a capital is an old build, ``-`` and ``_`` are a new and an old one of an
    unknown branch.
    """
    rows = [
        make_build(
            number, branch=None if one in "-_" else one.lower(), age=0.0 if one in "-ab" else 9.0
        )
        for number, one in enumerate(values)
    ]
    filtered = {"status", "has ended", "projectId", "buildSettingId", "platform", "buildType"}
    assert ListOrder(wanted).unproven(rows, Since(NOW - 5.0), filtered) == expected
    assert "status" in ListOrder(wanted).unproven(rows, Since(NOW - 5.0), filtered - STATUS)


def test_an_order_is_remembered() -> None:
    """A grouping that was excluded once stays excluded."""
    mixed = [make_build(number, branch=branch) for number, branch in enumerate("aba")]
    order = ListOrder()
    assert "branch" not in order.unproven(mixed, ALL, ())
    assert "branch" not in order.unproven(mixed[:1], ALL, ())
    assert "platform" in order.unproven(mixed, ALL, ())


def test_values_of_a_whole_list() -> None:
    """A field with one value in a whole list groups nothing, until the list shows another one."""
    sorted_rows = [make_build(number, age=9.0 * number) for number in range(3)]
    order = ListOrder()
    order.on_whole_list(sorted_rows)
    assert order.unproven(sorted_rows, ALL, ()) == set()
    other = [replace(build, platform="Linux") for build in sorted_rows]
    assert order.unproven(other, ALL, ()) == {"platform"}
    order.on_whole_list([*sorted_rows, *other])
    assert order.unproven(sorted_rows, ALL, ()) == {"platform"}


def test_values_that_a_list_hides() -> None:
    """Rows may hide the field by which they are grouped, unless they are sorted all the same."""
    rows = [make_build(number, branch=None, age=9.0 * number) for number in range(3)]
    order = ListOrder()
    order.on_whole_list(rows[::-1])
    assert order.unproven(rows, ALL, ()) == {"branch"}
    order.on_whole_list(rows)
    assert order.unproven(rows, ALL, ()) == set()


def history(count: int, step: float = 60.0) -> list[Build]:
    """Return ended builds of two branches, platforms and settings, one a minute."""
    ends = ("complete", "failed", "complete", "superseded")
    return [
        make_build(
            number,
            ends[number % 4],
            age=step * number,
            branch=("main", "dev")[number // 2 % 2],
            platform=("Win64", "Linux")[number // 3 % 2],
            build_setting_id=("s", "t")[number // 3 % 2],
            build_type=("Shipping", "Test")[number // 2 % 2],
        )
        for number in range(count)
    ]


LIVE = [make_build(900, "running", age=7200.0), make_build(901, "pending", age=7260.0)]
REQUESTS = [
    # order, builds, since when ended ones are needed, requests: of all builds, of a status
    ("newest", 98, ONLY_LIVE, 1, 0),
    ("random", 98, Since(NOW - 600), 1, 0),
    ("newest", 120, ONLY_LIVE, 1, 2),
    ("oldest", 1000, ONLY_LIVE, 1, 2),
    ("by branch", 1000, ONLY_LIVE, 1, 2),
    ("newest", 120, Since(NOW - 600), 1, 2),
    ("newest id", 1000, Since(NOW - 600), 1, 2),
    ("newest", 1000, Since(NOW - 6600), 2, 2),
    ("newest", 1000, Since(NOW - 5900), 1, 2),
    ("newest", 1000, Since(NOW - 5939.5), 2, 2),
    ("newest", 120, ALL, 2, 2),
    ("newest", 1000, ALL, 11, 2),
    ("oldest", 1000, Since(NOW - 600), 11, 2),
    ("random", 1000, Since(NOW - 600), 11, 2),
    ("live first", 1000, Since(NOW - 600), 11, 2),
    ("ended first", 1000, Since(NOW - 600), 1, 2),
    ("by status", 1000, Since(NOW - 600), 1, 5),
    ("by status", 1000, Since(NOW - 11800), 1, 5),
    ("by status descending", 1000, Since(NOW - 600), 11, 2),
    ("by branch", 1000, Since(NOW - 600), 11, 2),
    ("by platform", 1000, Since(NOW - 600), 11, 2),
]


@pytest.mark.parametrize(("order", "count", "since", "pages", "of_status"), REQUESTS)
def test_number_of_requests(
    order: str, count: int, since: Since, pages: int, of_status: int
) -> None:
    """Requests are few: one for a short list, few for a sorted one, all pages for any other."""
    service = ListService.of([*history(count), *LIVE], order=order)
    steps = read_builds(
        lambda status: list_builds(project_id="p", status=status), lambda _: since, ListOrder()
    )
    found = service.run(steps)
    assert {build.id for build in LIVE} <= found.keys()
    counts = service.counts()
    assert counts.pop("list all") == pages
    assert sum(counts.values()) == of_status


def read_since(service: ListService, since: Since, order: ListOrder, **kwargs: bool) -> set[str]:
    """Return the ids of builds that are read, ended ones since some time."""
    steps = read_builds(
        lambda status: list_builds(project_id="p", status=status), lambda _: since, order, **kwargs
    )
    return {*service.run(steps)}


def test_what_is_known_of_an_order_saves_requests() -> None:
    """Once a list is known not to be grouped, or one value is in all of it, one page is enough."""
    builds = [replace(build, platform="Win64") for build in history(300)]
    service, order = ListService.of(builds), ListOrder()
    read_since(service, Since(NOW - 600), order, all_live=False)
    assert service.counts() == {"list all": 3}
    read_since(service, Since(NOW - 600), order, all_live=False)
    assert service.counts() == {"list all": 1}


def test_a_value_that_was_not_seen_may_be_on_the_last_page() -> None:
    """Where all builds are of one branch, and another one is wanted, its group may come last."""
    old = [replace(build, branch="main") for build in history(150)]
    service, order = ListService.of(old, order="by branch"), ListOrder({"branch": "release"})
    read_since(service, Since(NOW - 600), order, all_live=False)
    new = make_build(1000, branch="release", age=1.0)
    service.add(new)
    assert new.id in read_since(service, Since(NOW - 600), order, all_live=False)


@pytest.mark.parametrize(("age", "pages"), [(5760.0, 1), (5818.5, 1), (5819.5, 2), (5820.0, 2)])
def test_the_last_row_tells_how_far_a_sorted_list_goes_back(age: float, pages: int) -> None:
    """A sorted list is read until a row is older than what is needed, by more than a second."""
    mixed = [make_build(900 + number, "running", age=number * 600.0 + 30.0) for number in range(2)]
    service = ListService.of([*history(300), *mixed])
    read_since(service, Since(NOW - age), ListOrder(), all_live=False)
    assert service.counts() == {"list all": pages}


def list_of_a_kind(status: str | None) -> Call[Page[Build]]:
    """Return the call that lists builds of a status with all filters."""
    return list_builds(
        project_id="p",
        build_setting_id="s",
        platform="Win64",
        build_type="Shipping",
        branch="main",
        status=status,
    )


def test_the_list_of_one_status_may_be_unsorted() -> None:
    """Lists of ended builds are read to their end where they are not sorted."""
    complete = [make_build(number, age=600.0 * number) for number in range(9)]
    failed = [make_build(20 + number, "failed", age=600.0 * number) for number in range(9)]
    times = [build.created_at for build in failed]
    failed = [
        replace(build, created_at=time) for build, time in zip(failed, times[::-1], strict=True)
    ]
    service = ListService.of([*complete, *failed], order="by status", page_size=3)
    steps = read_builds(list_of_a_kind, lambda _: Since(NOW - 60.0), ListOrder())
    assert failed[-1].id in service.run(steps)
    assert service.counts()["list failed"] == 3


@pytest.mark.parametrize(("needed", "read"), [(1, 1), (16, 16), (21, 22), (32, 33)])
def test_how_far_a_long_list_of_one_status_is_read(needed: int, read: int) -> None:
    """A long list may be read a little further than needed, as its order is checked rarely."""
    complete = [make_build(number, age=600.0 * number) for number in range(120)]
    service = ListService.of(complete, order="by status", page_size=3)
    since = Since(NOW - 600.0 * (3 * needed - 2))
    found = service.run(read_builds(list_of_a_kind, lambda _: since, ListOrder()))
    assert len(found) == 3 * read
    assert service.counts()["list complete"] == read


@pytest.mark.parametrize(
    ("pages", "expected"),
    [
        (1, True),
        (2, True),
        (19, True),
        (20, True),
        (21, False),
        (22, True),
        (31, False),
        (33, True),
    ],
)
def test_a_long_list_is_checked_rarely(pages: int, *, expected: bool) -> None:
    """The longer a list is, the more pages are read between two checks of its order."""
    assert list_order._is_check_due(pages) is expected


def test_the_order_of_a_long_list_is_checked_rarely() -> None:
    """A list of 120 pages is checked 43 times, as each check goes through all its rows."""
    service = ListService.of([make_build(number, age=600.0 * number) for number in range(120)])
    service.page_size, needed = 1, Mock(return_value=ALL)
    service.run(read_builds(lambda _: list_builds(), needed, ListOrder(), all_live=False))
    assert (service.counts(), needed.call_count) == ({"list all": 120}, 43)


def test_recent_live_builds_after_all_ended_ones() -> None:
    """Where a list may show ended builds first, the lists of live builds are read, too."""
    live = make_build(900, "running", age=1.0)
    service = ListService.of([*history(300), live], order="ended first")
    found = read_since(service, Since(NOW - 600), ListOrder(), all_live=False)
    assert live.id in found
    assert service.counts() == {"list all": 1, "list pending": 1, "list running": 1}


def test_a_live_status_that_is_new() -> None:
    """A status that nobody knows is live, so the list of its builds is read, too."""
    paused = [make_build(number, "paused", age=number * 60.0) for number in range(150)]
    service = ListService.of([*history(50), *paused])
    assert {build.id for build in paused} <= read_since(service, ONLY_LIVE, ListOrder())
    assert service.counts() == {
        "list all": 1,
        "list pending": 1,
        "list running": 1,
        "list paused": 3 + 1,
    }


def test_a_list_of_live_builds_is_read_again_while_it_shows_more() -> None:
    """If builds leave a list of several pages, others move to a page that was read already."""
    pending = [make_build(number, "pending", age=number * 60.0) for number in range(9)]
    service = ListService.of(pending, page_size=3, cursor="offset")
    still = {build.id for build in pending[3:]}

    def start(number: int) -> None:
        service.set_status(pending[number].id, "running")

    service.changes = [lambda: None, partial(start, 0), partial(start, 1), partial(start, 2)]
    assert still <= read_since(service, ONLY_LIVE, ListOrder())
    service = ListService.of(pending, page_size=3)
    read_since(service, ONLY_LIVE, ListOrder())
    assert service.counts() == {"list all": 1, "list pending": 6, "list running": 1}
