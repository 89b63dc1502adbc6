from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_buildpixel.api.model import Build, Status
from airflow_provider_buildpixel.builds.dispatch import (
    LIST_DELAY,
    SEARCH_PAUSES,
    RequestSearch,
    TriggerBuild,
    WaitFor,
    decide_in_flight,
    in_flight,
    is_surely_over,
    may_have_run,
)
from airflow_provider_buildpixel.builds.record import Adopt, DispatchRecord
from airflow_provider_buildpixel.builds.request import BuildFilter, kind_of
from airflow_provider_buildpixel.builds.request_window import RequestWindow
from airflow_provider_buildpixel.exceptions import (
    BuildInFlight,
    DispatchUncertain,
    InvalidRequest,
    RateLimited,
    ServerFault,
    UnexpectedAnswer,
    Unreachable,
)

if TYPE_CHECKING:
    from airflow_provider_buildpixel.exceptions import BuildPixelError

TARGET = BuildFilter("p", "s", "Win64", "Shipping", "main")


def build(
    identity: str = "b", status: str = "running", at: float | None = 1005.0, **more: Any
) -> Build:
    """Return a build of the target that was created at some time."""
    created_at = None if at is None else datetime.fromtimestamp(at, UTC)
    fields = {
        "project_id": "p",
        "build_setting_id": "s",
        "platform": "Win64",
        "build_type": "Shipping",
        "branch": "main",
        "triggered_by": "push:c",
    }
    return Build(identity, Status(status), created_at=created_at, **{**fields, **more})


def test_in_flight() -> None:
    """Builds of the same kind that have not ended are in flight, newest first."""
    builds = [
        build("b4", at=1.0),
        build("b3", "made-up", at=3.0),
        build("b2", "pending", at=2.0),
        build("b5", "failed"),
        build("b6", branch="other"),
        build("b7", platform="Linux"),
        build("b8", branch=None, build_setting_id="other", at=0.5),
        build("b9", branch=None, build_setting_id="unknown", at=0.4),
    ]
    lines = {"other": "//s/next", "s": "main"}
    kind = kind_of(TARGET)
    assert [live.id for live in in_flight(builds, kind, lines)] == ["b3", "b2", "b4", "b9"]
    assert [live.id for live in in_flight(builds, kind, {})] == ["b3", "b2", "b4", "b8", "b9"]


LIVE = (build("b2", commit="abcdef", changelist="7"), build("b1"))


@pytest.mark.parametrize(
    ("live", "target", "policy", "expected"),
    [
        ((), TARGET, "fail", TriggerBuild()),
        ((), TARGET, "wait", TriggerBuild()),
        (LIVE, TARGET, "supersede", TriggerBuild(LIVE)),
        (LIVE, TARGET, "wait", WaitFor(LIVE[0])),
        (LIVE, TARGET, "adopt", Adopt(LIVE[0])),
        (LIVE, replace(TARGET, commit="abc"), "adopt", Adopt(LIVE[0])),
        (LIVE, replace(TARGET, commit="def"), "adopt", TriggerBuild(LIVE)),
        (LIVE, replace(TARGET, changelist="7"), "adopt", Adopt(LIVE[0])),
        (LIVE, replace(TARGET, changelist="8"), "adopt", TriggerBuild(LIVE)),
        (LIVE, replace(TARGET, build_setting_id="t"), "adopt", TriggerBuild(LIVE)),
        (LIVE[1:], replace(TARGET, commit="abc"), "adopt", TriggerBuild(LIVE[1:])),
        (LIVE[1:], replace(TARGET, changelist="7"), "adopt", TriggerBuild(LIVE[1:])),
    ],
)
def test_decide_in_flight(
    live: tuple[Build, ...], target: BuildFilter, policy: str, expected: object
) -> None:
    """The policy decides about live builds; only a build that surely is the target is adopted."""
    assert decide_in_flight(live, target, {}, policy) == expected


def test_a_build_is_adopted_for_its_stream() -> None:
    """A live build that does not tell its stream is adopted if its setting has the stream."""
    target, live = replace(TARGET, branch="//s/main"), (build(branch=None),)
    assert decide_in_flight(live, target, {"s": "//s/main"}, "adopt") == Adopt(live[0])
    assert decide_in_flight(live, target, {}, "adopt") == TriggerBuild(live)


def test_a_build_in_flight_is_an_error_with_policy_fail() -> None:
    """With the policy fail, the error names the live build."""
    with pytest.raises(BuildInFlight, match=r"b2.*push:c") as caught:
        decide_in_flight(LIVE, TARGET, {}, "fail")
    assert caught.value.build == LIVE[0]


@pytest.mark.parametrize(
    ("error", "has_run", "is_over"),
    [
        (Unreachable("x"), True, True),
        (Unreachable("x", timed_out=True), True, False),
        (Unreachable("x", sent=False), False, True),
        (ServerFault("x", status_code=500), True, True),
        (ServerFault("x", status_code=502), True, True),
        (ServerFault("x", status_code=504), True, False),
        (ServerFault("x", status_code=524), True, False),
        (ServerFault("x", status_code=408), True, False),
        (UnexpectedAnswer("x"), True, False),
        (UnexpectedAnswer("x", status_code=202), True, False),
        (UnexpectedAnswer("x", status_code=299), True, False),
        (UnexpectedAnswer("x", status_code=300), False, False),
        (RateLimited("x"), False, False),
        (InvalidRequest("x", status_code=400), False, False),
    ],
)
def test_what_an_error_tells(error: BuildPixelError, *, has_run: bool, is_over: bool) -> None:
    """A request may have run unless it was refused or not sent; it is over unless it timed out."""
    assert may_have_run(error) is has_run
    assert is_surely_over(error) is is_over


SENT_AT = 1000.0
WINDOW = RequestWindow(SENT_AT, SENT_AT + 20.0, tolerance=2.0)
RECORD = DispatchRecord(TARGET, window=WINDOW)
LATE = replace(RECORD, window=replace(WINDOW, may_run_later=True))
OURS = build("ours", triggered_by="api_token:us")
MAYBE_OURS = build("maybe", branch="MAIN", triggered_by="api_token:us")


def searched(
    record: DispatchRecord, shown: list[tuple[Build, ...]], error: BuildPixelError | None = None
) -> tuple[RequestSearch, list[float]]:
    """Search until it ends; return the search and its pauses.

    :param shown: the builds that the searches show, the last ones again and again.
    """
    search, pauses, now = RequestSearch(record, error), list[float](), SENT_AT
    while (pause := search.next_pause(now)) is not None:
        assert len(pauses) < 20, "searches without end"
        pauses.append(pause)
        now += pause
        search.on_builds(shown.pop(0) if len(shown) > 1 else shown[0], {})
    return search, pauses


def test_a_request_that_has_started_no_build() -> None:
    """If no search shows a build until the request has surely ended, it may be repeated.

    The last search is so late that no list is stale any more.
    """
    search, pauses = searched(RECORD, [()])
    assert (search.found, pauses) == (None, list(SEARCH_PAUSES))
    long = replace(RECORD, window=replace(WINDOW, until=SENT_AT + 60.0))
    search, pauses = searched(long, [()])
    left = 60.0 + LIST_DELAY - sum(SEARCH_PAUSES)
    assert (search.found, pauses) == (None, [*SEARCH_PAUSES, left + SEARCH_PAUSES[0]])


def test_the_search_after_the_end_of_a_request_is_the_last() -> None:
    """The clock is not asked for ever: after the end of the window comes one search."""
    search = RequestSearch(replace(RECORD, window=replace(WINDOW, until=SENT_AT + 60.0)))
    assert [search.next_pause(SENT_AT) for _ in SEARCH_PAUSES] == list(SEARCH_PAUSES)
    assert search.next_pause(SENT_AT + 59.0) == 1.0 + LIST_DELAY + SEARCH_PAUSES[0]
    assert search.next_pause(SENT_AT + 59.0) is None


def test_no_time_is_added_after_an_error() -> None:
    """After an error that ended the request, the last search is not later than its window."""
    record = replace(RECORD, window=replace(WINDOW, until=SENT_AT + 40.0))
    search = RequestSearch(record, ServerFault("broken", status_code=500))
    for _ in SEARCH_PAUSES:
        search.next_pause(SENT_AT)
    assert search.next_pause(SENT_AT + 31.0) == 9.0 + SEARCH_PAUSES[0]


def test_no_search_is_added_if_the_last_one_was_late_enough() -> None:
    """A search after the end of the window decides, so that no time is lost."""
    for error, is_over_at in (
        (None, WINDOW.until + LIST_DELAY),
        (Unreachable("reset"), WINDOW.until),
    ):
        for now, pause in ((is_over_at, None), (is_over_at - 0.5, 0.5 + SEARCH_PAUSES[0])):
            search = RequestSearch(RECORD, error)
            for _ in SEARCH_PAUSES:
                search.next_pause(now)
            assert search.next_pause(now) == pause


@pytest.mark.parametrize("number", range(len(SEARCH_PAUSES)))
@pytest.mark.parametrize("record", [RECORD, LATE])
def test_a_build_that_a_search_finds(record: DispatchRecord, number: int) -> None:
    """The only build that a search finds is the request's build; then no search follows."""
    others = (build("push"), build("ended", "complete", at=500.0, triggered_by="api_token:us"))
    search, pauses = searched(record, [*([others] * number), (*others, OURS)])
    assert search.found == OURS
    assert len(pauses) == number + 1


@pytest.mark.parametrize(
    ("record", "shown", "message", "candidates"),
    [
        (RECORD, [(OURS, replace(OURS, id="2nd"))], "ours .* 2nd", ("ours", "2nd")),
        (RECORD, [(MAYBE_OURS,)], "maybe", ("maybe",)),
        (RECORD, [(MAYBE_OURS,), ()], "maybe", ("maybe",)),
        (
            RECORD,
            [(MAYBE_OURS,), (), (replace(MAYBE_OURS, id="2nd"),)],
            "maybe .* 2nd",
            ("maybe", "2nd"),
        ),
        (RECORD, [(replace(OURS, branch=None),)], "ours", ("ours",)),
        (LATE, [()], "no build of it is listed", ()),
        (LATE, [(replace(OURS, created_at=None),)], "ours", ("ours",)),
    ],
)
def test_a_request_that_is_uncertain(
    record: DispatchRecord,
    shown: list[tuple[Build, ...]],
    message: str,
    candidates: tuple[str, ...],
) -> None:
    """If builds may be the request's, or it may still run, it is not repeated."""
    with pytest.raises(DispatchUncertain, match=message) as caught:
        searched(record, [*shown])
    assert tuple(one.id for one in caught.value.candidates) == candidates


def test_a_request_that_may_still_run_is_searched_for_some_time_only() -> None:
    """A request that timed out is not waited for until the end of its window: it has none."""
    late = replace(LATE, window=replace(LATE.window, until=SENT_AT + 1e6))
    search = RequestSearch(late)
    for pause in SEARCH_PAUSES:
        assert search.next_pause(SENT_AT) == pause
    with pytest.raises(DispatchUncertain, match="no build of it is listed"):
        search.next_pause(SENT_AT)


def test_a_build_of_the_window_is_ours_although_another_one_may_be() -> None:
    """A build that surely fits is found; what only may fit does not make it uncertain."""
    search, _ = searched(RECORD, [(MAYBE_OURS,), (MAYBE_OURS, OURS)])
    assert search.found == OURS


def test_a_build_without_a_stream_has_that_of_its_setting() -> None:
    """A build that does not tell its stream is ours only if its setting has our stream."""
    record = replace(RECORD, target=replace(TARGET, branch="//s/main"))
    search = RequestSearch(record)
    search.on_builds([replace(OURS, branch=None)], {"s": "//s/next"})
    assert search.found is None
    search.on_builds([replace(OURS, branch=None)], {"s": "//s/main"})
    assert search.found is not None


def test_the_errors_of_a_search() -> None:
    """The error names the lost answer, or else the failed search, and the builds so far."""
    failed = RequestSearch(RECORD).lookup_failed(ServerFault("down"))
    assert "(down), and no build of it is listed" in str(failed)
    search = RequestSearch(RECORD, Unreachable("reset"))
    search.on_builds([MAYBE_OURS], {})
    failed = search.lookup_failed(ServerFault("down"))
    assert "(reset), and it may have started one of: build maybe" in str(failed)
    assert failed.candidates == (MAYBE_OURS,)
    assert "(reset), and no build" in str(RequestSearch(RECORD, Unreachable("reset")).give_up())
    assert "lost, and no build" in str(RequestSearch(RECORD).give_up())
