from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest

from airflow_provider_buildpixel.api.model import BuildSetting, Status
from airflow_provider_buildpixel.api.paging import run_steps
from airflow_provider_buildpixel.builds import search
from airflow_provider_buildpixel.builds.list_order import Since
from airflow_provider_buildpixel.builds.request import BuildFilter
from airflow_provider_buildpixel.builds.request_window import RequestWindow
from airflow_provider_buildpixel.builds.search import NewestMatch
from airflow_provider_buildpixel.exceptions import NotFound, ServerFault, UnexpectedAnswer
from tests.api.list_service import NOW, ORDERS, ListService, make_build

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_buildpixel.api.model import Build
    from airflow_provider_buildpixel.exceptions import BuildPixelError

MAIN, NEXT = "//streams/game/main", "//streams/game/next"
STREAMS = [BuildSetting("s", stream_path=MAIN), BuildSetting("t", stream_path=NEXT)]
KIND = BuildFilter("p", None, "Win64", "Shipping", "main")
TARGET = replace(KIND, build_setting_id="s")
MINIMAL = (
    *("project_id", "build_setting_id", "platform", "build_type", "branch", "commit"),
    *("changelist", "triggered_by", "created_at"),
)
"""What rows of a list leave out that has only ids and statuses."""

each_order = pytest.mark.parametrize("order", ORDERS)


def others(count: int, *, first: int = 1000, age: float = 0.0, step: float = 30.0) -> list[Build]:
    """Return ended builds of feature branches."""
    ends = ("complete", "failed", "complete", "superseded")
    return [
        make_build(
            first + number,
            ends[number % 4],
            age=age + step * number,
            branch=f"feature/{number % 3}",
            commit=f"{number:08x}",
            triggered_by="push:c",
        )
        for number in range(count)
    ]


def found_id(service: ListService, newest: NewestMatch, now: float = NOW) -> str | None:
    """Return the id of the build that one search finds."""
    build = service.run(newest.search(now))
    return build.id if build else None


@pytest.mark.parametrize(
    ("error", "is_listed"),
    [(ServerFault("down"), True), (UnexpectedAnswer("no JSON"), True), (NotFound("gone"), False)],
    ids=["error", "unreadable", "gone"],
)
def test_a_build_that_cannot_be_read(error: BuildPixelError, *, is_listed: bool) -> None:
    """A build whose own GET fails counts as it is listed; one that is gone does not exist."""
    listed = make_build(1)
    answer = Mock(side_effect=error)
    found = run_steps(search.read_build(listed.id, listed), answer)
    assert found == (listed if is_listed else None)
    if is_listed:
        with pytest.raises(type(error)):
            run_steps(search.read_build(listed.id), answer)


@each_order
def test_the_newest_match(order: str) -> None:
    """The newest of several builds that match is found, in every order of the list."""
    matching = [make_build(number, "failed", age=500.0 + number) for number in range(3)]
    service = ListService.of([*others(230), *matching], order=order)
    assert found_id(service, NewestMatch(KIND)) == matching[0].id


@each_order
def test_a_commit_that_becomes_known_late(order: str) -> None:
    """A queued build is found once its commit is known, although 100 newer builds have come."""
    queued = make_build(1, "pending", age=60.0)
    service, newest = (
        ListService.of([queued, *others(10, age=60.0)], order=order),
        NewestMatch(BuildFilter("p", commit="abcdef")),
    )
    assert found_id(service, newest, NOW) is None
    service.add(*others(120, first=2000, age=-600.0, step=4.0))
    assert found_id(service, newest, NOW + 600.0) is None
    service.add(replace(queued, status=Status("running"), commit="abcdef0123"))
    assert found_id(service, newest, NOW + 700.0) == queued.id


def test_a_later_search_reads_few_pages() -> None:
    """The first search reads all builds without a match, and a later one what is new."""
    service, newest = ListService.of(others(450)), NewestMatch(KIND)
    assert found_id(service, newest) is None
    assert service.counts() == {"list all": 5}
    assert found_id(service, newest, NOW + 60.0) is None
    assert sum(service.counts().values()) <= 3
    late = make_build(1, "pending", age=search.LOOK_BACK - 60.0)
    service.add(late)
    assert found_id(service, newest, NOW + 120.0) == late.id


def test_a_new_group_at_the_end_of_the_list() -> None:
    """A build of the first other platform, which comes last in the list, is found in an hour."""
    service = ListService.of(others(250), order="by platform descending")
    newest = NewestMatch(BuildFilter("p", commit="abcdef"))
    assert found_id(service, newest) is None
    first = make_build(1, age=-30.0, platform="Linux", commit="abcdef")
    service.add(first)
    assert found_id(service, newest, NOW + 60.0) is None
    assert found_id(service, newest, NOW + 3660.0) == first.id


def test_builds_that_stay_undecided() -> None:
    """A live build without a commit is read in each search; an ended one, never again."""
    live, ended = make_build(1, "running", age=900.0), make_build(2, "complete", age=901.0)
    service, newest = ListService.of([live, ended]), NewestMatch(BuildFilter("p", commit="abc"))
    assert found_id(service, newest) is None
    assert service.counts() == {"list all": 1, "build": 2}
    assert found_id(service, newest, NOW + 1.0) is None
    assert service.counts() == {"list all": 1, "build": 1}
    service.set_status(live.id, "failed")
    assert found_id(service, newest, NOW + 2.0) is None
    assert service.counts() == {"list all": 1, "build": 1}
    assert found_id(service, newest, NOW + 3.0) is None
    assert service.counts() == {"list all": 1}


def test_an_undecided_build_that_is_deleted() -> None:
    """A build that does not exist any more is forgotten."""
    live = make_build(1, "running")
    service, newest = ListService.of([live]), NewestMatch(BuildFilter("p", commit="abc"))
    assert found_id(service, newest) is None
    del service.builds[live.id]
    assert found_id(service, newest) is None
    service.counts()
    assert found_id(service, newest) is None
    assert service.counts() == {"list all": 1}


@each_order
def test_rows_without_fields(order: str) -> None:
    """Rows that have only ids and statuses are read by id, the newest first."""
    matching = [make_build(number, age=900.0 + number) for number in range(2)]
    service = ListService.of([*others(20), *matching], order=order, unknown=MINIMAL)
    newest = NewestMatch(TARGET)
    assert found_id(service, newest) == matching[0].id
    assert service.counts()["build"] == 21


def test_more_rows_without_fields_than_one_search_reads() -> None:
    """One search reads so many builds by id, and the next one goes on."""
    match = make_build(1, age=1e6, commit="abc")
    builds = [make_build(10 + number, age=number * 3.0) for number in range(search.MAX_READS + 9)]
    service, newest = ListService.of([match, *builds]), NewestMatch(BuildFilter("p", commit="abc"))
    service.unknown = ("commit",)
    assert found_id(service, newest) is None
    assert service.counts()["build"] == search.MAX_READS
    assert found_id(service, newest) == match.id
    assert service.counts()["build"] == 10


def test_undecided_builds_are_kept_when_a_search_reads_too_many() -> None:
    """A live build that a search did not get to is read by the next one."""
    queued = make_build(1, "pending", age=1000.0)
    service, newest = ListService.of([queued]), NewestMatch(BuildFilter("p", commit="abc"))
    assert found_id(service, newest) is None
    many = [make_build(10 + number, age=number / 10) for number in range(search.MAX_READS + 1)]
    service.add(*many)
    service.add(replace(queued, commit="abcdef"))
    service.unknown = ("commit",)
    assert found_id(service, newest, NOW + 1.0) is None
    assert found_id(service, newest, NOW + 2.0) == queued.id


@pytest.mark.parametrize(("setting_id", "is_found"), [("s", True), ("t", False), ("gone", False)])
def test_the_stream_of_a_match(setting_id: str, *, is_found: bool) -> None:
    """A build that does not tell its stream is of the stream of its setting, which is read once."""
    build = make_build(1, "complete", branch=None, build_setting_id=setting_id)
    service = ListService.of([build], settings={"p": STREAMS})
    newest = NewestMatch(BuildFilter("p", branch=MAIN))
    assert found_id(service, newest) == (build.id if is_found else None)
    assert service.counts()["settings"] == 1
    assert found_id(service, newest) == (build.id if is_found else None)
    assert "settings" not in service.counts()


def test_lines_of_a_project_that_was_deleted() -> None:
    """Where settings cannot be read, the stream stays unknown, and is not asked for again."""
    lines: dict[str, str | None] = {}
    builds = [make_build(1, branch=None), make_build(2, build_setting_id="t")]
    service = ListService()
    service.run(search.read_lines(builds, lines))
    service.run(search.read_lines(builds, lines))
    assert lines == {"s": None}
    assert service.counts() == {"settings": 1}


def ids(builds: Iterable[Build]) -> list[str]:
    """Return the ids of builds."""
    return [build.id for build in builds]


@each_order
def test_builds_of_a_kind(order: str) -> None:
    """All live builds are found, the oldest first, however many ended builds are newer."""
    live = [make_build(n, "running", age=9e5 + n, branch=branch) for n, branch in enumerate("abc")]
    service = ListService.of([*others(150), *live], order=order)
    lines: dict[str, str | None] = {}
    found = service.run(search.builds_of_kind(KIND, lines))
    assert ids(one for one in found if not one.status.terminal) == ids(reversed(live))
    recent = service.run(search.builds_of_kind(KIND, lines, Since(NOW - 600.0)))
    assert {*ids(others(21))} <= {*ids(recent)}
    assert {*ids(live)} <= {*ids(recent)}


def test_the_lines_of_live_builds() -> None:
    """The settings of live builds that do not tell their stream are read, not those of others."""
    ended = make_build(1, branch=None)
    service, lines = ListService.of([ended], settings={"p": STREAMS}), dict[str, str | None]()
    service.run(search.builds_of_kind(KIND, lines))
    assert (service.counts(), lines) == ({"list all": 1}, {})
    service.add(replace(ended, status=Status("running")))
    (build,) = service.run(search.builds_of_kind(KIND, lines))
    assert build.project_id == "p"
    assert lines == {"s": MAIN, "t": NEXT}


def test_the_first_live_build_is_confirmed() -> None:
    """Rows can be stale: builds that have ended, are gone or of another kind are left out."""
    live = [make_build(n, "running", age=float(n)) for n in range(6)]
    service = ListService.of(live[1:], settings={"p": STREAMS})
    service.set_status(live[1].id, "complete")
    service.add(replace(live[2], branch="other"), replace(live[3], commit="abc"))
    found = service.run(search.confirm_first(live, KIND, {}))
    assert found == (replace(live[3], commit="abc"), *live[4:])
    assert service.counts() == {"build": 4}
    assert service.run(search.confirm_first(live[:3], KIND, {})) == ()
    service.add(replace(live[4], branch=None))
    stream = replace(KIND, branch=NEXT)
    assert service.run(search.confirm_first(live[4:5], stream, {})) == ()


def test_read_all() -> None:
    """Builds are read by id, with their streams; those that are gone are left out."""
    there, gone = make_build(1, branch=None), make_build(2)
    service, lines = ListService.of([there], settings={"p": STREAMS}), dict[str, str | None]()
    assert service.run(search.read_all([gone, replace(there, branch="x")], lines)) == [there]
    assert lines == {"s": MAIN, "t": NEXT}


WINDOW = RequestWindow(NOW - 100.0, NOW - 40.0, tolerance=2.0)


@each_order
@pytest.mark.parametrize("unknown", [(), MINIMAL], ids=["full", "minimal"])
def test_builds_in_a_window(order: str, unknown: tuple[str, ...]) -> None:
    """All builds since the request are found, the oldest first, without those known before it."""
    known = make_build(1, "running", age=101.0)
    ours = make_build(2, "complete", age=101.5, triggered_by="api_token:us")
    late = make_build(3, "pending", age=5.0, triggered_by="api_token:us")
    old = make_build(4, "complete", age=102.1)
    service = ListService.of([known, ours, late, old, *others(150, age=300.0)], order=order)
    service.unknown = unknown
    window = replace(WINDOW, known_ids=(known.id,))
    found = service.run(search.builds_in_window(TARGET, window, {}))
    assert [one for one in found if one.branch == "main" and one != old] == [ours, late]
    assert unknown or old not in found


@pytest.mark.parametrize("unknown", ["created_at", "triggered_by", "commit", "branch"])
def test_rows_in_a_window_that_do_not_tell_all(unknown: str) -> None:
    """A row that does not tell what decides is read by id; any other is not."""
    build = make_build(1, age=50.0, triggered_by="push:c", commit="abc")
    target = replace(TARGET, commit="abc")
    service = ListService.of([build], settings={"p": STREAMS})
    assert service.run(search.builds_in_window(target, WINDOW, {})) == [build]
    assert service.counts() == {"list all": 1}
    service.unknown = (unknown,)
    assert service.run(search.builds_in_window(target, WINDOW, {})) == [build]
    assert service.counts() == {"list all": 1, "build": 1}


def test_a_window_with_very_many_rows() -> None:
    """So many builds are read by id, and the others are returned as they are listed."""
    builds = [make_build(number, age=number / 100) for number in range(search.MAX_READS + 3)]
    service, lines = ListService.of(builds, unknown=("created_at",)), dict[str, str | None]()
    found = service.run(search.builds_in_window(TARGET, WINDOW, lines))
    assert service.counts()["build"] == search.MAX_READS
    assert {*ids(found)} == {*ids(builds)}


def test_a_build_of_a_window_that_is_gone() -> None:
    """A row that cannot be read by id is returned as it is listed, with its stream."""
    build = make_build(1, branch=None)
    service, lines = ListService.of([build], settings={"p": STREAMS}), dict[str, str | None]()
    service.unknown = ("created_at",)
    service.changes = [service.builds.clear]
    (found,) = service.run(search.builds_in_window(TARGET, WINDOW, lines))
    assert (found, lines) == (replace(build, created_at=None), {"s": MAIN, "t": NEXT})


SUPERSEDED = make_build(1, "superseded", age=100.5)


def newer_id(service: ListService, build: Build = SUPERSEDED) -> str | None:
    """Return the id of the build that superseded one."""
    service.add(build)
    newer = service.run(search.newer_build(build))
    return newer.id if newer else None


@each_order
@pytest.mark.parametrize("unknown", [(), MINIMAL], ids=["full", "minimal"])
def test_the_newer_build(order: str, unknown: tuple[str, ...]) -> None:
    """A build was superseded by the next one of its kind, not by the newest."""
    following = [make_build(n, "superseded", age=90.0 - n) for n in range(2, 5)]
    before = make_build(9, "superseded", age=110.0)
    service = ListService.of([before, *following], order=order, unknown=unknown)
    service.add(*others(20, age=50.0), *others(120, first=2000, age=300.0))
    assert newer_id(service) == following[0].id


@pytest.mark.parametrize(
    "fields",
    [{"project_id": "q"}, {"platform": "Linux"}, {"build_type": "Test"}, {"branch": "other"}],
    ids=lambda fields: str(*fields),
)
def test_no_newer_build(fields: dict[str, Any]) -> None:
    """Builds of another kind, and older ones, do not supersede a build."""
    service = ListService.of([make_build(2, age=110.0), make_build(3, **fields)])
    assert newer_id(service) is None


@pytest.mark.parametrize("branch", ["main", "refs/heads/main"])
def test_a_newer_build_in_another_spelling(branch: str) -> None:
    """The spelling of a branch does not matter, nor does the setting."""
    newer = make_build(2, branch=branch, build_setting_id="t")
    assert newer_id(ListService.of([newer])) == newer.id


SAME_SECOND = [make_build(number, "superseded", age=0.9 - number / 10) for number in range(8)]


@each_order
@pytest.mark.parametrize("number", range(7))
def test_newer_builds_of_one_second(order: str, number: int) -> None:
    """Ids of one second do not sort, so the times of creation decide."""
    service = ListService.of(SAME_SECOND, order=order)
    assert newer_id(service, SAME_SECOND[number]) == SAME_SECOND[number + 1].id


def test_an_older_build_with_a_higher_id_is_not_newer() -> None:
    """Where rows do not tell when builds were created, builds of the same second are read."""
    for one in SAME_SECOND:
        service = ListService.of(SAME_SECOND, unknown=("created_at",))
        newer = service.run(search.newer_build(one))
        assert newer is None or newer.created_at > one.created_at  # type: ignore[operator]


def test_newer_builds_of_one_instant() -> None:
    """Of builds of one millisecond, the one that was not superseded is the newer one."""
    one, other = sorted((make_build(2), make_build(3)), key=lambda build: build.id)
    first, second = (replace(build, status=Status("superseded")) for build in (one, other))
    assert newer_id(ListService.of([one]), second) == one.id
    assert newer_id(ListService.of([first]), second) is None
    assert newer_id(ListService.of([second]), first) == second.id


@pytest.mark.parametrize(
    ("setting_id", "other_id", "is_found"),
    [("s", "s", True), ("s", "t", False), ("s", "gone", False), ("gone", "s", False)],
)
def test_the_newer_build_of_a_stream(setting_id: str, other_id: str, *, is_found: bool) -> None:
    """Builds that do not tell their stream are told apart by their settings, as far as known."""
    old = make_build(1, "superseded", age=100.0, branch=None, build_setting_id=setting_id)
    new = make_build(2, "running", branch=None, build_setting_id=other_id)
    service = ListService.of([new], settings={"p": STREAMS})
    assert newer_id(service, old) == (new.id if is_found else None)


def test_a_newer_build_that_cannot_be_read() -> None:
    """A row that does not tell its branch, and whose build is gone, decides nothing."""
    service = ListService.of([SUPERSEDED, make_build(2)], unknown=("branch",))
    service.changes = [service.builds.clear]
    assert service.run(search.newer_build(SUPERSEDED)) is None


def test_a_row_that_does_not_tell_its_branch_is_read() -> None:
    """A row that may be of another branch is read by id."""
    newer, other = make_build(3, commit="abc"), make_build(2, age=50.0, branch="other")
    service = ListService.of([newer, other], unknown=("branch",))
    assert newer_id(service) == newer.id
    assert service.counts()["build"] == 2


def test_newer_rows_without_fields_are_read_up_to_a_limit() -> None:
    """Naming the newer build is worth so many requests."""
    builds = [make_build(n, age=90.0 - n, branch="other") for n in range(2, search.MAX_NEWER + 9)]
    service = ListService.of(builds, unknown=("branch",))
    assert newer_id(service) is None
    assert service.counts()["build"] == search.MAX_NEWER
