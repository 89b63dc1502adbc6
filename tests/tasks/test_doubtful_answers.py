"""Valid but misleading answers: stale lists, other orders, lost answers, empty templates."""

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
    concurrently,
    context_of,
    count_reads,
    count_trigger_requests,
    dispatched_builds,
    operator_factory,
    run_task,
    run_trigger,
    task_in_dag,
    wait_for_dispatch,
    wait_until,
)

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox import Sandbox

ENDED_FIRST = Variants(builds_order="ended-first")
MORE_THAN_ONE_PAGE = 103
HANGS: dict[str, Any] = {"outcome": "hangs", "queue": 0.1}


def push_build(sandbox: Sandbox, **setting: Any) -> str:
    """Queue a build of a push; return its id."""
    return sandbox.push(sandbox.setting("MyGame", **(WIN64 | setting))["id"])


def add_ended_builds(sandbox: Sandbox) -> None:
    """Add more ended builds than one page shows."""
    for _ in range(MORE_THAN_ONE_PAGE):
        sandbox.set_status(push_build(sandbox), "complete")


def run_to_end(sandbox: Sandbox, mode: str, **kwargs: Any) -> Any:
    """Run a task to its end; return its result."""
    return run_task(operator_factory(mode, **kwargs), context_of(TaskInstance(), Store()))


def count_lists(sandbox: Sandbox) -> int:
    """Return the number of list requests."""
    return len(sandbox.requests_to("GET /builds"))


@pytest.mark.parametrize("sandbox", [ENDED_FIRST], indirect=True, ids=str)
@pytest.mark.parametrize("deferrable", [False, True])
def test_old_success(sandbox: Sandbox, *, deferrable: bool) -> None:
    """A sensor finds the newest build where the list shows ended builds first."""
    add_ended_builds(sandbox)
    sandbox.plan(**HANGS)
    newest = push_build(sandbox)
    make = partial(
        task_in_dag,
        BuildPixelBuildSensor,
        project="MyGame",
        build_setting=WIN64,
        poke_interval=0.1,
        timeout=20,
        deferrable=deferrable,
        channel="polling",
    )

    def steps() -> None:
        wait_until(lambda: any(newest in request.path for request in sandbox.requests))
        sandbox.set_status(newest, "complete")

    with concurrently(steps):
        assert run_task(make, context_of(TaskInstance()))["build_id"] == newest


@pytest.mark.parametrize("sandbox", [ENDED_FIRST], indirect=True, ids=str)
def test_live_build_on_the_last_page(sandbox: Sandbox) -> None:
    """A live build is found where the list shows ended builds first."""
    add_ended_builds(sandbox)
    sandbox.plan(**HANGS)
    live = push_build(sandbox)
    with pytest.raises(BuildInFlight, match=live):
        run_to_end(sandbox, "blocking", on_in_flight="fail")
    assert count_trigger_requests(sandbox) == 0


@pytest.mark.parametrize("sandbox", [ENDED_FIRST], indirect=True, ids=str)
def test_lost_answer_on_the_last_page(sandbox: Sandbox) -> None:
    """A build whose dispatch was not answered is found where the list shows it last."""
    add_ended_builds(sandbox)
    sandbox.plan(**HANGS)
    sandbox.fault("lost-answer", "POST trigger", times=1, how="502")
    with concurrently(lambda: sandbox.set_status(wait_for_dispatch(sandbox), "complete")):
        assert [run_to_end(sandbox, "blocking")["build_id"]] == dispatched_builds(sandbox)
    assert count_trigger_requests(sandbox) == 1


@pytest.mark.usefixtures("short_search_pauses")
def test_lost_answer_over_a_replaced_token(sandbox: Sandbox) -> None:
    """After the connection got another token, its build may still be the task's build."""
    store = Store()
    run_task(operator_factory("blocking"), context_of(TaskInstance(), store))
    store.set(STATE_KEY, {**store.get(STATE_KEY), "token": "api_token:an-older-one"})
    sandbox.fault("lost-answer", "POST trigger", times=1, how="502")
    with pytest.raises(DispatchUncertain) as raised:
        run_task(
            operator_factory("blocking"), context_of(TaskInstance(try_number=2, max_tries=2), store)
        )
    assert [build.id for build in raised.value.candidates] == dispatched_builds(sandbox)[1:]
    assert count_trigger_requests(sandbox) == 2


@pytest.mark.parametrize("policy", ["fail", "wait"])
def test_ended_build_on_a_stale_list(sandbox: Sandbox, policy: str) -> None:
    """A build that has ended, but is still live on a stale list, does not delay the dispatch."""
    sandbox.plan(**HANGS)
    old = push_build(sandbox)
    sandbox.advance(5)
    sandbox.set_status(old, "complete")
    sandbox.fault("stale", "GET /builds", lag=3.0)
    assert run_to_end(sandbox, "blocking", on_in_flight=policy)["status"] == "complete"
    assert count_lists(sandbox) == 1
    assert count_trigger_requests(sandbox) == 1


def test_wait_with_a_stale_list(sandbox: Sandbox) -> None:
    """After waiting for a live build, the task dispatches even if the list still shows it live."""
    sandbox.plan(**HANGS)
    old = push_build(sandbox)
    sandbox.advance(5)
    sandbox.fault("stale", "GET /builds", lag=3.0)

    def steps() -> None:
        wait_until(lambda: any(old in request.path for request in sandbox.requests))
        sandbox.set_status(old, "complete")

    with concurrently(steps):
        run_to_end(sandbox, "blocking", on_in_flight="wait")
    assert count_lists(sandbox) == 2
    assert count_trigger_requests(sandbox) == 1


def test_live_build_of_another_setting(sandbox: Sandbox) -> None:
    """A live build of another setting is not adopted: its engine version may differ."""
    other_setting = sandbox.setting("MyGame", **WIN64)
    hook = BuildPixelHook()
    own_setting = hook.create_build_setting(
        other_setting["projectId"],
        platform=other_setting["platform"],
        build_type=other_setting["buildType"],
        ue_version="5.3",
        branch=other_setting["branch"],
        trigger="manual",
    )
    hook.close()
    sandbox.plan(**HANGS)
    live = sandbox.push(other_setting["id"])
    facts = run_to_end(sandbox, "blocking", build_setting=own_setting.id, on_in_flight="adopt")
    assert (facts["build_setting_id"], sandbox.build(live)["status"]) == (
        own_setting.id,
        "superseded",
    )


@pytest.mark.parametrize("mode", MODES)
def test_queue_of_the_newer_build(sandbox: Sandbox, mode: str) -> None:
    """A newer build that is followed has a queue timeout of its own."""
    sandbox.plan(**HANGS)
    store = Store()
    started = operator_factory("blocking", wait_for_completion=False)
    run_task(started, context_of(TaskInstance(max_tries=1), store))
    store.set(STATE_KEY, {**store.get(STATE_KEY), "dispatched_at": 1.0})  # long ago
    (old,) = dispatched_builds(sandbox)
    sandbox.advance(5)  # and it runs by now

    def steps() -> None:
        wait_until(lambda: count_reads(sandbox, old) >= 3)
        sandbox.plan(queue=0.5, run=0.2)
        sandbox.push(sandbox.build(old)["buildSettingId"])

    make = operator_factory(mode, on_superseded="follow", queue_timeout=3600)
    with concurrently(steps):
        facts = run_task(make, context_of(TaskInstance(try_number=2, max_tries=1), store))
    assert facts["build_id"] == sandbox.builds()[1]["id"]


@pytest.mark.parametrize("mode", MODES)
def test_queue_timeout_of_the_newer_build(sandbox: Sandbox, mode: str) -> None:
    """The queue timeout of a newer build raises BuildTimeout."""
    sandbox.plan(**HANGS)

    def steps() -> None:
        old = wait_for_dispatch(sandbox)
        sandbox.plan(outcome="stays_pending")
        sandbox.push(sandbox.build(old)["buildSettingId"])

    with concurrently(steps), pytest.raises(BuildTimeout, match="queue_timeout") as raised:
        run_to_end(sandbox, mode, on_superseded="follow", queue_timeout=1.5)
    assert raised.value.build is not None
    assert raised.value.build.id == sandbox.builds()[1]["id"]


@pytest.mark.parametrize("mode", MODES)
def test_newer_build_on_a_stale_list(sandbox: Sandbox, mode: str) -> None:
    """The search for the newer build is repeated if the list does not show it at once."""
    sandbox.plan(**HANGS)

    def steps() -> None:
        old = wait_for_dispatch(sandbox)
        sandbox.fault("stale", "GET /builds", lag=1.0)
        sandbox.push(sandbox.build(old)["buildSettingId"])

    with concurrently(steps):
        facts = run_to_end(sandbox, mode, on_superseded="follow")
    assert facts["build_id"] == sandbox.builds()[1]["id"]


def test_newer_build_is_named(sandbox: Sandbox) -> None:
    """A sensor's error names the build that superseded the one it waited for."""
    sandbox.plan(**HANGS)
    old, newer = push_build(sandbox), push_build(sandbox)
    make = partial(task_in_dag, BuildPixelBuildSensor, build_id=old, poke_interval=0.1, timeout=20)
    with pytest.raises(BuildSuperseded, match=newer) as raised:
        run_task(make, context_of(TaskInstance()))
    assert raised.value.newer is not None
    assert raised.value.newer.id == newer


@pytest.mark.parametrize(
    ("field", "value"),
    [("build_setting", ""), ("branch", "None"), ("commit", "None"), ("project", "")],
)
def test_empty_filters(sandbox: Sandbox, field: str, value: str) -> None:
    """A filter that rendered to nothing is an error, as it would match any build."""
    push_build(sandbox)
    request = {"project": "MyGame", "build_setting": WIN64, field: value}
    make = partial(task_in_dag, BuildPixelBuildSensor, poke_interval=0.1, timeout=20, **request)
    with pytest.raises(InvalidRequest, match=field):
        run_task(make, context_of(TaskInstance()))
    assert sandbox.requests == []


@pytest.mark.parametrize("branch", ["", "main", None])
def test_empty_branch_and_commit(sandbox: Sandbox, branch: str | None) -> None:
    """An empty branch or commit does not filter, as in the operator."""
    on_main = push_build(sandbox)
    sandbox.set_status(on_main, "complete")
    on_next = sandbox.push(sandbox.setting("MyGame", **WIN64)["id"], branch="next")
    sandbox.set_status(on_next, "complete")
    request: dict[str, Any] = {"project": "MyGame", "build_setting": WIN64}
    make = partial(task_in_dag, BuildPixelBuildSensor, branch=branch, commit=" ", **request)
    expected = on_main if branch else on_next
    assert run_task(make, context_of(TaskInstance()))["build_id"] == expected


@pytest.mark.parametrize("build_id", ["None", ""])
def test_empty_build_id(sandbox: Sandbox, build_id: str) -> None:
    """A build id from an empty XCom is an error at once."""
    make = partial(
        task_in_dag, BuildPixelBuildSensor, build_id=build_id, poke_interval=0.1, timeout=20
    )
    with pytest.raises(InvalidRequest, match="build_id"):
        run_task(make, context_of(TaskInstance()))
    assert sandbox.requests == []


@pytest.mark.parametrize(
    "build_request", [{"branch": "None"}, {"commit": "None"}, {"project": None}]
)
def test_dispatch_with_empty_parameters(sandbox: Sandbox, build_request: dict[str, Any]) -> None:
    """A parameter that rendered to nothing is an error before anything is dispatched."""
    with pytest.raises(InvalidRequest, match=next(iter(build_request))):
        run_to_end(sandbox, "blocking", **build_request)
    assert count_trigger_requests(sandbox) == 0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sandbox", [Variants(error_body="html")], indirect=True, ids=str)
def test_refusal_from_a_gateway(sandbox: Sandbox, mode: str) -> None:
    """A refusal without BuildPixel's code may come from a gateway and is retried."""
    sandbox.plan(**HANGS)

    def steps() -> None:
        build_id = wait_for_dispatch(sandbox)
        refusal = sandbox.fault("403", "GET /builds/:id", times=2)
        wait_until(lambda: refusal.hits == 2)
        sandbox.set_status(build_id, "complete")

    with concurrently(steps):
        assert run_to_end(sandbox, mode)["status"] == "complete"


def test_refusal_from_buildpixel(sandbox: Sandbox) -> None:
    """A refusal from BuildPixel itself ends the wait."""
    sandbox.plan(**HANGS)

    def steps() -> None:
        wait_for_dispatch(sandbox)
        sandbox.fault("403", "GET /builds/:id")

    with concurrently(steps), pytest.raises(Forbidden):
        run_to_end(sandbox, "blocking")


def test_missing_connection(sandbox: Sandbox) -> None:
    """A trigger without its connection sends an error event, and the task checks again."""
    build_id = push_build(sandbox)
    event = run_trigger(BuildPixelBuildTrigger(build_id=build_id, buildpixel_conn_id="nowhere"))
    assert (event["build_id"], event["status"]) == (build_id, "error")
    assert "nowhere" in event["message"]


def test_xcoms_are_pushed_again(sandbox: Sandbox) -> None:
    """A resumed task pushes the XComs of its build again."""
    sandbox.plan(**HANGS)
    build_id = push_build(sandbox)
    sandbox.set_status(build_id, "complete")
    ti = TaskInstance()
    event = {"build_id": build_id, "status": "complete"}
    operator_factory("deferrable")().execute_complete(context_of(ti), event)
    assert ti.xcoms["build_id"] == build_id
