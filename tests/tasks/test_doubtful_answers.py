"""Answers that are right in their way, and would mislead who takes them at their word."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_buildpixel.exceptions import (
    BuildInFlight,
    BuildSuperseded,
    BuildTimeout,
    DispatchUncertain,
    Forbidden,
    InvalidRequest,
)
from airflow_provider_buildpixel.hooks.buildpixel import BuildPixelHook
from airflow_provider_buildpixel.sandbox import Variants
from airflow_provider_buildpixel.sensors.buildpixel import BuildPixelBuildSensor
from airflow_provider_buildpixel.tasks.state import STATE_KEY
from airflow_provider_buildpixel.triggers.buildpixel import BuildPixelBuildTrigger
from tests.tasks.stage import (
    MODES,
    WIN64,
    Store,
    TaskInstance,
    building,
    carried_out,
    context_of,
    dispatched,
    in_dag,
    meanwhile,
    posts,
    reads,
    until,
    waited_for,
    woken,
)

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox import Sandbox

ENDED_FIRST = Variants(builds_order="ended-first")
MANY = 103
HANGS: dict[str, Any] = {"outcome": "hangs", "queue": 0.1}


def pushed(sandbox: Sandbox, **setting: Any) -> str:
    """Queue a build of a push."""
    return sandbox.push(sandbox.setting("MyGame", **(WIN64 | setting))["id"])


def history(sandbox: Sandbox) -> None:
    """Let there be more builds that have ended than one page shows."""
    for _ in range(MANY):
        sandbox.set_status(pushed(sandbox), "complete")


def ended(sandbox: Sandbox, mode: str, **kwargs: Any) -> Any:
    """Carry a task out to its end."""
    return carried_out(building(mode, **kwargs), context_of(TaskInstance(), Store()))


def looks(sandbox: Sandbox) -> int:
    """Count the lists that were read."""
    return len(sandbox.requests_to("GET /builds"))


@pytest.mark.parametrize("sandbox", [ENDED_FIRST], indirect=True, ids=str)
@pytest.mark.parametrize("deferrable", [False, True])
def test_old_success(sandbox: Sandbox, deferrable: bool) -> None:
    """A sensor does not take an old build for the newest where the list shows what has ended."""
    history(sandbox)
    sandbox.plan(**HANGS)
    newest = pushed(sandbox)
    make = partial(
        in_dag,
        BuildPixelBuildSensor,
        project="MyGame",
        build_setting=WIN64,
        poke_interval=0.1,
        timeout=20,
        deferrable=deferrable,
        channel="polling",
    )

    def story() -> None:
        until(lambda: any(newest in request.path for request in sandbox.requests))
        sandbox.set_status(newest, "complete")

    with meanwhile(story):
        assert carried_out(make, context_of(TaskInstance()))["build_id"] == newest


@pytest.mark.parametrize("sandbox", [ENDED_FIRST], indirect=True, ids=str)
def test_live_build_on_the_last_page(sandbox: Sandbox) -> None:
    """A live build in the way is seen where the list shows what has ended first."""
    history(sandbox)
    sandbox.plan(**HANGS)
    live = pushed(sandbox)
    with pytest.raises(BuildInFlight, match=live):
        ended(sandbox, "blocking", on_in_flight="fail")
    assert posts(sandbox) == 0


@pytest.mark.parametrize("sandbox", [ENDED_FIRST], indirect=True, ids=str)
def test_lost_answer_on_the_last_page(sandbox: Sandbox) -> None:
    """A build whose dispatch was never answered is found where the list shows it last."""
    history(sandbox)
    sandbox.plan(**HANGS)
    sandbox.fault("lost-answer", "POST trigger", times=1, how="502")
    with meanwhile(lambda: sandbox.set_status(waited_for(sandbox), "complete")):
        assert [ended(sandbox, "blocking")["build_id"]] == dispatched(sandbox)
    assert posts(sandbox) == 1


@pytest.mark.usefixtures("hasty")
def test_lost_answer_over_a_replaced_token(sandbox: Sandbox) -> None:
    """Where the connection got another token since, its build is not taken for a stranger's."""
    store = Store()
    carried_out(building("blocking"), context_of(TaskInstance(), store))
    store.set(STATE_KEY, {**store.get(STATE_KEY), "token": "api_token:an-older-one"})
    sandbox.fault("lost-answer", "POST trigger", times=1, how="502")
    with pytest.raises(DispatchUncertain) as raised:
        carried_out(
            building("blocking"), context_of(TaskInstance(try_number=2, max_tries=2), store)
        )
    assert [build.id for build in raised.value.candidates] == dispatched(sandbox)[1:]
    assert posts(sandbox) == 2


@pytest.mark.parametrize("policy", ["fail", "wait"])
def test_ended_build_on_a_stale_list(sandbox: Sandbox, policy: str) -> None:
    """A build that a list still shows alive stands in nobody's way."""
    sandbox.plan(**HANGS)
    old = pushed(sandbox)
    sandbox.advance(5)
    sandbox.set_status(old, "complete")
    sandbox.fault("stale", "GET /builds", lag=3.0)
    assert ended(sandbox, "blocking", on_in_flight=policy)["status"] == "complete"
    assert looks(sandbox) == 1
    assert posts(sandbox) == 1


def test_wait_in_spite_of_a_stale_list(sandbox: Sandbox) -> None:
    """Who waited for a build in the way dispatches when it has ended, whatever the list says."""
    sandbox.plan(**HANGS)
    old = pushed(sandbox)
    sandbox.advance(5)
    sandbox.fault("stale", "GET /builds", lag=3.0)

    def story() -> None:
        until(lambda: any(old in request.path for request in sandbox.requests))
        sandbox.set_status(old, "complete")

    with meanwhile(story):
        ended(sandbox, "blocking", on_in_flight="wait")
    assert looks(sandbox) == 2
    assert posts(sandbox) == 1


def test_live_build_of_another_setting(sandbox: Sandbox) -> None:
    """A build of another setting, though of the same kind, is not adopted: it may be any engine."""
    theirs = sandbox.setting("MyGame", **WIN64)
    hook = BuildPixelHook()
    made = hook.create_build_setting(
        theirs["projectId"],
        platform=theirs["platform"],
        build_type=theirs["buildType"],
        ue_version="5.3",
        branch=theirs["branch"],
        trigger="manual",
    )
    hook.close()
    sandbox.plan(**HANGS)
    live = sandbox.push(theirs["id"])
    facts = ended(sandbox, "blocking", build_setting=made.id, on_in_flight="adopt")
    assert (facts["build_setting_id"], sandbox.build(live)["status"]) == (made.id, "superseded")


@pytest.mark.parametrize("mode", MODES)
def test_queue_of_the_newer_build(sandbox: Sandbox, mode: str) -> None:
    """A newer build that is followed has its own time in the queue."""
    sandbox.plan(**HANGS)
    store = Store()
    started = building("blocking", wait_for_completion=False)
    carried_out(started, context_of(TaskInstance(max_tries=1), store))
    store.set(STATE_KEY, {**store.get(STATE_KEY), "dispatched_at": 1.0})  # long ago
    (old,) = dispatched(sandbox)
    sandbox.advance(5)  # and it runs by now

    def story() -> None:
        until(lambda: reads(sandbox, old) >= 3)
        sandbox.plan(queue=0.5, run=0.2)
        sandbox.push(sandbox.build(old)["buildSettingId"])

    make = building(mode, on_superseded="follow", queue_timeout=3600)
    with meanwhile(story):
        facts = carried_out(make, context_of(TaskInstance(try_number=2, max_tries=1), store))
    assert facts["build_id"] == sandbox.builds()[1]["id"]


@pytest.mark.parametrize("mode", MODES)
def test_queue_of_the_newer_build_ends(sandbox: Sandbox, mode: str) -> None:
    """That time is not without end."""
    sandbox.plan(**HANGS)

    def story() -> None:
        old = waited_for(sandbox)
        sandbox.plan(outcome="stays_pending")
        sandbox.push(sandbox.build(old)["buildSettingId"])

    with meanwhile(story), pytest.raises(BuildTimeout, match="queue_timeout") as raised:
        ended(sandbox, mode, on_superseded="follow", queue_timeout=1.5)
    assert raised.value.build is not None
    assert raised.value.build.id == sandbox.builds()[1]["id"]


@pytest.mark.parametrize("mode", MODES)
def test_newer_build_that_shows_late(sandbox: Sandbox, mode: str) -> None:
    """The newer build is looked for again where the list does not show it at once."""
    sandbox.plan(**HANGS)

    def story() -> None:
        old = waited_for(sandbox)
        sandbox.fault("stale", "GET /builds", lag=1.0)
        sandbox.push(sandbox.build(old)["buildSettingId"])

    with meanwhile(story):
        facts = ended(sandbox, mode, on_superseded="follow")
    assert facts["build_id"] == sandbox.builds()[1]["id"]


def test_newer_build_is_named(sandbox: Sandbox) -> None:
    """A sensor's error says which build took the place of the one it waited for."""
    sandbox.plan(**HANGS)
    old, newer = pushed(sandbox), pushed(sandbox)
    make = partial(in_dag, BuildPixelBuildSensor, build_id=old, poke_interval=0.1, timeout=20)
    with pytest.raises(BuildSuperseded, match=newer) as raised:
        carried_out(make, context_of(TaskInstance()))
    assert raised.value.newer is not None
    assert raised.value.newer.id == newer


@pytest.mark.parametrize(
    ("field", "value"),
    [("build_setting", ""), ("branch", "None"), ("commit", "None"), ("project", "")],
)
def test_filters_of_nothing(sandbox: Sandbox, field: str, value: str) -> None:
    """A filter that rendered to nothing is refused, as it would fit any build."""
    pushed(sandbox)
    request = {"project": "MyGame", "build_setting": WIN64, field: value}
    make = partial(in_dag, BuildPixelBuildSensor, poke_interval=0.1, timeout=20, **request)
    with pytest.raises(InvalidRequest, match=field):
        carried_out(make, context_of(TaskInstance()))
    assert sandbox.requests == []


@pytest.mark.parametrize("branch", ["", "main", None])
def test_empty_branch_and_commit(sandbox: Sandbox, branch: str | None) -> None:
    """An empty branch or commit is none, as in the operator: they are not asked for."""
    sandbox.set_status(pushed(sandbox), "complete")
    request: dict[str, Any] = {"project": "MyGame", "build_setting": WIN64}
    make = partial(in_dag, BuildPixelBuildSensor, branch=branch, commit=" ", **request)
    assert carried_out(make, context_of(TaskInstance()))["branch"] == "main"
    (listed,) = sandbox.requests_to("GET /builds")
    assert listed.query.get("branch") == (branch or None)


@pytest.mark.parametrize("build_id", ["None", ""])
def test_build_that_was_never_told(sandbox: Sandbox, build_id: str) -> None:
    """An id that an XCom did not have is refused at once, instead of waited for."""
    make = partial(in_dag, BuildPixelBuildSensor, build_id=build_id, poke_interval=0.1, timeout=20)
    with pytest.raises(InvalidRequest, match="build_id"):
        carried_out(make, context_of(TaskInstance()))
    assert sandbox.requests == []


@pytest.mark.parametrize(
    "build_request", [{"branch": "None"}, {"commit": "None"}, {"project": None}]
)
def test_dispatch_of_nothing(sandbox: Sandbox, build_request: dict[str, Any]) -> None:
    """What a template made of nothing is refused before anything is dispatched."""
    with pytest.raises(InvalidRequest, match=next(iter(build_request))):
        ended(sandbox, "blocking", **build_request)
    assert posts(sandbox) == 0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sandbox", [Variants(error_body="html")], indirect=True, ids=str)
def test_refusal_by_a_gateway(sandbox: Sandbox, mode: str) -> None:
    """A refusal that lacks BuildPixel's code may be a gateway's, and pass: the wait goes on."""
    sandbox.plan(**HANGS)

    def story() -> None:
        build_id = waited_for(sandbox)
        refusal = sandbox.fault("403", "GET /builds/:id", times=2)
        until(lambda: refusal.hits == 2)
        sandbox.set_status(build_id, "complete")

    with meanwhile(story):
        assert ended(sandbox, mode)["status"] == "complete"


def test_refusal_by_buildpixel(sandbox: Sandbox) -> None:
    """A refusal by BuildPixel itself ends the wait."""
    sandbox.plan(**HANGS)

    def story() -> None:
        waited_for(sandbox)
        sandbox.fault("403", "GET /builds/:id")

    with meanwhile(story), pytest.raises(Forbidden):
        ended(sandbox, "blocking")


def test_connection_that_is_not_there(sandbox: Sandbox) -> None:
    """A trigger without its connection wakes the task, which looks for itself."""
    build_id = pushed(sandbox)
    event = woken(BuildPixelBuildTrigger(build_id=build_id, buildpixel_conn_id="nowhere"))
    assert (event["build_id"], event["status"]) == (build_id, "error")
    assert "nowhere" in event["message"]


def test_xcom_that_was_cleared(sandbox: Sandbox) -> None:
    """A task that is woken tells its build's id and link again."""
    sandbox.plan(**HANGS)
    build_id = pushed(sandbox)
    sandbox.set_status(build_id, "complete")
    ti = TaskInstance()
    event = {"build_id": build_id, "status": "complete"}
    building("deferrable")().execute_complete(context_of(ti), event)
    assert ti.xcoms["build_id"] == build_id
