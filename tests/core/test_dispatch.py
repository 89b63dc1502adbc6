from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_buildpixel.core.dispatch import (
    LOOKS,
    Dispatching,
    Look,
    Post,
    Request,
    Started,
    WaitFor,
    about_live,
    in_flight,
    uncertain,
)
from airflow_provider_buildpixel.core.intent import Adopt, Asked
from airflow_provider_buildpixel.core.model import Build, BuildSetting, Status
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
ASKED = Asked("p", "s")


def build(identity: str, status: str = "running", branch: str = "main") -> Build:
    """Make a build of the kind."""
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
    """Live are the builds of the kind that have not ended, newest first."""
    builds = [
        build("b1"),
        build("b3", "made-up"),
        build("b2", "pending"),
        build("b4", "failed"),
        build("b5", branch="other"),
    ]
    assert [live.id for live in in_flight(builds, ASKED, SETTING)] == ["b3", "b2", "b1"]
    other = Asked("p", "s", branch="other")
    assert [live.id for live in in_flight(builds, other, SETTING)] == ["b5"]


LIVE = (build("b2"), build("b1"))


@pytest.mark.parametrize(
    ("live", "asked", "policy", "expected"),
    [
        ((), ASKED, "fail", Post()),
        (LIVE, ASKED, "supersede", Post(LIVE)),
        (LIVE, ASKED, "wait", WaitFor(LIVE[0])),
        (LIVE, ASKED, "adopt", Adopt(LIVE[0])),
        (LIVE, Asked("p", "s", commit="abc"), "adopt", Adopt(LIVE[0])),
        (LIVE, Asked("p", "s", commit="def"), "adopt", Post(LIVE)),
        (LIVE, Asked("p", "s", changelist="7"), "adopt", Adopt(LIVE[0])),
        (LIVE, Asked("p", "s", changelist="8"), "adopt", Post(LIVE)),
        (LIVE, Asked("p", "other"), "adopt", Post(LIVE)),
        (LIVE, Asked("p", "s", branch="refs/heads/main"), "adopt", Adopt(LIVE[0])),
    ],
)
def test_about_live(live: tuple[Build, ...], asked: Asked, policy: str, expected: object) -> None:
    """The policy decides about live builds; adopted is only what was asked for."""
    assert about_live(live, asked, SETTING, policy) == expected


def test_an_unknown_commit_is_not_adopted() -> None:
    """A live build that does not tell its commit is not taken for the one that was asked for."""
    live = (Build("b", Status("pending")),)
    assert about_live(live, Asked("p", "s", commit="abc"), SETTING, "adopt") == Post(live)
    assert about_live(live, Asked("p", "s", changelist="7"), SETTING, "adopt") == Post(live)
    assert about_live(live, ASKED, SETTING, "adopt") == Adopt(live[0])


def test_a_build_in_flight_is_an_error_where_that_is_asked() -> None:
    """The policy fail names the build that stands in the way."""
    with pytest.raises(BuildInFlight, match=r"b2.*push:c") as caught:
        about_live(LIVE, ASKED, SETTING, "fail")
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
def test_uncertain(error: BuildPixelError, *, expected: bool) -> None:
    """A request may have run unless it was refused or never left."""
    assert uncertain(error) is expected


def test_a_dispatch_that_is_answered() -> None:
    """The plain way is one request."""
    machine = Dispatching()
    assert machine.want() == Request()
    machine.answered("b")
    assert machine.want() == Started("b")


@pytest.mark.parametrize(
    ("error", "again"),
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
def test_a_lost_answer(error: BuildPixelError, *, again: bool) -> None:
    """After a lost answer all looks come first, and a request only if the first is surely over."""
    machine = Dispatching()
    machine.failed(error)
    for pause in LOOKS[:-1]:
        assert machine.want() == Look(pause)
        machine.looked(())
    assert machine.want() == Look(LOOKS[-1])
    if again:
        machine.looked(())
        assert machine.want() == Request()
    else:
        with pytest.raises(DispatchUncertain, match="no build of it can be seen"):
            machine.looked(())


def test_a_build_that_a_look_finds() -> None:
    """The one build that a look finds is the request's."""
    machine = Dispatching(searching=True)
    machine.looked(())
    machine.looked((build("b1"),))
    assert machine.want() == Started("b1")


def test_a_refused_request_is_raised() -> None:
    """A refusal says that nothing was started, and is no reason to look."""
    with pytest.raises(InvalidRequest):
        Dispatching().failed(InvalidRequest("x", status_code=400))
