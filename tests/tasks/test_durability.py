from __future__ import annotations

import signal
import threading
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException, TaskDeferred

from airflow_provider_buildpixel.exceptions import (
    BuildFailed,
    BuildSuperseded,
    BuildTimeout,
    DispatchUncertain,
    NotFound,
)
from airflow_provider_buildpixel.sandbox import Plan
from airflow_provider_buildpixel.tasks.state import STATE_KEY
from tests.tasks.stage import (
    MODES,
    WIN64,
    Killed,
    Store,
    TaskInstance,
    building,
    carried_out,
    context_of,
    dispatched,
    meanwhile,
    posts,
    until,
    waited_for,
    woken,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_buildpixel.sandbox import Sandbox

HANGS: dict[str, Any] = {"outcome": "hangs", "queue": 0.1}


@contextmanager
def killed_when(condition: Callable[[], object]) -> Iterator[None]:
    """Kill this worker, the main thread, as soon as something is so."""

    def die(*_: object) -> None:
        raise Killed

    main = threading.main_thread().ident
    assert main is not None
    before = signal.signal(signal.SIGUSR1, die)

    def story() -> None:
        until(condition)
        signal.pthread_kill(main, signal.SIGUSR1)

    try:
        with pytest.raises(Killed), meanwhile(story):
            yield
    finally:
        signal.signal(signal.SIGUSR1, before)


def first_try(sandbox: Sandbox, mode: str, store: Store | None, **kwargs: Any) -> str:
    """Carry out a first try whose worker is lost while it waits; give the id of its build."""
    sandbox.plan(**HANGS)
    lost = building("blocking", **kwargs)
    with killed_when(lambda: waited_for(sandbox)):
        carried_out(lost, context_of(TaskInstance(max_tries=1), store))
    return dispatched(sandbox)[-1]


def again(
    mode: str, store: Store | None, *, ti: TaskInstance | None = None, **kwargs: Any
) -> dict[str, Any]:
    """Carry out the retry: the second try of the same generation."""
    ti = ti or TaskInstance(try_number=2, max_tries=1)
    facts: dict[str, Any] = carried_out(building(mode, **kwargs), context_of(ti, store))
    return facts


def finished(sandbox: Sandbox, build_id: str) -> None:
    """Let a build complete once somebody waits for it again."""
    seen = len(sandbox.requests)
    until(lambda: len(sandbox.requests) > seen + 2)
    sandbox.set_status(build_id, "complete")


@pytest.mark.parametrize("mode", MODES)
def test_retry_goes_on_with_a_live_build(sandbox: Sandbox, mode: str) -> None:
    """After its worker was lost in mid-wait, a retry goes on with the build that it started."""
    store = Store()
    build_id = first_try(sandbox, mode, store)
    with meanwhile(lambda: finished(sandbox, build_id)):
        assert again(mode, store)["build_id"] == build_id
    assert posts(sandbox) == 1


@pytest.mark.parametrize("mode", MODES)
def test_retry_takes_a_result(sandbox: Sandbox, mode: str) -> None:
    """A build that completed meanwhile is the retry's result, and no other is started."""
    store = Store()
    build_id = first_try(sandbox, mode, store)
    sandbox.set_status(build_id, "complete")
    ti = TaskInstance(try_number=2, max_tries=1)
    assert again(mode, store, ti=ti)["build_id"] == build_id
    assert ti.xcoms["build_id"] == build_id
    assert posts(sandbox) == 1


@pytest.mark.parametrize("mode", MODES)
def test_retry_after_a_failed_build(sandbox: Sandbox, mode: str) -> None:
    """A build that failed is not gone on with: the retry starts another."""
    store = Store()
    sandbox.plan(outcome="failed", queue=0.1, run=0.1)
    with pytest.raises(BuildFailed):
        carried_out(building(mode), context_of(TaskInstance(max_tries=1), store))
    facts = again(mode, store)
    assert [facts["build_id"]] == dispatched(sandbox)[1:]
    assert facts["status"] == "complete"


@pytest.mark.parametrize("mode", MODES)
def test_retry_after_a_build_is_gone(sandbox: Sandbox, mode: str) -> None:
    """A stored build that cannot be found is not waited for: the retry starts another."""
    store = Store()
    build_id = first_try(sandbox, mode, store)
    store.set(STATE_KEY, {**store.get(STATE_KEY), "build_id": "0" * 24, "dispatched_at": 1.0})
    assert again(mode, store)["build_id"] == dispatched(sandbox)[1] != build_id


@pytest.mark.parametrize("mode", MODES)
def test_retry_before_its_build_can_be_seen(sandbox: Sandbox, mode: str) -> None:
    """A build that was started just now and is answered with 404 is waited for, not replaced."""
    store = Store()
    build_id = first_try(sandbox, mode, store)
    sandbox.fault("404", "GET /builds/:id", times=2)
    with meanwhile(lambda: finished(sandbox, build_id)):
        assert again(mode, store)["build_id"] == build_id
    assert posts(sandbox) == 1


@pytest.mark.parametrize("mode", MODES)
def test_retry_after_supersession(sandbox: Sandbox, mode: str) -> None:
    """A retry does not supersede in turn the build that superseded ours."""
    store = Store()
    build_id = first_try(sandbox, mode, store)
    sandbox.push(sandbox.build(build_id)["buildSettingId"])
    with pytest.raises(BuildSuperseded):
        again(mode, store)
    assert posts(sandbox) == 1


@pytest.mark.parametrize("mode", MODES)
def test_clear_after_supersession(sandbox: Sandbox, mode: str) -> None:
    """Who clears a task whose build was superseded wants a new one."""
    store = Store()
    build_id = first_try(sandbox, mode, store)
    sandbox.push(sandbox.build(build_id)["buildSettingId"])
    facts = again(mode, store, ti=TaskInstance(try_number=2, max_tries=2))
    assert [build_id, facts["build_id"]] == dispatched(sandbox)


@pytest.mark.parametrize(
    "build_request",
    [{"commit": "4be7a1c"}, {"branch": "next"}, {"build_setting": WIN64 | {"platform": "Linux"}}],
    ids=["commit", "branch", "setting"],
)
def test_retry_that_asks_for_something_else(
    sandbox: Sandbox, build_request: dict[str, Any]
) -> None:
    """A task that asks for something else than before does not take the stored build for it."""
    store = Store()
    build_id = first_try(sandbox, "deferrable", store)
    facts = again("deferrable", store, **build_request)
    assert [build_id, facts["build_id"]] == dispatched(sandbox)


@pytest.mark.parametrize("mode", MODES)
def test_clear_after_success(sandbox: Sandbox, mode: str) -> None:
    """A Clear after success starts a new build."""
    store = Store()
    one = again(mode, store, ti=TaskInstance(max_tries=1))
    two = again(mode, store, ti=TaskInstance(try_number=2, max_tries=2))
    assert [one["build_id"], two["build_id"]] == dispatched(sandbox)


@pytest.mark.parametrize("mode", MODES)
def test_clear_while_running(sandbox: Sandbox, mode: str) -> None:
    """A Clear of a running task goes on with its build, which has all of its timeout again."""
    store = Store()
    build_id = first_try(sandbox, mode, store)
    store.set(STATE_KEY, {**store.get(STATE_KEY), "dispatched_at": 1.0})
    cleared = TaskInstance(try_number=2, max_tries=2)
    with meanwhile(lambda: finished(sandbox, build_id)):
        assert again(mode, store, ti=cleared, timeout=60)["build_id"] == build_id
    assert posts(sandbox) == 1


@pytest.mark.parametrize("mode", MODES)
def test_timeout_counts_from_the_dispatch(sandbox: Sandbox, mode: str) -> None:
    """A retry's timeout counts from the dispatch, not from its own start."""
    store = Store()
    build_id = first_try(sandbox, mode, store)
    store.set(STATE_KEY, {**store.get(STATE_KEY), "dispatched_at": 1.0})
    with pytest.raises(BuildTimeout, match=build_id):
        again(mode, store, timeout=60)
    assert posts(sandbox) == 1


@pytest.mark.parametrize("mode", MODES)
def test_worker_lost_after_the_end(sandbox: Sandbox, mode: str) -> None:
    """A worker that is lost before Airflow noted its success costs no second build."""
    store = Store()
    one = again(mode, store, ti=TaskInstance(max_tries=1))
    assert store.get(STATE_KEY)["concluded"]
    assert again(mode, store) == one
    assert posts(sandbox) == 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("writes", [2, 3])
def test_worker_lost_after_a_write(sandbox: Sandbox, mode: str, writes: int) -> None:
    """Whichever write to the store was a worker's last after the dispatch, one build is started."""
    store = Store(dies_at=writes)
    with pytest.raises(Killed):
        carried_out(building(mode), context_of(TaskInstance(max_tries=1), store))
    facts = again(mode, store)
    assert [facts["build_id"]] == dispatched(sandbox)
    assert posts(sandbox) == 1


def test_woken_while_nobody_answers(sandbox: Sandbox) -> None:
    """A task that is woken when BuildPixel is away gives its slot back until it can be read."""
    build_id = first_try(sandbox, "blocking", Store())
    sandbox.set_status(build_id, "complete")
    context, event = context_of(TaskInstance()), {"build_id": build_id, "status": "complete"}
    outage = sandbox.fault("refuse-connections")
    with pytest.raises(TaskDeferred) as deferral:
        building("deferrable")().execute_complete(context, event)
    outage.remove()
    event = woken(deferral.value.trigger)
    kwargs = {**(deferral.value.kwargs or {}), "event": event}
    facts = building("deferrable")().resume_execution(deferral.value.method_name, kwargs, context)
    assert (facts["build_id"], facts["status"]) == (build_id, "complete")


def test_orphan_does_not_ask_again(sandbox: Sandbox) -> None:
    """A task whose supervisor is gone does not repeat its request: a retry may be at it."""
    sandbox.fault("429", "POST trigger", times=1, retry_after=0)
    with pytest.raises(Killed):
        carried_out(building("blocking"), context_of(TaskInstance(), Store(dies_at=2)))
    assert posts(sandbox) == 1
    assert dispatched(sandbox) == []


@pytest.mark.parametrize("mode", MODES)
def test_worker_lost_before_the_answer(sandbox: Sandbox, mode: str) -> None:
    """A build whose dispatch was never answered, as the worker was lost, is found by the retry."""
    store = Store()
    sandbox.fault("lost-answer", "POST trigger", times=1, how="timeout", resume_delay=5.0)
    with killed_when(lambda: dispatched(sandbox)):
        carried_out(building(mode), context_of(TaskInstance(max_tries=1), store))
    assert store.get(STATE_KEY)["build_id"] is None
    assert [again(mode, store)["build_id"]] == dispatched(sandbox)
    assert posts(sandbox) == 1


@pytest.mark.parametrize("how", ["reset", "close", "502"])
@pytest.mark.parametrize("mode", MODES)
def test_lost_answer(sandbox: Sandbox, mode: str, how: str) -> None:
    """The answer to a dispatch is lost: its build is found, and no second one started."""
    sandbox.fault("lost-answer", "POST trigger", times=1, how=how)
    facts = carried_out(building(mode), context_of(TaskInstance(), Store()))
    assert [facts["build_id"]] == dispatched(sandbox)
    assert posts(sandbox) == 1


def test_uncertain_dispatch(sandbox: Sandbox) -> None:
    """If two builds may be ours the task says so, names both and starts no third."""
    setting = sandbox.setting("MyGame", **WIN64)["id"]
    sandbox.fault("lost-answer", "POST trigger", times=1, how="timeout", resume_delay=0.5)

    def rival() -> None:
        until(lambda: dispatched(sandbox))
        sandbox.push(setting, triggered_by="api_token:another")

    with meanwhile(rival), pytest.raises(DispatchUncertain) as raised:
        carried_out(building("deferrable"), context_of(TaskInstance(), Store()))
    ids = [build["id"] for build in sandbox.builds()]
    assert sorted(build.id for build in raised.value.candidates) == ids
    assert all(build_id in str(raised.value) for build_id in ids)
    assert posts(sandbox) == 1


@pytest.mark.parametrize("mode", MODES)
def test_not_durable(sandbox: Sandbox, mode: str) -> None:
    """With durable=False each try starts a build of its own, and nothing is stored."""
    store = Store()
    first_try(sandbox, mode, store, durable=False)
    facts = again(mode, store, durable=False)
    assert [facts["build_id"]] == dispatched(sandbox)[1:]
    assert store.kept == {}


@pytest.mark.parametrize("mode", MODES)
def test_adoption_without_a_store(sandbox: Sandbox, mode: str) -> None:
    """Below Airflow 3.3 a retry finds the one live build that an earlier try has started."""
    build_id = first_try(sandbox, mode, None)
    ti = TaskInstance(try_number=2, max_tries=1)
    context = context_of(ti)
    context["dag_run"].start_date = _instant(sandbox, build_id)
    with meanwhile(lambda: finished(sandbox, build_id)):
        assert carried_out(building(mode), context)["build_id"] == build_id
    assert posts(sandbox) == 1


def _instant(sandbox: Sandbox, build_id: str) -> datetime:
    """Give the instant at which a build was made."""
    return datetime.fromtimestamp(sandbox.world.builds[build_id].created_at, UTC)


def test_first_try_adopts_nothing_without_a_store(sandbox: Sandbox) -> None:
    """A first try below Airflow 3.3 has nothing to go on with and takes nobody's build."""
    build_id = first_try(sandbox, "blocking", None)
    context = context_of(TaskInstance())
    context["dag_run"].start_date = _instant(sandbox, build_id)
    facts = carried_out(building("deferrable"), context)
    assert [build_id, facts["build_id"]] == dispatched(sandbox)


def test_older_builds_are_not_adopted_without_a_store(sandbox: Sandbox) -> None:
    """A build from before this Dag run is another run's, and is not adopted."""
    build_id = first_try(sandbox, "blocking", None)
    sandbox.advance(60)
    context = context_of(TaskInstance(try_number=2, max_tries=1))
    context["dag_run"].start_date = _instant(sandbox, build_id) + timedelta(seconds=30)
    facts = carried_out(building("deferrable"), context)
    assert [build_id, facts["build_id"]] == dispatched(sandbox)


def test_pushed_builds_are_not_adopted_without_a_store(sandbox: Sandbox) -> None:
    """A live build that a push has started is nobody's earlier try."""
    sandbox.plan(**HANGS)
    pushed = sandbox.push(sandbox.setting("MyGame", **WIN64)["id"])
    context = context_of(TaskInstance(try_number=2, max_tries=1))
    context["dag_run"].start_date = _instant(sandbox, pushed)
    facts = carried_out(building("deferrable"), context)
    assert facts["build_id"] != pushed


def test_follow_is_remembered(sandbox: Sandbox) -> None:
    """A retry after following a newer build goes on with that one."""
    store = Store()
    sandbox.plan(**HANGS, times=2)

    def superseded() -> None:
        setting = sandbox.build(waited_for(sandbox))["buildSettingId"]
        sandbox.push(setting)

    make = building("blocking", on_superseded="follow", timeout=1.0)
    with meanwhile(superseded), pytest.raises(BuildTimeout):
        carried_out(make, context_of(TaskInstance(max_tries=1), store))
    newer = sandbox.builds()[1]["id"]
    sandbox.set_status(newer, "complete")
    assert again("deferrable", store, on_superseded="follow")["build_id"] == newer
    assert posts(sandbox) == 1


@pytest.mark.parametrize("mode", MODES)
def test_task_that_does_not_wait(sandbox: Sandbox, mode: str) -> None:
    """Without waiting the facts are those just after the dispatch, and a lost worker starts one."""
    sandbox.world.plans.default = Plan(**HANGS)
    store = Store()
    one = again(mode, store, ti=TaskInstance(max_tries=1), wait_for_completion=False)
    assert one["status"] in {"pending", "running"}
    two = again(mode, store, wait_for_completion=False)
    assert one["build_id"] == two["build_id"]
    three = again(
        mode,
        store,
        ti=TaskInstance(try_number=2, max_tries=2),
        wait_for_completion=False,
    )
    assert [one["build_id"], three["build_id"]] == dispatched(sandbox)


def test_refused_dispatch_leaves_nothing_to_search_for(sandbox: Sandbox) -> None:
    """A dispatch that was refused is over: the retry asks again, and at once."""
    store = Store()
    sandbox.fault("refuse", "POST trigger", times=1, status=404, code="not_found", message="no")
    with pytest.raises(NotFound):
        carried_out(building("deferrable"), context_of(TaskInstance(max_tries=1), store))
    facts = again("deferrable", store)
    assert [facts["build_id"]] == dispatched(sandbox)
    assert posts(sandbox) == 2


def test_on_kill_says_that_the_build_goes_on(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """A killed task says which build goes on, since nothing can cancel it."""
    sandbox.plan(**HANGS)
    task = building("blocking")()
    with killed_when(lambda: waited_for(sandbox)):
        task.execute(context_of(TaskInstance(), Store()))
    task.on_kill()
    (build_id,) = dispatched(sandbox)
    told = caplog.text + capsys.readouterr().out
    assert f"Build {build_id} goes on in BuildPixel" in told


def test_on_kill_before_the_dispatch(sandbox: Sandbox) -> None:
    """A task that is killed before it has a build has nothing to say."""
    with suppress(AirflowException):
        building("blocking")().on_kill()
    assert sandbox.builds() == []
