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
from tests.clients.shells import BRIEF, ROOMY, brief

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_buildpixel.api.model import BuildSetting
    from airflow_provider_buildpixel.api.settings import Settings
    from airflow_provider_buildpixel.builds.record import Snapshot
    from airflow_provider_buildpixel.exceptions import (
        BuildPixelError,
    )
    from airflow_provider_buildpixel.sandbox import Sandbox


class Desk:
    """A caller that dispatches, and whose sleep moves the sandbox's clock instead."""

    def __init__(self, sandbox: Sandbox, client: Client, **request: Any) -> None:
        setting = sandbox.setting("MyGame", platform="Linux")
        self.sandbox = sandbox
        self.client = client
        self.read_requested = BuildRequest(setting["projectId"], setting["id"], **request)
        self.setting: BuildSetting = client.perform(
            get_build_setting(setting["projectId"], setting["id"])
        )
        self.slept = 0.0

    def sleep(self, seconds: float) -> None:
        """Let time pass in the sandbox only."""
        self.slept += seconds
        self.sandbox.advance(seconds)

    def look(self) -> Snapshot:
        """Look at what is there before the request."""
        return take_snapshot(self.client, self.read_requested, self.setting)

    def dispatch(self, before: Snapshot | None = None, **how: Any) -> str:
        """Start the build."""
        before = before or self.look()
        return dispatch_build(
            self.client, self.read_requested, self.setting, before, sleep=self.sleep, **how
        )

    @property
    def posts(self) -> int:
        """The number of trigger requests so far."""
        return sum(request.route == "POST trigger" for request in self.sandbox.requests)


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    """Give a blocking client whose pauses are short."""
    one = Client(settings, jitter=lambda: 0.0)
    yield one
    one.close()


@pytest.fixture
def desk(sandbox: Sandbox, client: Client) -> Desk:
    """Give a caller that asks for MyGame on Linux."""
    return Desk(sandbox, client)


LOST = ["reset", "close", "timeout", "502"]


@pytest.mark.parametrize(
    ("how", "request_timeout"), [(how, BRIEF if how == "timeout" else ROOMY) for how in LOST]
)
def test_an_answer_lost_after_the_fact(sandbox: Sandbox, desk: Desk, how: str) -> None:
    """When the build was started and the answer lost, the build is found and none is added."""
    sandbox.fault("lost-answer", "POST trigger", times=1, how=how)
    build_id = desk.dispatch()
    assert [build["id"] for build in sandbox.builds()] == [build_id]
    assert desk.posts == 1


@pytest.mark.parametrize("fault", ["reset", "close", "500", "502-html", "503-empty"])
def test_a_request_lost_before_the_fact(sandbox: Sandbox, desk: Desk, fault: str) -> None:
    """When nothing was started, that is seen after a while, and the request sent once more."""
    sandbox.fault(fault, "POST trigger", times=1)
    build_id = desk.dispatch()
    assert [build["id"] for build in sandbox.builds()] == [build_id]
    assert desk.posts == 2
    assert desk.slept > 20


@pytest.mark.parametrize("fault", ["reset", "500"])
def test_requests_lost_for_good(sandbox: Sandbox, desk: Desk, fault: str) -> None:
    """After two requests without a trace the dispatch gives up rather than go on for ever."""
    sandbox.fault(fault, "POST trigger")
    with pytest.raises(DispatchUncertain, match="no build of it can be seen"):
        desk.dispatch()
    assert desk.posts == 2
    assert sandbox.builds() == []


@brief
def test_a_request_that_hangs(sandbox: Sandbox, desk: Desk) -> None:
    """A request that timed out may still run, so that it is never repeated."""
    sandbox.fault("hang", "POST trigger", times=1)
    with pytest.raises(DispatchUncertain):
        desk.dispatch()
    assert desk.posts == 1


@pytest.mark.parametrize("lag", [1.0, 5.0, 12.0])
def test_a_stale_list(sandbox: Sandbox, desk: Desk, lag: float) -> None:
    """A build that the lists show late only is found all the same."""
    before = desk.look()
    sandbox.fault("lost-answer", "POST trigger", times=1)
    sandbox.fault("stale", "GET /builds", lag=lag)
    build_id = desk.dispatch(before)
    assert [build["id"] for build in sandbox.builds()] == [build_id]
    assert desk.posts == 1


def test_a_push_at_the_same_time(sandbox: Sandbox, desk: Desk) -> None:
    """A build that a push started meanwhile is not taken for ours."""
    before = desk.look()
    sandbox.fault("lost-answer", "POST trigger", times=1)
    pushed = sandbox.push(desk.read_requested.build_setting_id)
    build_id = desk.dispatch(before)
    assert build_id != pushed
    assert len(sandbox.builds()) == 2


def test_only_a_push(sandbox: Sandbox, desk: Desk) -> None:
    """Where a push started a build and our request none, ours is sent again."""
    before = desk.look()
    sandbox.fault("reset", "POST trigger", times=1)
    pushed = sandbox.push(desk.read_requested.build_setting_id)
    build_id = desk.dispatch(before)
    assert {build["id"] for build in sandbox.builds()} == {pushed, build_id}
    assert desk.posts == 2


def test_another_dispatch_of_the_same_token(sandbox: Sandbox, desk: Desk) -> None:
    """Two builds of the token that cannot be told apart are listed, and nothing is dispatched."""
    before = desk.look()
    desk.dispatch()
    sandbox.fault("lost-answer", "POST trigger", times=1)
    with pytest.raises(DispatchUncertain) as caught:
        desk.dispatch(before)
    assert len(caught.value.candidates) == 2
    assert desk.posts == 2


def test_another_commit_of_the_same_token(sandbox: Sandbox, client: Client) -> None:
    """A build of the token for another commit is not taken for ours."""
    ours, theirs = (Desk(sandbox, client, commit=name * 20) for name in ("ab", "cd"))
    before = ours.look()
    theirs.dispatch()
    sandbox.fault("lost-answer", "POST trigger", times=1)
    build_id = ours.dispatch(before)
    assert sandbox.build(build_id)["commit"] == "ab" * 20


def test_a_live_build(sandbox: Sandbox, desk: Desk) -> None:
    """A build that was live before is in the snapshot, and not taken for the new one."""
    live = sandbox.push(desk.read_requested.build_setting_id, triggered_by="api_token:somebody")
    before = desk.look()
    assert [build.id for build in before.live] == [live]
    sandbox.fault("lost-answer", "POST trigger", times=1)
    assert desk.dispatch(before) != live
    assert sandbox.build(live)["status"] == "superseded"


def test_a_search(sandbox: Sandbox, desk: Desk) -> None:
    """A later try that finds the build of an earlier one sends no request."""
    before = desk.look()
    build_id = desk.dispatch(before)
    assert desk.dispatch(before, searching=True) == build_id
    assert desk.posts == 1


def test_a_search_in_vain(sandbox: Sandbox, desk: Desk) -> None:
    """A later try that finds nothing, for long enough, sends the request."""
    build_id = desk.dispatch(searching=True)
    assert [build["id"] for build in sandbox.builds()] == [build_id]


def test_blind(sandbox: Sandbox, client: Client) -> None:
    """Where neither the answer nor the list can be had, nothing is dispatched twice."""
    desk = Desk(sandbox, Client(client.settings, sleep=lambda _: None, jitter=lambda: 0.0))
    before = desk.look()
    sandbox.fault("lost-answer", "POST trigger", times=1)
    sandbox.fault("401", "GET /builds")
    with pytest.raises(DispatchUncertain):
        desk.dispatch(before)
    desk.client.close()
    assert desk.posts == 1


@pytest.mark.parametrize(("fault", "expected"), [("403", Forbidden), ("refuse", InvalidRequest)])
def test_a_refusal(
    sandbox: Sandbox, desk: Desk, fault: str, expected: type[BuildPixelError]
) -> None:
    """A refusal is passed on as it is: nothing was started."""
    sandbox.fault(fault, "POST trigger")
    with pytest.raises(expected):
        desk.dispatch()
    assert desk.posts == 1


@pytest.mark.parametrize("order", ["newest", "oldest", "random", "ended-first"])
def test_many_builds(sandbox: Sandbox, desk: Desk, order: str) -> None:
    """Among hundreds of builds the new one is found, whatever the order of the list."""
    for number in range(220):
        sandbox.push(desk.read_requested.build_setting_id, branch=f"b{number}")
    sandbox.world.variants = type(sandbox.world.variants)(builds_order=order)
    sandbox.fault("lost-answer", "POST trigger", times=1)
    build_id = desk.dispatch()
    assert sandbox.builds()[-1]["id"] == build_id
    assert desk.posts == 1


class Gone(Exception):
    """The supervisor of this process has ended."""


@pytest.mark.parametrize(
    ("fault", "searching"),
    [
        pytest.param({"name": "429", "retry_after": 0}, False, id="refused"),
        pytest.param({"name": "reset"}, False, id="lost"),
        pytest.param({"name": "slow", "delay": 0.0}, True, id="after a search"),
    ],
)
def test_who_is_gone_asks_once(desk: Desk, fault: dict[str, Any], *, searching: bool) -> None:
    """Before each request but a first one, the caller can end the dispatch."""
    desk.sandbox.fault(route="POST trigger", times=1, **fault)

    def gone() -> None:
        raise Gone

    with pytest.raises(Gone):
        desk.dispatch(searching=searching, again=gone)
    assert desk.posts == (0 if searching else 1)
    assert desk.sandbox.builds() == []
