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
    concurrently,
    context_of,
    count_trigger_requests,
    dispatched_builds,
    operator_factory,
    run_task,
    run_trigger,
    wait_for_dispatch,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_buildpixel.sandbox import Sandbox

HANGS: dict[str, Any] = {"outcome": "hangs", "queue": 0.1}


@contextmanager
def killed_when(condition: Callable[[], object]) -> Iterator[None]:
    """Raise Killed in the main thread as soon as the condition is true."""

    def die(*_: object) -> None:
        raise Killed

    main = threading.main_thread().ident
    assert main is not None
    before = signal.signal(signal.SIGUSR1, die)

    def steps() -> None:
        wait_until(condition)
        signal.pthread_kill(main, signal.SIGUSR1)

    try:
        with pytest.raises(Killed), concurrently(steps):
            yield
    finally:
        signal.signal(signal.SIGUSR1, before)


def first_try(sandbox: Sandbox, mode: str, store: Store | None, **kwargs: Any) -> str:
    """Run a first try whose worker is lost while it waits; return the id of its build."""
    sandbox.plan(**HANGS)
    make = operator_factory("blocking", **kwargs)
    with killed_when(lambda: wait_for_dispatch(sandbox)):
        run_task(make, context_of(TaskInstance(max_tries=1), store))
    return dispatched_builds(sandbox)[-1]


def run_retry(
    mode: str, store: Store | None, *, ti: TaskInstance | None = None, **kwargs: Any
) -> dict[str, Any]:
    """Run a retry: the second try, without a Clear in between."""
    ti = ti or TaskInstance(try_number=2, max_tries=1)
    facts: dict[str, Any] = run_task(operator_factory(mode, **kwargs), context_of(ti, store))
    return facts


def complete_when_read(sandbox: Sandbox, build_id: str) -> None:
    """Complete a build as soon as a task waits for it again."""
    before = len(sandbox.requests)
    wait_until(lambda: len(sandbox.requests) > before + 2)
    sandbox.set_status(build_id, "complete")


@pytest.mark.parametrize("mode", MODES)
def test_retry_continues_with_a_live_build(sandbox: Sandbox, mode: str) -> None:
    """After the worker was lost during the wait, a retry continues with the same build."""
    store = Store()
    build_id = first_try(sandbox, mode, store)
    with concurrently(lambda: complete_when_read(sandbox, build_id)):
        assert run_retry(mode, store)["build_id"] == build_id
    assert count_trigger_requests(sandbox) == 1


@pytest.mark.parametrize("mode", MODES)
def test_retry_returns_a_result(sandbox: Sandbox, mode: str) -> None:
    """A build that completed in the meantime is the retry's result; no other is started."""
    store = Store()
    build_id = first_try(sandbox, mode, store)
    sandbox.set_status(build_id, "complete")
    ti = TaskInstance(try_number=2, max_tries=1)
    assert run_retry(mode, store, ti=ti)["build_id"] == build_id
    assert ti.xcoms["build_id"] == build_id
    assert count_trigger_requests(sandbox) == 1


@pytest.mark.parametrize("mode", MODES)
def test_retry_after_a_failed_build(sandbox: Sandbox, mode: str) -> None:
    """After a failed build, the retry starts another."""
    store = Store()
    sandbox.plan(outcome="failed", queue=0.1, run=0.1)
    with pytest.raises(BuildFailed):
        run_task(operator_factory(mode), context_of(TaskInstance(max_tries=1), store))
    facts = run_retry(mode, store)
    assert [facts["build_id"]] == dispatched_builds(sandbox)[1:]
    assert facts["status"] == "complete"


@pytest.mark.parametrize("mode", MODES)
def test_retry_after_a_build_was_deleted(sandbox: Sandbox, mode: str) -> None:
    """If the stored build does not exist any more, the retry starts another."""
    store = Store()
    build_id = first_try(sandbox, mode, store)
    store.set(STATE_KEY, {**store.get(STATE_KEY), "build_id": "0" * 24, "dispatched_at": 1.0})
    assert run_retry(mode, store)["build_id"] == dispatched_builds(sandbox)[1] != build_id


@pytest.mark.parametrize("mode", MODES)
def test_retry_before_its_build_is_visible(sandbox: Sandbox, mode: str) -> None:
    """A build that was just started and answers 404 is waited for, not replaced."""
    store = Store()
    build_id = first_try(sandbox, mode, store)
    sandbox.fault("404", "GET /builds/:id", times=2)
    with concurrently(lambda: complete_when_read(sandbox, build_id)):
        assert run_retry(mode, store)["build_id"] == build_id
    assert count_trigger_requests(sandbox) == 1


@pytest.mark.parametrize("mode", MODES)
def test_retry_after_supersession(sandbox: Sandbox, mode: str) -> None:
    """A retry does not start a build that would supersede the newer build."""
    store = Store()
    build_id = first_try(sandbox, mode, store)
    sandbox.push(sandbox.build(build_id)["buildSettingId"])
    with pytest.raises(BuildSuperseded):
        run_retry(mode, store)
    assert count_trigger_requests(sandbox) == 1


@pytest.mark.parametrize("mode", MODES)
def test_clear_after_supersession(sandbox: Sandbox, mode: str) -> None:
    """After a Clear, a task whose build was superseded starts a new build."""
    store = Store()
    build_id = first_try(sandbox, mode, store)
    sandbox.push(sandbox.build(build_id)["buildSettingId"])
    facts = run_retry(mode, store, ti=TaskInstance(try_number=2, max_tries=2))
    assert [build_id, facts["build_id"]] == dispatched_builds(sandbox)


@pytest.mark.parametrize(
    "build_request",
    [{"commit": "4be7a1c"}, {"branch": "next"}, {"build_setting": WIN64 | {"platform": "Linux"}}],
    ids=["commit", "branch", "setting"],
)
def test_retry_with_another_request(sandbox: Sandbox, build_request: dict[str, Any]) -> None:
    """A task whose request has changed starts a new build."""
    store = Store()
    build_id = first_try(sandbox, "deferrable", store)
    facts = run_retry("deferrable", store, **build_request)
    assert [build_id, facts["build_id"]] == dispatched_builds(sandbox)


@pytest.mark.parametrize("mode", MODES)
def test_clear_after_success(sandbox: Sandbox, mode: str) -> None:
    """A Clear after success starts a new build."""
    store = Store()
    first = run_retry(mode, store, ti=TaskInstance(max_tries=1))
    second = run_retry(mode, store, ti=TaskInstance(try_number=2, max_tries=2))
    assert [first["build_id"], second["build_id"]] == dispatched_builds(sandbox)


@pytest.mark.parametrize("mode", MODES)
def test_clear_while_running(sandbox: Sandbox, mode: str) -> None:
    """After a Clear, a running task continues with its build, and its timeout starts again."""
    store = Store()
    build_id = first_try(sandbox, mode, store)
    store.set(STATE_KEY, {**store.get(STATE_KEY), "dispatched_at": 1.0})
    cleared = TaskInstance(try_number=2, max_tries=2)
    with concurrently(lambda: complete_when_read(sandbox, build_id)):
        assert run_retry(mode, store, ti=cleared, timeout=60)["build_id"] == build_id
    assert count_trigger_requests(sandbox) == 1


@pytest.mark.parametrize("mode", MODES)
def test_timeout_counts_from_the_dispatch(sandbox: Sandbox, mode: str) -> None:
    """A retry's timeout counts from the dispatch, not from its own start."""
    store = Store()
    build_id = first_try(sandbox, mode, store)
    store.set(STATE_KEY, {**store.get(STATE_KEY), "dispatched_at": 1.0})
    with pytest.raises(BuildTimeout, match=build_id):
        run_retry(mode, store, timeout=60)
    assert count_trigger_requests(sandbox) == 1


@pytest.mark.parametrize("mode", MODES)
def test_worker_lost_after_the_end(sandbox: Sandbox, mode: str) -> None:
    """A worker that is lost before Airflow stored its success causes no second build."""
    store = Store()
    first = run_retry(mode, store, ti=TaskInstance(max_tries=1))
    assert store.get(STATE_KEY)["task_finished"]
    assert run_retry(mode, store) == first
    assert count_trigger_requests(sandbox) == 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("writes", [2, 3])
def test_worker_lost_after_a_write(sandbox: Sandbox, mode: str, writes: int) -> None:
    """A worker that is lost after any write following the dispatch causes no second build."""
    store = Store(dies_at=writes)
    with pytest.raises(Killed):
        run_task(operator_factory(mode), context_of(TaskInstance(max_tries=1), store))
    facts = run_retry(mode, store)
    assert [facts["build_id"]] == dispatched_builds(sandbox)
    assert count_trigger_requests(sandbox) == 1


def test_resumed_during_an_outage(sandbox: Sandbox) -> None:
    """A task that is resumed during an outage defers again, without using a worker slot."""
    build_id = first_try(sandbox, "blocking", Store())
    sandbox.set_status(build_id, "complete")
    context, event = context_of(TaskInstance()), {"build_id": build_id, "status": "complete"}
    outage = sandbox.fault("refuse-connections")
    with pytest.raises(TaskDeferred) as deferral:
        operator_factory("deferrable")().execute_complete(context, event)
    outage.remove()
    event = run_trigger(deferral.value.trigger)
    kwargs = {**(deferral.value.kwargs or {}), "event": event}
    facts = operator_factory("deferrable")().resume_execution(
        deferral.value.method_name, kwargs, context
    )
    assert (facts["build_id"], facts["status"]) == (build_id, "complete")


def test_orphan_does_not_repeat_its_request(sandbox: Sandbox) -> None:
    """A process whose supervisor is gone does not repeat its request: a retry may be running."""
    sandbox.fault("429", "POST trigger", times=1, retry_after=0)
    with pytest.raises(Killed):
        run_task(operator_factory("blocking"), context_of(TaskInstance(), Store(dies_at=2)))
    assert count_trigger_requests(sandbox) == 1
    assert dispatched_builds(sandbox) == []


@pytest.mark.parametrize("mode", MODES)
def test_worker_lost_before_the_answer(sandbox: Sandbox, mode: str) -> None:
    """If the worker is lost before the answer to its dispatch, the retry finds the build."""
    store = Store()
    sandbox.fault("lost-answer", "POST trigger", times=1, how="timeout", hold=5.0)
    with killed_when(lambda: dispatched_builds(sandbox)):
        run_task(operator_factory(mode), context_of(TaskInstance(max_tries=1), store))
    assert store.get(STATE_KEY)["build_id"] is None
    assert [run_retry(mode, store)["build_id"]] == dispatched_builds(sandbox)
    assert count_trigger_requests(sandbox) == 1


@pytest.mark.parametrize("how", ["reset", "close", "502"])
@pytest.mark.parametrize("mode", MODES)
def test_lost_answer(sandbox: Sandbox, mode: str, how: str) -> None:
    """If the answer to a dispatch is lost, its build is found and no second one is started."""
    sandbox.fault("lost-answer", "POST trigger", times=1, how=how)
    facts = run_task(operator_factory(mode), context_of(TaskInstance(), Store()))
    assert [facts["build_id"]] == dispatched_builds(sandbox)
    assert count_trigger_requests(sandbox) == 1


def test_uncertain_dispatch(sandbox: Sandbox) -> None:
    """If two builds may be the task's, the error names both and no third is started."""
    setting = sandbox.setting("MyGame", **WIN64)["id"]
    sandbox.fault("lost-answer", "POST trigger", times=1, how="timeout", hold=0.5)

    def push_rival() -> None:
        wait_until(lambda: dispatched_builds(sandbox))
        sandbox.push(setting, triggered_by="api_token:another")

    with concurrently(push_rival), pytest.raises(DispatchUncertain) as raised:
        run_task(operator_factory("deferrable"), context_of(TaskInstance(), Store()))
    ids = [build["id"] for build in sandbox.builds()]
    assert sorted(build.id for build in raised.value.candidates) == ids
    assert all(build_id in str(raised.value) for build_id in ids)
    assert count_trigger_requests(sandbox) == 1


@pytest.mark.parametrize("mode", MODES)
def test_not_durable(sandbox: Sandbox, mode: str) -> None:
    """With durable=False, each try starts a build and nothing is stored."""
    store = Store()
    first_try(sandbox, mode, store, durable=False)
    facts = run_retry(mode, store, durable=False)
    assert [facts["build_id"]] == dispatched_builds(sandbox)[1:]
    assert store.values == {}


@pytest.mark.parametrize("mode", MODES)
def test_adoption_without_a_store(sandbox: Sandbox, mode: str) -> None:
    """Below Airflow 3.3, a retry finds the only live build that an earlier try started."""
    build_id = first_try(sandbox, mode, None)
    ti = TaskInstance(try_number=2, max_tries=1)
    context = context_of(ti)
    context["dag_run"].start_date = _created_at(sandbox, build_id)
    with concurrently(lambda: complete_when_read(sandbox, build_id)):
        assert run_task(operator_factory(mode), context)["build_id"] == build_id
    assert count_trigger_requests(sandbox) == 1


def _created_at(sandbox: Sandbox, build_id: str) -> datetime:
    """Return when a build was created."""
    return datetime.fromtimestamp(sandbox.world.builds[build_id].created_at, UTC)


def test_first_try_adopts_nothing_without_a_store(sandbox: Sandbox) -> None:
    """A first try below Airflow 3.3 adopts no live build."""
    build_id = first_try(sandbox, "blocking", None)
    context = context_of(TaskInstance())
    context["dag_run"].start_date = _created_at(sandbox, build_id)
    facts = run_task(operator_factory("deferrable"), context)
    assert [build_id, facts["build_id"]] == dispatched_builds(sandbox)


def test_older_builds_are_not_adopted_without_a_store(sandbox: Sandbox) -> None:
    """A build from before the Dag run is not adopted."""
    build_id = first_try(sandbox, "blocking", None)
    sandbox.advance(60)
    context = context_of(TaskInstance(try_number=2, max_tries=1))
    context["dag_run"].start_date = _created_at(sandbox, build_id) + timedelta(seconds=30)
    facts = run_task(operator_factory("deferrable"), context)
    assert [build_id, facts["build_id"]] == dispatched_builds(sandbox)


def test_pushed_builds_are_not_adopted_without_a_store(sandbox: Sandbox) -> None:
    """A live build of a push is not adopted as that of an earlier try."""
    sandbox.plan(**HANGS)
    pushed = sandbox.push(sandbox.setting("MyGame", **WIN64)["id"])
    context = context_of(TaskInstance(try_number=2, max_tries=1))
    context["dag_run"].start_date = _created_at(sandbox, pushed)
    facts = run_task(operator_factory("deferrable"), context)
    assert facts["build_id"] != pushed


def test_followed_build_is_stored(sandbox: Sandbox) -> None:
    """A retry after following a newer build continues with that one."""
    store = Store()
    sandbox.plan(**HANGS, times=2)

    def supersede() -> None:
        setting = sandbox.build(wait_for_dispatch(sandbox))["buildSettingId"]
        sandbox.push(setting)

    make = operator_factory("blocking", on_superseded="follow", timeout=1.0)
    with concurrently(supersede), pytest.raises(BuildTimeout):
        run_task(make, context_of(TaskInstance(max_tries=1), store))
    newer = sandbox.builds()[1]["id"]
    sandbox.set_status(newer, "complete")
    assert run_retry("deferrable", store, on_superseded="follow")["build_id"] == newer
    assert count_trigger_requests(sandbox) == 1


@pytest.mark.parametrize("mode", MODES)
def test_task_that_does_not_wait(sandbox: Sandbox, mode: str) -> None:
    """With wait_for_completion=False, a retry starts no second build, and a Clear does."""
    sandbox.world.plans.default = Plan(**HANGS)
    store = Store()
    first = run_retry(mode, store, ti=TaskInstance(max_tries=1), wait_for_completion=False)
    assert first["status"] in {"pending", "running"}
    second = run_retry(mode, store, wait_for_completion=False)
    assert first["build_id"] == second["build_id"]
    third = run_retry(
        mode,
        store,
        ti=TaskInstance(try_number=2, max_tries=2),
        wait_for_completion=False,
    )
    assert [first["build_id"], third["build_id"]] == dispatched_builds(sandbox)


def test_refused_dispatch_is_not_stored(sandbox: Sandbox) -> None:
    """After a refused dispatch, the retry sends the request at once, without a search."""
    store = Store()
    sandbox.fault("refuse", "POST trigger", times=1, status=404, code="not_found", message="no")
    with pytest.raises(NotFound):
        run_task(operator_factory("deferrable"), context_of(TaskInstance(max_tries=1), store))
    facts = run_retry("deferrable", store)
    assert [facts["build_id"]] == dispatched_builds(sandbox)
    assert count_trigger_requests(sandbox) == 2


def test_on_kill_logs_that_the_build_continues(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """A killed task logs which build continues, as the API cannot cancel it."""
    sandbox.plan(**HANGS)
    task = operator_factory("blocking")()
    with killed_when(lambda: wait_for_dispatch(sandbox)):
        task.execute(context_of(TaskInstance(), Store()))
    task.on_kill()
    (build_id,) = dispatched_builds(sandbox)
    log_text = caplog.text + capsys.readouterr().out
    assert f"Build {build_id} continues in BuildPixel" in log_text


def test_on_kill_before_the_dispatch(sandbox: Sandbox) -> None:
    """A task that is killed before its dispatch logs nothing."""
    with suppress(AirflowException):
        operator_factory("blocking")().on_kill()
    assert sandbox.builds() == []
