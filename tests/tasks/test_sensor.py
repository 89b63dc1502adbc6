from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSensorTimeout, AirflowSkipException

from airflow_provider_buildpixel.exceptions import (
    BuildFailed,
    BuildSuperseded,
    InvalidRequest,
    NotFound,
    Unauthorized,
)
from airflow_provider_buildpixel.sensors.buildpixel import BuildPixelBuildSensor
from tests.tasks.behaviours import set_connection_token
from tests.tasks.stage import (
    AIRFLOW_3,
    AIRFLOW_3_3,
    WIN64,
    TaskInstance,
    concurrently,
    context_of,
    count_trigger_requests,
    run_task,
    run_trigger,
    task_in_dag,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.sandbox import Sandbox

MODES = ("poke", "reschedule", "deferrable")
COMMIT = "4be7a1c0ffee"
HANGS = {"outcome": "hangs", "queue": 0.1}


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    """Return each mode; in Airflow 2, rescheduling reads the database."""
    if request.param == "reschedule" and not AIRFLOW_3:
        request.getfixturevalue("airflow_database")
    return str(request.param)


def sensor_factory(mode: str, **kwargs: Any) -> Callable[[], Any]:
    """Return a function that creates the sensor, with short intervals."""
    mode_parameters = {"deferrable": True} if mode == "deferrable" else {"mode": mode}
    defaults = {"poke_interval": 0.1, "timeout": 20, "channel": "polling", **mode_parameters}
    return partial(task_in_dag, BuildPixelBuildSensor, **(defaults | kwargs))


def run_sensor(mode: str, **kwargs: Any) -> Any:
    """Run a sensor to its end; return its result."""
    return run_task(sensor_factory(mode, **kwargs), context_of(TaskInstance()))


def push_build(sandbox: Sandbox, **plan: Any) -> str:
    """Queue a build of a push; return its id."""
    if plan:
        sandbox.plan(**plan)
    return sandbox.push(sandbox.setting("MyGame", **WIN64)["id"], commit=COMMIT)


def count_reads(sandbox: Sandbox) -> int:
    """Return the number of answered reads of builds."""
    routes = ("GET /builds", "GET /builds/:id")
    return sum(len(sandbox.requests_to(route)) for route in routes)


def wait_for_reads(sandbox: Sandbox, times: int = 2) -> None:
    """Wait until builds were read this many more times."""
    before = count_reads(sandbox)
    wait_until(lambda: count_reads(sandbox) >= before + times)


@dataclass(frozen=True)
class Selection:
    """A way to select the build: by id or by its fields."""

    name: str
    fields: dict[str, Any]

    def parameters(self, build_id: str) -> dict[str, Any]:
        """Return the sensor's parameters."""
        return self.fields or {"build_id": build_id}


SELECTIONS = (
    Selection("id", {}),
    Selection("fields", {"project": "MyGame", "build_setting": WIN64, "branch": "main"}),
    Selection("short-commit", {"project": "MyGame", "commit": COMMIT[:7]}),
)
selections = pytest.mark.parametrize("selection", SELECTIONS, ids=lambda selection: selection.name)


@selections
def test_complete(sandbox: Sandbox, mode: str, selection: Selection) -> None:
    """A build that completes returns its facts, for each selection and mode."""
    build_id = push_build(sandbox)
    facts = run_sensor(mode, **selection.parameters(build_id))
    assert (facts["build_id"], facts["status"]) == (build_id, "complete")
    assert count_trigger_requests(sandbox) == 0


@selections
def test_failed(sandbox: Sandbox, mode: str, selection: Selection) -> None:
    """A build that fails raises BuildFailed with its cause."""
    build_id = push_build(sandbox, outcome="failed", queue=0.1, run=0.2)
    with pytest.raises(BuildFailed, match=build_id) as error:
        run_sensor(mode, **selection.parameters(build_id))
    assert error.value.cause == "compile"


@selections
@pytest.mark.parametrize("soft", ["soft_fail", "never_fail"])
def test_failed_with_soft_fail(
    sandbox: Sandbox, mode: str, selection: Selection, soft: str
) -> None:
    """A build that fails skips the task with soft_fail and with never_fail."""
    build_id = push_build(sandbox, outcome="failed", queue=0.1, run=0.1)
    with pytest.raises(AirflowSkipException):
        run_sensor(mode, **{soft: True}, **selection.parameters(build_id))


def test_failed_before_the_start(sandbox: Sandbox, mode: str) -> None:
    """A build that failed before the sensor started also skips the task with soft_fail."""
    build_id = push_build(sandbox, **HANGS)
    sandbox.set_status(build_id, "failed")
    with pytest.raises(AirflowSkipException):
        run_sensor(mode, build_id=build_id, soft_fail=True)


@pytest.mark.parametrize(
    ("policy", "error"), [("fail", BuildSuperseded), ("skip", AirflowSkipException)]
)
def test_superseded(sandbox: Sandbox, mode: str, policy: str, error: type[BaseException]) -> None:
    """A superseded build fails or skips the task, depending on on_superseded."""
    build_id = push_build(sandbox, **HANGS)
    run = partial(run_sensor, mode, build_id=build_id, on_superseded=policy)
    with (
        concurrently(lambda: wait_for_reads(sandbox), lambda: push_build(sandbox)),
        pytest.raises(error),
    ):
        run()


def test_superseded_and_followed(sandbox: Sandbox, mode: str) -> None:
    """With on_superseded='follow' the facts are those of the newest build."""
    build_id = push_build(sandbox, **HANGS)

    def supersede_twice() -> None:
        wait_for_reads(sandbox)
        push_build(sandbox, **HANGS)
        wait_for_reads(sandbox, 4)
        push_build(sandbox)

    with concurrently(supersede_twice):
        facts = run_sensor(mode, build_id=build_id, on_superseded="follow")
    assert facts["build_id"] == sandbox.builds()[2]["id"]


@selections
def test_build_does_not_exist_yet(sandbox: Sandbox, mode: str, selection: Selection) -> None:
    """The sensor waits for a build that does not exist yet."""
    build_id = ""
    if not selection.fields:
        build_id = push_build(sandbox)
        sandbox.fault("404", "GET /builds/:id", times=4)

    def push_late() -> None:
        if selection.fields:
            wait_for_reads(sandbox)
            push_build(sandbox)

    with concurrently(push_late):
        facts = run_sensor(mode, **selection.parameters(build_id))
    assert facts["build_id"] == sandbox.builds()[0]["id"]


@selections
@pytest.mark.parametrize("exists", [True, False], ids=["exists", "does-not-exist"])
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_timeout(
    sandbox: Sandbox, mode: str, selection: Selection, *, exists: bool, soft: bool
) -> None:
    """The sensor's timeout raises AirflowSensorTimeout, or skips the task with soft_fail."""
    if mode == "reschedule" and not AIRFLOW_3:
        pytest.skip("Airflow 2 measures this from rows that only its scheduler writes")
    build_id = push_build(sandbox, **HANGS) if exists else "0" * 24
    with pytest.raises(AirflowSkipException if soft else AirflowSensorTimeout):
        run_sensor(mode, timeout=0.5, soft_fail=soft, **selection.parameters(build_id))


@selections
def test_temporary_errors(sandbox: Sandbox, mode: str, selection: Selection) -> None:
    """Temporary 500s do not change the result."""
    build_id = push_build(sandbox)
    sandbox.fault("500", times=3)
    assert run_sensor(mode, **selection.parameters(build_id))["build_id"] == build_id


def test_token_revoked(sandbox: Sandbox, mode: str) -> None:
    """A token that is revoked during the wait fails the sensor at once."""
    build_id = push_build(sandbox, **HANGS)
    with (
        concurrently(lambda: wait_for_reads(sandbox), lambda: sandbox.revoke(sandbox.token)),
        pytest.raises(Unauthorized),
    ):
        run_sensor(mode, build_id=build_id)


def test_token_refused_with_soft_fail(sandbox: Sandbox, mode: str) -> None:
    """A token that is refused from the start skips the task with soft_fail."""
    build_id = push_build(sandbox)
    sandbox.revoke(sandbox.token)
    with pytest.raises(AirflowSkipException):
        run_sensor(mode, build_id=build_id, soft_fail=True)


def test_replaced(sandbox: Sandbox, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sensor continues when the token is revoked and replaced in the connection."""
    build_id = push_build(sandbox, **HANGS)

    def replace_token() -> None:
        wait_for_reads(sandbox)
        set_connection_token(sandbox, sandbox.issue_token())
        sandbox.revoke(sandbox.token)
        wait_for_reads(sandbox, 4)
        sandbox.set_status(build_id, "complete")

    with concurrently(replace_token):
        assert run_sensor(mode, build_id=build_id)["build_id"] == build_id


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({}, InvalidRequest, "needs a build_id, or a project"),
        ({"build_id": " "}, InvalidRequest, "build_id is empty"),
        ({"project": "Nothing"}, NotFound, "MyGame"),
        ({"project": "MyGame", "build_setting": {"platform": "PS5"}}, NotFound, "Win64 Shipping"),
        ({"project": "MyGame", "build_setting": {"branch": "main"}}, InvalidRequest, "3 build"),
        ({"build_id": "b", "channel": "unknown"}, InvalidRequest, "unknown"),
        ({"build_id": "b", "on_superseded": "unknown"}, InvalidRequest, "on_superseded"),
    ],
)
def test_invalid_parameters(
    sandbox: Sandbox, mode: str, fields: dict[str, Any], error: type[Exception], message: str
) -> None:
    """Parameters that select no build or are invalid raise an error at once."""
    with pytest.raises(error, match=message):
        run_sensor(mode, **fields)


def test_templates(sandbox: Sandbox, mode: str) -> None:
    """Every template field is rendered."""
    build_id = push_build(sandbox)
    fields = {"build_id": "{{ params.b }}", "buildpixel_conn_id": "buildpixel_{{ params.c }}"}
    context = context_of(TaskInstance(), params={"b": build_id, "c": "default"})
    assert run_task(sensor_factory(mode, **fields), context)["build_id"] == build_id
    fields = {"project": "{{ params.p }}", "commit": "{{ params.h }}", "branch": "{{ params.r }}"}
    context = context_of(TaskInstance(), params={"p": "MyGame", "h": COMMIT, "r": "main"})
    setting = '{"platform": "{{ \'Win64\' }}", "buildType": "Shipping"}'
    make = sensor_factory(mode, build_setting=setting, **fields)
    assert run_task(make, context)["build_id"] == build_id


def test_xcom_while_waiting(sandbox: Sandbox, mode: str) -> None:
    """The XComs with the build's id and link exist as soon as the sensor knows the build."""
    build_id = push_build(sandbox, **HANGS)
    ti = TaskInstance()

    def end_when_known() -> None:
        wait_until(lambda: "buildpixel_build_url" in ti.xcoms)  # the XCom that is pushed last
        assert ti.xcoms["build_id"] == build_id
        assert build_id in ti.xcoms["buildpixel_build_url"]
        sandbox.set_status(build_id, "complete")

    with concurrently(end_when_known):
        run_task(sensor_factory(mode, project="MyGame", commit=COMMIT), context_of(ti))


def test_start_from_trigger(sandbox: Sandbox) -> None:
    """Started in the triggerer without a worker, the sensor waits for the same build."""
    build_id = push_build(sandbox)
    task = sensor_factory("deferrable", build_id=build_id, start_from_trigger=True)()
    assert task.start_from_trigger is AIRFLOW_3_3
    if not AIRFLOW_3_3:
        return
    args = task.start_trigger_args
    module, name = args.trigger_cls.rsplit(".", maxsplit=1)
    event = run_trigger(getattr(import_module(module), name)(**args.trigger_kwargs))
    assert event == {"build_id": build_id, "status": "complete"}
    facts = getattr(task, args.next_method)(context_of(TaskInstance()), event=event)
    assert (facts["build_id"], facts["status"]) == (build_id, "complete")


@pytest.mark.parametrize(
    "fields",
    [
        {"build_id": "{{ ti.xcom_pull('build', key='build_id') }}"},
        {"build_id": "{{ task_instance.xcom_pull('build') }}"},
        {"project": "MyGame"},
        {"build_id": "b1", "deferrable": False},
    ],
    ids=["xcom", "xcom-too", "search", "not-deferrable"],
)
def test_start_in_a_worker(fields: dict[str, Any]) -> None:
    """A sensor whose build id only a worker can resolve, or that pokes, starts in a worker."""
    task = sensor_factory("deferrable", **({"start_from_trigger": True} | fields))()
    assert task.start_from_trigger is False
    assert task.start_trigger_args is None
