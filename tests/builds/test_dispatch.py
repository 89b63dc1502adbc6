from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_buildpixel.api.model import Build, BuildSetting, Status
from airflow_provider_buildpixel.builds.dispatch import (
    SEARCH_PAUSES,
    DispatchMachine,
    TriggerBuild,
    WaitFor,
    decide_in_flight,
    in_flight,
    may_have_run,
)
from airflow_provider_buildpixel.builds.record import Adopt
from airflow_provider_buildpixel.builds.request import BuildRequest
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
    from airflow_provider_buildpixel.exceptions import (
        BuildPixelError,
    )

SETTING = BuildSetting("s", "Win64", "Shipping", "main")
REQUEST = BuildRequest("p", "s")


def build(identity: str, status: str = "running", branch: str = "main") -> Build:
    """Return a build of the kind that is requested."""
    return Build(
        identity,
        Status(status),
        "p",
        "s",
        "Win64",
        "Shipping",
        branch,
        "abcdef",
        "7",
        triggered_by="push:c",
    )


def test_in_flight() -> None:
    """Builds of the same kind that have not ended are in flight, newest first."""
    builds = [
        build("b1"),
        build("b3", "made-up"),
        build("b2", "pending"),
        build("b4", "failed"),
        build("b5", branch="other"),
    ]
    assert [live.id for live in in_flight(builds, REQUEST, SETTING)] == ["b3", "b2", "b1"]
    other = BuildRequest("p", "s", branch="other")
    assert [live.id for live in in_flight(builds, other, SETTING)] == ["b5"]


LIVE = (build("b2"), build("b1"))


@pytest.mark.parametrize(
    ("live", "build_request", "policy", "expected"),
    [
        ((), REQUEST, "fail", TriggerBuild()),
        (LIVE, REQUEST, "supersede", TriggerBuild(LIVE)),
        (LIVE, REQUEST, "wait", WaitFor(LIVE[0])),
        (LIVE, REQUEST, "adopt", Adopt(LIVE[0])),
        (LIVE, BuildRequest("p", "s", commit="abc"), "adopt", Adopt(LIVE[0])),
        (LIVE, BuildRequest("p", "s", commit="def"), "adopt", TriggerBuild(LIVE)),
        (LIVE, BuildRequest("p", "s", changelist="7"), "adopt", Adopt(LIVE[0])),
        (LIVE, BuildRequest("p", "s", changelist="8"), "adopt", TriggerBuild(LIVE)),
        (LIVE, BuildRequest("p", "other"), "adopt", TriggerBuild(LIVE)),
        (LIVE, BuildRequest("p", "s", branch="refs/heads/main"), "adopt", Adopt(LIVE[0])),
    ],
)
def test_decide_in_flight(
    live: tuple[Build, ...], build_request: BuildRequest, policy: str, expected: object
) -> None:
    """The policy decides about live builds; only a build that matches the request is adopted."""
    assert decide_in_flight(live, build_request, SETTING, policy) == expected


def test_an_unknown_commit_is_not_adopted() -> None:
    """A live build that does not report its commit is not adopted for a requested commit."""
    live = (Build("b", Status("pending")),)
    assert decide_in_flight(
        live, BuildRequest("p", "s", commit="abc"), SETTING, "adopt"
    ) == TriggerBuild(live)
    assert decide_in_flight(
        live, BuildRequest("p", "s", changelist="7"), SETTING, "adopt"
    ) == TriggerBuild(live)
    assert decide_in_flight(live, REQUEST, SETTING, "adopt") == Adopt(live[0])


def test_a_build_in_flight_is_an_error_with_policy_fail() -> None:
    """With the policy fail, the error names the live build."""
    with pytest.raises(BuildInFlight, match=r"b2.*push:c") as caught:
        decide_in_flight(LIVE, REQUEST, SETTING, "fail")
    assert caught.value.build == LIVE[0]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Unreachable("x"), True),
        (Unreachable("x", sent=False), False),
        (ServerFault("x", status_code=500), True),
        (UnexpectedAnswer("x"), True),
        (UnexpectedAnswer("x", status_code=202), True),
        (UnexpectedAnswer("x", status_code=302), False),
        (RateLimited("x"), False),
        (InvalidRequest("x", status_code=400), False),
    ],
)
def test_may_have_run(error: BuildPixelError, *, expected: bool) -> None:
    """A request may have run unless it was refused or was never sent."""
    assert may_have_run(error) is expected


def test_a_dispatch_that_is_answered() -> None:
    """An answered request is sent once."""
    machine = DispatchMachine()
    assert (machine.build_id, machine.search_pause()) == (None, None)
    machine.on_started("b")
    assert machine.build_id == "b"


@pytest.mark.parametrize(
    ("error", "is_repeated"),
    [
        (Unreachable("x"), True),
        (Unreachable("x", timed_out=True), False),
        (ServerFault("x", status_code=500), True),
        (ServerFault("x", status_code=504), False),
        (ServerFault("x", status_code=524), False),
        (ServerFault("x", status_code=408), False),
        (UnexpectedAnswer("x", status_code=202), False),
    ],
)
def test_a_lost_answer(error: BuildPixelError, *, is_repeated: bool) -> None:
    """After a lost answer come all searches, then a request only if the first is surely over."""
    machine = DispatchMachine()
    machine.on_error(error)
    for pause in SEARCH_PAUSES[:-1]:
        assert machine.search_pause() == pause
        machine.on_search(())
    assert machine.search_pause() == SEARCH_PAUSES[-1]
    if is_repeated:
        machine.on_search(())
        assert (machine.build_id, machine.search_pause()) == (None, None)
    else:
        with pytest.raises(DispatchUncertain, match="no build of it is listed"):
            machine.on_search(())


def test_a_build_that_a_search_finds() -> None:
    """The only build that a search finds is the request's build."""
    machine = DispatchMachine(search_first=True)
    machine.on_search(())
    machine.on_search((build("b1"),))
    assert machine.build_id == "b1"


def test_a_refused_request_is_raised() -> None:
    """A refusal means that no build was started, so it is raised without a search."""
    with pytest.raises(InvalidRequest):
        DispatchMachine().on_error(InvalidRequest("x", status_code=400))
