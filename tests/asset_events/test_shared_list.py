"""How much of the lists is read for watchers, in different orders of the list."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from airflow_provider_buildpixel.api.endpoints import get_build
from airflow_provider_buildpixel.api.model import Build, Status
from airflow_provider_buildpixel.api.paging import at_most
from airflow_provider_buildpixel.asset_events.shared_list import (
    FULL_READ_INTERVAL,
    MAX_WHOLE_PAGES,
    ListRead,
    SharedList,
    read_missed,
    read_start,
    since_newest,
)
from airflow_provider_buildpixel.builds.list_order import ALL, Since
from airflow_provider_buildpixel.builds.request import BuildFilter
from airflow_provider_buildpixel.builds.search import read_build
from tests.api.list_service import NOW, ORDERS, ListService, make_build

if TYPE_CHECKING:
    from airflow_provider_buildpixel.api.paging import Steps

PAGE = 10
"""Rows of a page."""


class Service(ListService):
    """A service in which each build is a minute newer than the one before."""

    def push(self, count: int, status: str = "complete", branch: str | None = None) -> list[str]:
        """Add builds of different branches and platforms, or of one branch; return their ids."""
        first = len(self.builds)
        new = [
            make_build(
                number,
                status,
                age=60.0 * (1000 - number),
                branch=branch or f"line-{number // 2 % 2}",
                platform=("Win64", "Linux")[number // 3 % 2],
            )
            for number in range(first, first + count)
        ]
        self.add(*new)
        return [build.id for build in new]

    def poll(self, shared: SharedList, now: float) -> ListRead:
        """Return the builds of the next poll; ``requests`` has its requests."""
        self.requests.clear()
        return self.run(shared.read(now))


@pytest.fixture(params=ORDERS)
def service(request: pytest.FixtureRequest) -> Service:
    """A service with some pages of builds, for each order."""
    service = Service(order=request.param, page_size=PAGE)
    service.push(30)
    service.push(5, "running")
    service.push(5, "failed")
    return service


def found_ids(read: ListRead) -> set[str]:
    """Return the ids of the builds of a read."""
    return {build.id for build in read.builds}


def test_new_builds_are_found_in_every_order(service: Service) -> None:
    """Each poll finds the builds since the last one, in whatever group they are."""
    shared = SharedList()
    assert service.poll(shared, 0.0).is_full
    for now in range(1, 4):
        new = [*service.push(12, branch=f"line-{now}"), *service.push(3, "running")]
        read = service.poll(shared, now)
        assert set(new) <= found_ids(read)
        assert not read.is_full


def test_one_request_if_the_order_is_proven() -> None:
    """A list that surely starts with the newest builds costs one request per poll."""
    service = Service(page_size=PAGE)
    service.push(100)
    service.push(6, "failed")
    service.push(2)
    shared = SharedList()
    counts = []
    for now in range(3):
        service.poll(shared, now)
        counts.append(len(service.requests))
    assert counts[1:] == [1, 1]


def test_builds_that_appear_late() -> None:
    """Builds are found although a stale list showed newer ones before them."""
    service, shared = Service(page_size=PAGE), SharedList()
    for status in ("complete", "failed") * 8:
        service.push(4, status)
    service.poll(shared, 0.0)
    late = [make_build(900 + number, age=60.0 * 937 + number) for number in range(2 * PAGE)]
    service.add(*late)
    assert {build.id for build in late} <= found_ids(service.poll(shared, 1.0))


def test_a_long_list_is_read_once_per_hour() -> None:
    """A long list without a proven order is read to its end at first, and then once per hour."""
    service, shared = Service(order="by branch", page_size=PAGE), SharedList()
    service.push(PAGE * (MAX_WHOLE_PAGES + 5))
    live = service.push(1, "running", branch="zzz")
    assert service.poll(shared, 0.0).is_full
    assert len(service.requests) == MAX_WHOLE_PAGES + 6
    missed = service.push(1, branch="zzz")
    counts = []
    for now in range(1, 4):
        read = service.poll(shared, now)
        assert set(live) <= found_ids(read)
        assert not {*missed} & found_ids(read)
        counts.append(len(service.requests))
    assert counts == [MAX_WHOLE_PAGES + 3, 3, 3]
    assert service.requests == ["list all", "list pending", "list running"]
    service.set_status(live[0], "failed")
    read = service.poll(shared, FULL_READ_INTERVAL)
    assert read.is_full
    assert {*live, *missed} <= found_ids(read)
    service.poll(shared, FULL_READ_INTERVAL + 1)
    assert len(service.requests) == MAX_WHOLE_PAGES + 3


def test_the_order_is_forgotten() -> None:
    """A list that has become grouped by a new value is noticed at the next full read."""
    service, shared = Service(order="by branch", page_size=PAGE), SharedList()
    service.push(3 * PAGE, branch="a")
    service.poll(shared, 0.0)
    service.push(PAGE, branch="a")
    hidden = service.push(1, branch="b")
    service.poll(shared, 1.0)
    assert len(service.requests) < 4
    read = service.poll(shared, FULL_READ_INTERVAL)
    assert set(hidden) <= found_ids(read)


def test_a_failed_full_read_is_repeated() -> None:
    """A full read that fails is done again by the next poll."""
    service, shared = Service(page_size=PAGE), SharedList()
    service.push(2)
    steps = shared.read(0.0)
    next(steps)
    steps.close()
    assert service.poll(shared, 1.0).is_full


def test_a_service_without_builds() -> None:
    """Without builds, all later ones are new."""
    service, shared = Service(page_size=PAGE), SharedList()
    assert service.poll(shared, 0.0) == ListRead([], is_full=True)
    assert since_newest({}) == ALL
    new = service.push(3)
    assert found_ids(service.poll(shared, 1.0)) == set(new)


def test_since_the_newest_build() -> None:
    """Where rows have no time, the newest id counts; otherwise the time, with some tolerance."""
    one, two = Build("a", Status("complete")), Build("b", Status("complete"))
    assert since_newest({"b": two, "a": one}, 60) == Since(None, "b")
    created_at = datetime.fromtimestamp(NOW, UTC)
    known = {build.id: replace(build, created_at=created_at) for build in (two, one)}
    assert since_newest(known, 60) == Since(NOW - 61, "b")


def test_start(service: Service) -> None:
    """A watcher starts from the newest builds, and from all that have not ended."""
    old = service.push(1, "running")
    for status in ("complete", "running", "failed", "running") * 8:
        newest = service.push(2, status)
    build_filter = BuildFilter("p", "s", build_type="Shipping")
    builds = {build.id: build for build in service.run(read_start(build_filter))}
    assert {*old, newest[-1]} <= builds.keys()


def test_rows_without_the_fields_of_the_filter() -> None:
    """The rows of a filtered list have the fields that it is filtered by."""
    service = Service(unknown=("project_id", "platform"))
    service.add(make_build(1, platform="Linux"), make_build(2))
    for steps in (
        read_start(BuildFilter("p", platform="Linux")),
        read_missed(BuildFilter("p", platform="Linux"), ALL),
    ):
        [row] = service.run(steps)
        assert (row.project_id, row.platform) == ("p", "Linux")


def test_a_list_that_is_grouped_by_a_hidden_stream() -> None:
    """Rows without a stream do not prove that the list is not grouped by it."""
    service, shared = Service(order="by branch", page_size=PAGE, unknown=("branch",)), SharedList()
    for branch in ("a", "z"):
        for status in ("complete", "failed") * 4:
            service.push(4, status, branch)
    service.poll(shared, 0.0)
    new = service.push(1, branch="z")
    assert set(new) <= found_ids(service.poll(shared, 1.0))


def test_missed_builds(service: Service) -> None:
    """A watcher that continues finds all builds since some time."""
    since = Since(NOW - 60.0 * 980)
    found = service.run(read_missed(BuildFilter("p", platform="Linux"), since))
    wanted = {
        build.id
        for build in service.builds.values()
        if build.platform == "Linux" and not since.is_after(build)
    }
    assert len(wanted) == 10
    assert wanted <= {build.id for build in found}


@pytest.mark.parametrize(
    ("calls", "value"), [(0, None), (1, None), (2, ("a", None)), (3, ("a", None))]
)
def test_at_most(calls: int, value: tuple[str, None] | None) -> None:
    """Steps that need more calls than allowed have no value."""

    def steps() -> Steps[tuple[str, Build | None]]:
        found: Build = yield get_build("a")
        return found.id, (yield from read_build("missing"))

    service = ListService(builds={"a": Build("a", Status("failed"))})
    assert service.run(at_most(calls, steps())) == value
    assert len(service.requests) == min(calls, 2)
