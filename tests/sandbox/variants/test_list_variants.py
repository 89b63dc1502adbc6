"""Every unspecified point of the lists, with each of its values."""

from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_buildpixel.sandbox import Variants
from tests.sandbox.clients import push_build
from tests.sandbox.variants.test_rest_variants import each_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_buildpixel.sandbox import Sandbox
    from tests.sandbox.clients import ApiClient

    StartVariant = Callable[..., tuple[Sandbox, ApiClient]]

ORDERS = Variants.points()["builds_order"]

GROUPED_BY = {
    "by-status": "status",
    "by-branch": "branch",
    "by-project": "projectId",
    "by-setting": "buildSettingId",
    "by-platform": "platform",
    "by-build-type": "buildType",
}


def pages(api: ApiClient, path: str = "/builds", **query: Any) -> Iterator[list[Any]]:
    """Yield the items of each page of a list."""
    cursor = None
    while True:
        page = api.get(path, **query, **({"cursor": cursor} if cursor else {}))
        yield page["items"]
        cursor = page["nextCursor"]
        if cursor is None:
            return


def listed(api: ApiClient, **query: Any) -> list[str]:
    """Return the ids of all builds that can be read."""
    items = [item for page in pages(api, **query) for item in page]
    return [item["id"] for item in items if item and item.get("id") and item["status"]]


def add_various(sandbox: Sandbox) -> list[dict[str, Any]]:
    """Add live and ended builds of different projects and branches, and return them by age."""
    settings = [*sandbox.settings("MyGame"), *sandbox.settings("Shooter")]
    for number, setting in enumerate(settings):
        sandbox.plan(outcome="stays_pending")
        one = sandbox.push(setting["id"])
        if number % 2:
            sandbox.set_status(one, "running")
        sandbox.add_builds(setting["id"], 2, status="failed", age=60 * number)
        sandbox.add_builds(setting["id"], 2, age=7 * number)
    for branch in "ba":
        sandbox.add_builds(settings[0]["id"], 3, branch=branch, age=20)
    return sandbox.builds()


@pytest.mark.parametrize(
    ("order", "last", "cursor"),
    list(product(ORDERS, Variants.points()["last_page"], Variants.points()["cursor"])),
)
def test_order_and_last_page(
    start_variant: StartVariant, order: str, last: str, cursor: str
) -> None:
    """In every order, with any cursors and last page, each build is listed once."""
    sandbox, api = start_variant(builds_order=order, last_page=last, cursor=cursor)
    ids = [push_build(sandbox) for _ in range(12)]
    found = list(pages(api, limit=4))
    seen = [build["id"] for page in found for build in page]
    assert sorted(seen) == ids
    assert len(found) == {"exact": 3, "empty": 4}[last]
    newest_first = order not in {"oldest", "random", "ended-first"}
    assert (seen == ids, seen == ids[::-1]) == (order == "oldest", newest_first)


@pytest.mark.parametrize("order", GROUPED_BY)
def test_groups(start_variant: StartVariant, order: str) -> None:
    """Builds can be grouped by a field, in ascending order, the newest first in each group."""
    sandbox, api = start_variant(builds_order=order)
    newest_first = add_various(sandbox)[::-1]
    grouped = sorted(newest_first, key=lambda build: build[GROUPED_BY[order]])
    assert len({build[GROUPED_BY[order]] for build in grouped}) > 1
    assert listed(api, limit=3) == [build["id"] for build in grouped]


@pytest.mark.parametrize("order", ["live-first", "ended-first"])
def test_live_and_ended(start_variant: StartVariant, order: str) -> None:
    """Live builds can come before or after the ended ones, the newest first in both."""
    sandbox, api = start_variant(builds_order=order)
    parts: tuple[list[str], list[str]] = ([], [])
    for build in add_various(sandbox)[::-1]:
        parts[build["finishedAt"] is not None].append(build["id"])
    live, ended = parts
    assert live
    assert listed(api, limit=3) == (live + ended if order == "live-first" else ended + live)


@pytest.mark.parametrize("order", ORDERS)
def test_key_cursor_with_changes(start_variant: StartVariant, order: str) -> None:
    """With the key of a row as cursor, no build that stays the same is skipped or repeated."""
    sandbox, api = start_variant(builds_order=order)
    before = [build["id"] for build in add_various(sandbox)]
    changed, seen = set(), []
    for page in pages(api, limit=2):
        seen += [build["id"] for build in page]
        push_build(sandbox, branch=f"new-{len(seen)}")
        if sandbox.world.builds[seen[-1]].is_live:
            sandbox.set_status(seen[-1], "failed")
            changed.add(seen[-1])
    assert all(seen.count(build) == 1 for build in set(before) - changed)


@each_value("cursor")
def test_new_build_between_pages(start_variant: StartVariant, cursor: str) -> None:
    """A build that is queued between two pages makes a row repeat if cursors are offsets."""
    sandbox, api = start_variant(cursor=cursor)
    ids = [push_build(sandbox) for _ in range(4)][::-1]
    reading = pages(api, limit=2)
    first = next(reading)
    push_build(sandbox)
    seen = [build["id"] for build in [*first, *next(reading)]]
    assert seen == (ids if cursor == "key" else [*ids[:2], *ids[1:3]])


@each_value("cursor")
def test_build_leaves_filter_between_pages(start_variant: StartVariant, cursor: str) -> None:
    """A build that leaves a filter between two pages makes a row missing if cursors are offsets."""
    sandbox, api = start_variant(cursor=cursor)
    ids = [push_build(sandbox, branch=str(number)) for number in range(6)][::-1]
    reading = pages(api, limit=2, status="pending")
    first = next(reading)
    sandbox.set_status(ids[0], "running")
    seen = [build["id"] for build in [*first, *next(reading)]]
    assert seen == (ids[:4] if cursor == "key" else [*ids[:2], *ids[3:5]])


@pytest.mark.parametrize(
    ("cursor", "id_order"),
    list(product(Variants.points()["cursor"], Variants.points()["id_order"])),
)
def test_other_lists(start_variant: StartVariant, cursor: str, id_order: str) -> None:
    """With any cursors and ids, each project and build setting is listed once."""
    sandbox, api = start_variant(cursor=cursor, id_order=id_order)
    depot = {"depot": "game", "streamPath": "//game/main"}
    for name in "abcdef":
        assert api("POST", "/projects/add-perforce", json={"name": name, **depot}).ok
    projects = [item["id"] for page in pages(api, "/projects", limit=1) for item in page]
    assert sorted(projects) == sorted(project["id"] for project in sandbox.projects)
    path = f"/projects/{sandbox.settings('MyGame')[0]['projectId']}/build-settings"
    settings = [item["id"] for page in pages(api, path, limit=1) for item in page]
    assert sorted(settings) == sorted(setting["id"] for setting in sandbox.settings("MyGame"))


@pytest.mark.parametrize("path", ["/builds", "/projects"])
def test_invalid_offset(start_variant: StartVariant, path: str) -> None:
    """A cursor that is not an offset is rejected if cursors are offsets."""
    sandbox, api = start_variant(cursor="key")
    for _ in range(2):
        push_build(sandbox)
    key = api.get(path, limit=1)["nextCursor"]
    _, other = start_variant(cursor="offset")
    assert other("GET", path, params={"cursor": key}).status_code == 400


@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_order_of_one_second(start_variant: StartVariant, order: str) -> None:
    """Builds are listed in order of creation, even if their ids do not sort."""
    sandbox, api = start_variant(builds_order=order, id_order="same-second")
    ids = [push_build(sandbox) for _ in range(20)]
    assert listed(api, limit=3) == (ids if order == "oldest" else ids[::-1])


@pytest.mark.parametrize(
    ("rows", "cursor"),
    list(product(Variants.points()["list_rows"], Variants.points()["cursor"])),
)
def test_list_rows(start_variant: StartVariant, rows: str, cursor: str) -> None:
    """The first row of any list of builds is one that cannot be read, or there is none."""
    sandbox, api = start_variant(list_rows=rows, cursor=cursor)
    ids = [push_build(sandbox) for _ in range(5)]
    extra: dict[str, list[Any]] = {
        "good": [],
        "no-status": [{"id": "0" * 23 + "1", "status": None}],
        "no-id": [{"status": "running"}],
        "null": [None],
    }
    for limit in (1, 2, 100):
        items = [item for page in pages(api, limit=limit) for item in page]
        count = len(extra[rows])
        assert items[:count] == extra[rows]
        assert [item["id"] for item in items[count:]] == ids[::-1]
    assert api.get("/builds", status="complete")["items"] == extra[rows]


@each_value("list_lag")
def test_list_lag(start_variant: StartVariant, list_lag: int) -> None:
    """The list of builds is up to date or some seconds old; a single build is up to date."""
    sandbox, api = start_variant(list_lag=list_lag)
    sandbox.plan(outcome="stays_pending")
    older = push_build(sandbox, branch="older")
    sandbox.advance(10)
    sandbox.set_status(older, "running")
    newer = push_build(sandbox, branch="newer")
    current = [(newer, "pending"), (older, "running")]
    for build_id, status in current:
        assert api.get(f"/builds/{build_id}")["status"] == status

    def rows(**query: Any) -> list[tuple[str, str]]:
        return [(build["id"], build["status"]) for build in api.get("/builds", **query)["items"]]

    assert rows() == (current if list_lag == 0 else [(older, "pending")])
    assert rows(status="running") == (current[1:] if list_lag == 0 else [])
    sandbox.advance(list_lag)
    assert {build_id for build_id, _ in rows()} == {older, newer}
    assert rows(status="running")[-1] == (older, "running")


@each_value("list_items")
def test_list_items(start_variant: StartVariant, list_items: str) -> None:
    """Items of lists have all fields, the required ones, or two; single builds have all."""
    sandbox, api = start_variant(list_items=list_items)
    build_id = push_build(sandbox)
    item = api.get("/builds")["items"][0]
    assert (item["id"], item["status"]) == (build_id, "pending")
    assert ("commitMessage" in item) == (list_items == "full")
    assert ("createdAt" in item) == (list_items != "minimal")
    project = api.get("/projects")["items"][0]
    assert (project["id"], project["name"]) == (sandbox.projects[0]["id"], "MyGame")
    expected = {"full": math.inf, "brief": math.inf, "minimal": 2}[list_items]
    assert max(len(item), len(project)) <= expected
    assert "commitMessage" in api.get(f"/builds/{build_id}")
