"""Starting a build exactly once on a server that loses answers and shows stale lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_buildpixel.api.blocking import Client
from airflow_provider_buildpixel.api.endpoints import get_build_setting
from airflow_provider_buildpixel.builds.dispatch_loop import dispatch_build, take_snapshot
from airflow_provider_buildpixel.builds.request import BuildRequest
from airflow_provider_buildpixel.exceptions import (
    DispatchUncertain,
    Forbidden,
    InvalidRequest,
)
from tests.clients.adapters import LONG_TIMEOUT, SHORT_TIMEOUT, short_timeout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_buildpixel.api.model import BuildSetting
    from airflow_provider_buildpixel.api.settings import Settings
    from airflow_provider_buildpixel.builds.record import Snapshot
    from airflow_provider_buildpixel.exceptions import (
        BuildPixelError,
    )
    from airflow_provider_buildpixel.sandbox import Sandbox


class Caller:
    """Dispatches builds; its sleep advances the sandbox's clock instead."""

    def __init__(self, sandbox: Sandbox, client: Client, **request: Any) -> None:
        setting = sandbox.setting("MyGame", platform="Linux")
        self.sandbox = sandbox
        self.client = client
        self.build_request = BuildRequest(setting["projectId"], setting["id"], **request)
        self.setting: BuildSetting = client.perform(
            get_build_setting(setting["projectId"], setting["id"])
        )
        self.slept = 0.0

    def sleep(self, seconds: float) -> None:
        """Advance the sandbox's clock."""
        self.slept += seconds
        self.sandbox.advance(seconds)

    def snapshot(self) -> Snapshot:
        """Return the builds before the request."""
        return take_snapshot(self.client, self.build_request, self.setting)

    def dispatch(self, snapshot: Snapshot | None = None, **kwargs: Any) -> str:
        """Start the build; return its id."""
        snapshot = snapshot or self.snapshot()
        return dispatch_build(
            self.client, self.build_request, self.setting, snapshot, sleep=self.sleep, **kwargs
        )

    @property
    def posts(self) -> int:
        """The number of trigger requests so far."""
        return sum(request.route == "POST trigger" for request in self.sandbox.requests)


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    """Yield a blocking client whose pauses are short."""
    client = Client(settings, jitter=lambda: 0.0)
    yield client
    client.close()


@pytest.fixture
def caller(sandbox: Sandbox, client: Client) -> Caller:
    """Return a caller that requests MyGame on Linux."""
    return Caller(sandbox, client)


LOST_ANSWERS = ["reset", "close", "timeout", "502"]


@pytest.mark.parametrize(
    ("how", "request_timeout"),
    [(how, SHORT_TIMEOUT if how == "timeout" else LONG_TIMEOUT) for how in LOST_ANSWERS],
)
def test_an_answer_lost_after_the_build_started(sandbox: Sandbox, caller: Caller, how: str) -> None:
    """If the build was started and the answer lost, the build is found and not started again."""
    sandbox.fault("lost-answer", "POST trigger", times=1, how=how)
    build_id = caller.dispatch()
    assert [build["id"] for build in sandbox.builds()] == [build_id]
    assert caller.posts == 1


@pytest.mark.parametrize("fault", ["reset", "close", "500", "502-html", "503-empty"])
def test_a_request_that_started_no_build(sandbox: Sandbox, caller: Caller, fault: str) -> None:
    """If searches find no build, the request is sent once more."""
    sandbox.fault(fault, "POST trigger", times=1)
    build_id = caller.dispatch()
    assert [build["id"] for build in sandbox.builds()] == [build_id]
    assert caller.posts == 2
    assert caller.slept > 20


@pytest.mark.parametrize("fault", ["reset", "500"])
def test_all_requests_are_lost(sandbox: Sandbox, caller: Caller, fault: str) -> None:
    """After two requests without a build, the dispatch fails."""
    sandbox.fault(fault, "POST trigger")
    with pytest.raises(DispatchUncertain, match="no build of it is listed"):
        caller.dispatch()
    assert caller.posts == 2
    assert sandbox.builds() == []


@short_timeout
def test_a_request_that_hangs(sandbox: Sandbox, caller: Caller) -> None:
    """A request that timed out may still be running, so it is not repeated."""
    sandbox.fault("hang", "POST trigger", times=1)
    with pytest.raises(DispatchUncertain):
        caller.dispatch()
    assert caller.posts == 1


@pytest.mark.parametrize("lag", [1.0, 5.0, 12.0])
def test_a_stale_list(sandbox: Sandbox, caller: Caller, lag: float) -> None:
    """A build that the lists show late is found."""
    snapshot = caller.snapshot()
    sandbox.fault("lost-answer", "POST trigger", times=1)
    sandbox.fault("stale", "GET /builds", lag=lag)
    build_id = caller.dispatch(snapshot)
    assert [build["id"] for build in sandbox.builds()] == [build_id]
    assert caller.posts == 1


def test_a_push_at_the_same_time(sandbox: Sandbox, caller: Caller) -> None:
    """A build that a push has started meanwhile is not mistaken for ours."""
    snapshot = caller.snapshot()
    sandbox.fault("lost-answer", "POST trigger", times=1)
    pushed = sandbox.push(caller.build_request.build_setting_id)
    build_id = caller.dispatch(snapshot)
    assert build_id != pushed
    assert len(sandbox.builds()) == 2


def test_a_push_and_a_lost_request(sandbox: Sandbox, caller: Caller) -> None:
    """If a push started a build and our request did not, our request is sent again."""
    snapshot = caller.snapshot()
    sandbox.fault("reset", "POST trigger", times=1)
    pushed = sandbox.push(caller.build_request.build_setting_id)
    build_id = caller.dispatch(snapshot)
    assert {build["id"] for build in sandbox.builds()} == {pushed, build_id}
    assert caller.posts == 2


def test_another_dispatch_of_the_same_token(sandbox: Sandbox, caller: Caller) -> None:
    """If two builds of the token match, the error lists both and the request is not repeated."""
    snapshot = caller.snapshot()
    caller.dispatch()
    sandbox.fault("lost-answer", "POST trigger", times=1)
    with pytest.raises(DispatchUncertain) as caught:
        caller.dispatch(snapshot)
    assert len(caught.value.candidates) == 2
    assert caller.posts == 2


def test_another_commit_of_the_same_token(sandbox: Sandbox, client: Client) -> None:
    """A build of the same token for another commit is not mistaken for ours."""
    ours, theirs = (Caller(sandbox, client, commit=name * 20) for name in ("ab", "cd"))
    snapshot = ours.snapshot()
    theirs.dispatch()
    sandbox.fault("lost-answer", "POST trigger", times=1)
    build_id = ours.dispatch(snapshot)
    assert sandbox.build(build_id)["commit"] == "ab" * 20


def test_a_live_build(sandbox: Sandbox, caller: Caller) -> None:
    """A build that was live before is in the snapshot and not mistaken for the new one."""
    live = sandbox.push(caller.build_request.build_setting_id, triggered_by="api_token:other")
    snapshot = caller.snapshot()
    assert [build.id for build in snapshot.live] == [live]
    sandbox.fault("lost-answer", "POST trigger", times=1)
    assert caller.dispatch(snapshot) != live
    assert sandbox.build(live)["status"] == "superseded"


def test_search_first(sandbox: Sandbox, caller: Caller) -> None:
    """A later try that finds the build of an earlier one sends no request."""
    snapshot = caller.snapshot()
    build_id = caller.dispatch(snapshot)
    assert caller.dispatch(snapshot, search_first=True) == build_id
    assert caller.posts == 1


def test_search_first_finds_nothing(sandbox: Sandbox, caller: Caller) -> None:
    """A later try whose searches find nothing sends the request."""
    build_id = caller.dispatch(search_first=True)
    assert [build["id"] for build in sandbox.builds()] == [build_id]


def test_search_fails(sandbox: Sandbox, client: Client) -> None:
    """If both the answer and the search fail, the request is not repeated."""
    caller = Caller(sandbox, Client(client.settings, sleep=lambda _: None, jitter=lambda: 0.0))
    snapshot = caller.snapshot()
    sandbox.fault("lost-answer", "POST trigger", times=1)
    sandbox.fault("401", "GET /builds")
    with pytest.raises(DispatchUncertain):
        caller.dispatch(snapshot)
    caller.client.close()
    assert caller.posts == 1


@pytest.mark.parametrize(("fault", "expected"), [("403", Forbidden), ("refuse", InvalidRequest)])
def test_a_refusal(
    sandbox: Sandbox, caller: Caller, fault: str, expected: type[BuildPixelError]
) -> None:
    """A refusal is raised unchanged, as no build was started."""
    sandbox.fault(fault, "POST trigger")
    with pytest.raises(expected):
        caller.dispatch()
    assert caller.posts == 1


@pytest.mark.parametrize("order", ["newest", "oldest", "random", "ended-first"])
def test_many_builds(sandbox: Sandbox, caller: Caller, order: str) -> None:
    """The new build is found among hundreds, whatever the order of the list."""
    for number in range(220):
        sandbox.push(caller.build_request.build_setting_id, branch=f"b{number}")
    sandbox.world.variants = type(sandbox.world.variants)(builds_order=order)
    sandbox.fault("lost-answer", "POST trigger", times=1)
    build_id = caller.dispatch()
    assert sandbox.builds()[-1]["id"] == build_id
    assert caller.posts == 1


class SupervisorEndedError(Exception):
    """The supervisor of this process has ended."""


@pytest.mark.parametrize(
    ("fault", "search_first"),
    [
        pytest.param({"name": "429", "retry_after": 0}, False, id="refused"),
        pytest.param({"name": "reset"}, False, id="lost"),
        pytest.param({"name": "slow", "delay": 0.0}, True, id="after a search"),
    ],
)
def test_before_retry_can_end_the_dispatch(
    caller: Caller, fault: dict[str, Any], *, search_first: bool
) -> None:
    """Before each request except the first, the caller can end the dispatch."""
    caller.sandbox.fault(route="POST trigger", times=1, **fault)

    def raise_error() -> None:
        raise SupervisorEndedError

    with pytest.raises(SupervisorEndedError):
        caller.dispatch(search_first=search_first, before_retry=raise_error)
    assert caller.posts == (0 if search_first else 1)
    assert caller.sandbox.builds() == []
