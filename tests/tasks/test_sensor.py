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
from tests.tasks.behaviours import connect
from tests.tasks.stage import (
    AIRFLOW_3,
    AIRFLOW_3_3,
    WIN64,
    TaskInstance,
    carried_out,
    context_of,
    in_dag,
    meanwhile,
    posts,
    until,
    woken,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.sandbox import Sandbox

MODES = ("poke", "reschedule", "deferrable")
COMMIT = "4be7a1c0ffee"
HANGS = {"outcome": "hangs", "queue": 0.1}


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    """Name each mode in turn; rescheduling asks Airflow 2's database how long it has waited."""
    if request.param == "reschedule" and not AIRFLOW_3:
        request.getfixturevalue("airflow_database")
    return str(request.param)


def sensing(mode: str, **kwargs: Any) -> Callable[[], Any]:
    """Make a maker of the sensor, in a mode and in a hurry."""
    how = {"deferrable": True} if mode == "deferrable" else {"mode": mode}
    quick = {"poke_interval": 0.1, "timeout": 20, "channel": "polling", **how}
    return partial(in_dag, BuildPixelBuildSensor, **(quick | kwargs))


def sensed(mode: str, **kwargs: Any) -> Any:
    """Carry a sensor out to its end."""
    return carried_out(sensing(mode, **kwargs), context_of(TaskInstance()))


def pushed(sandbox: Sandbox, **plan: Any) -> str:
    """Queue a build of a push."""
    if plan:
        sandbox.plan(**plan)
    return sandbox.push(sandbox.setting("MyGame", **WIN64)["id"], commit=COMMIT)


def looks(sandbox: Sandbox) -> int:
    """Count the answered looks for a build."""
    routes = ("GET /builds", "GET /builds/:id")
    return sum(len(sandbox.requests_to(route)) for route in routes)


def looked_for(sandbox: Sandbox, times: int = 2) -> None:
    """Wait until somebody has looked for a build so often from now on."""
    seen = looks(sandbox)
    until(lambda: looks(sandbox) >= seen + times)


@dataclass(frozen=True)
class Way:
    """A way to say which build is meant."""

    name: str
    fields: dict[str, Any]

    def of(self, build_id: str) -> dict[str, Any]:
        """Give the sensor's parameters."""
        return self.fields or {"build_id": build_id}


WAYS = (
    Way("id", {}),
    Way("fields", {"project": "MyGame", "build_setting": WIN64, "branch": "main"}),
    Way("short-commit", {"project": "MyGame", "commit": COMMIT[:7]}),
)
ways = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)


@ways
def test_complete(sandbox: Sandbox, mode: str, way: Way) -> None:
    """A build that completes gives its facts, however it is named and waited for."""
    build_id = pushed(sandbox)
    facts = sensed(mode, **way.of(build_id))
    assert (facts["build_id"], facts["status"]) == (build_id, "complete")
    assert posts(sandbox) == 0


@ways
def test_failed(sandbox: Sandbox, mode: str, way: Way) -> None:
    """A build that fails raises BuildFailed with its cause."""
    build_id = pushed(sandbox, outcome="failed", queue=0.1, run=0.2)
    with pytest.raises(BuildFailed, match=build_id) as raised:
        sensed(mode, **way.of(build_id))
    assert raised.value.cause == "compile"


@ways
@pytest.mark.parametrize("soft", ["soft_fail", "never_fail"])
def test_failed_softly(sandbox: Sandbox, mode: str, way: Way, soft: str) -> None:
    """A build that fails is a skip with soft_fail and with never_fail."""
    build_id = pushed(sandbox, outcome="failed", queue=0.1, run=0.1)
    with pytest.raises(AirflowSkipException):
        sensed(mode, **{soft: True}, **way.of(build_id))


def test_failed_before(sandbox: Sandbox, mode: str) -> None:
    """A build that had failed before the sensor began is a skip with soft_fail, too."""
    build_id = pushed(sandbox, **HANGS)
    sandbox.set_status(build_id, "failed")
    with pytest.raises(AirflowSkipException):
        sensed(mode, build_id=build_id, soft_fail=True)


@pytest.mark.parametrize(
    ("policy", "raised"), [("fail", BuildSuperseded), ("skip", AirflowSkipException)]
)
def test_superseded(sandbox: Sandbox, mode: str, policy: str, raised: type[BaseException]) -> None:
    """A superseded build fails or skips, as on_superseded says."""
    build_id = pushed(sandbox, **HANGS)
    waiting = partial(sensed, mode, build_id=build_id, on_superseded=policy)
    with meanwhile(lambda: looked_for(sandbox), lambda: pushed(sandbox)), pytest.raises(raised):
        waiting()


def test_superseded_and_followed(sandbox: Sandbox, mode: str) -> None:
    """With on_superseded='follow' the facts are those of the newest build in the end."""
    build_id = pushed(sandbox, **HANGS)

    def twice() -> None:
        looked_for(sandbox)
        pushed(sandbox, **HANGS)
        looked_for(sandbox, 4)
        pushed(sandbox)

    with meanwhile(twice):
        facts = sensed(mode, build_id=build_id, on_superseded="follow")
    assert facts["build_id"] == sandbox.builds()[2]["id"]


@ways
def test_not_there_yet(sandbox: Sandbox, mode: str, way: Way) -> None:
    """A build that is not there yet is waited for, and that is no error."""
    build_id = ""
    if not way.fields:
        build_id = pushed(sandbox)
        sandbox.fault("404", "GET /builds/:id", times=4)

    def pushed_late() -> None:
        if way.fields:
            looked_for(sandbox)
            pushed(sandbox)

    with meanwhile(pushed_late):
        facts = sensed(mode, **way.of(build_id))
    assert facts["build_id"] == sandbox.builds()[0]["id"]


@ways
@pytest.mark.parametrize("there", [True, False], ids=["there", "not-there"])
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_timeout(sandbox: Sandbox, mode: str, way: Way, *, there: bool, soft: bool) -> None:
    """After the sensor's timeout it raises AirflowSensorTimeout, or skips with soft_fail."""
    if mode == "reschedule" and not AIRFLOW_3:
        pytest.skip("Airflow 2 counts this from rows that only its scheduler writes")
    build_id = pushed(sandbox, **HANGS) if there else "0" * 24
    with pytest.raises(AirflowSkipException if soft else AirflowSensorTimeout):
        sensed(mode, timeout=0.5, soft_fail=soft, **way.of(build_id))


@ways
def test_passing_trouble(sandbox: Sandbox, mode: str, way: Way) -> None:
    """500s that pass change nothing."""
    build_id = pushed(sandbox)
    sandbox.fault("500", times=3)
    assert sensed(mode, **way.of(build_id))["build_id"] == build_id


def test_refused(sandbox: Sandbox, mode: str) -> None:
    """A token that is revoked in mid-wait fails the sensor at once."""
    build_id = pushed(sandbox, **HANGS)
    with (
        meanwhile(lambda: looked_for(sandbox), lambda: sandbox.revoke(sandbox.token)),
        pytest.raises(Unauthorized),
    ):
        sensed(mode, build_id=build_id)


def test_refused_softly(sandbox: Sandbox, mode: str) -> None:
    """A token that is refused from the beginning is a skip with soft_fail."""
    build_id = pushed(sandbox)
    sandbox.revoke(sandbox.token)
    with pytest.raises(AirflowSkipException):
        sensed(mode, build_id=build_id, soft_fail=True)


def test_replaced(sandbox: Sandbox, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that is revoked and replaced in the connection changes nothing."""
    build_id = pushed(sandbox, **HANGS)

    def replaced() -> None:
        looked_for(sandbox)
        connect(sandbox, sandbox.issue_token())
        sandbox.revoke(sandbox.token)
        looked_for(sandbox, 4)
        sandbox.set_status(build_id, "complete")

    with meanwhile(replaced):
        assert sensed(mode, build_id=build_id)["build_id"] == build_id


@pytest.mark.parametrize(
    ("fields", "raised", "said"),
    [
        ({}, InvalidRequest, "needs a build_id, or a project"),
        ({"build_id": " "}, InvalidRequest, "build_id is empty"),
        ({"project": "Nothing"}, NotFound, "MyGame"),
        ({"project": "MyGame", "build_setting": {"platform": "PS5"}}, NotFound, "Win64 Shipping"),
        ({"project": "MyGame", "build_setting": {"branch": "main"}}, InvalidRequest, "3 build"),
        ({"build_id": "b", "channel": "pigeon"}, InvalidRequest, "pigeon"),
        ({"build_id": "b", "on_superseded": "weep"}, InvalidRequest, "on_superseded"),
    ],
)
def test_what_cannot_be(
    sandbox: Sandbox, mode: str, fields: dict[str, Any], raised: type[Exception], said: str
) -> None:
    """What names no build, or not one, is an error at once, and with the candidates."""
    with pytest.raises(raised, match=said):
        sensed(mode, **fields)


def test_templates(sandbox: Sandbox, mode: str) -> None:
    """Every template field is rendered."""
    build_id = pushed(sandbox)
    fields = {"build_id": "{{ params.b }}", "buildpixel_conn_id": "buildpixel_{{ params.c }}"}
    context = context_of(TaskInstance(), params={"b": build_id, "c": "default"})
    assert carried_out(sensing(mode, **fields), context)["build_id"] == build_id
    fields = {"project": "{{ params.p }}", "commit": "{{ params.h }}", "branch": "{{ params.r }}"}
    context = context_of(TaskInstance(), params={"p": "MyGame", "h": COMMIT, "r": "main"})
    setting = '{"platform": "{{ \'Win64\' }}", "buildType": "Shipping"}'
    make = sensing(mode, build_setting=setting, **fields)
    assert carried_out(make, context)["build_id"] == build_id


def test_xcom_while_waiting(sandbox: Sandbox, mode: str) -> None:
    """The build's id and link are there as soon as the sensor knows them."""
    build_id = pushed(sandbox, **HANGS)
    ti = TaskInstance()

    def known() -> None:
        until(lambda: "buildpixel_build_url" in ti.xcoms)  # the last that is pushed
        assert ti.xcoms["build_id"] == build_id
        assert build_id in ti.xcoms["buildpixel_build_url"]
        sandbox.set_status(build_id, "complete")

    with meanwhile(known):
        carried_out(sensing(mode, project="MyGame", commit=COMMIT), context_of(ti))


def test_start_in_the_triggerer(sandbox: Sandbox) -> None:
    """Without a worker the same build is found, and what the triggerer cannot know is not tried."""
    build_id = pushed(sandbox)
    task = sensing("deferrable", build_id=build_id, start_from_trigger=True)()
    assert task.start_from_trigger is AIRFLOW_3_3
    if not AIRFLOW_3_3:
        return
    args = task.start_trigger_args
    module, name = args.trigger_cls.rsplit(".", maxsplit=1)
    event = woken(getattr(import_module(module), name)(**args.trigger_kwargs))
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
    ids=["xcom", "xcom-too", "search", "poking"],
)
def test_start_in_a_worker(fields: dict[str, Any]) -> None:
    """What only a worker can find out, or is to wait for, is left to one."""
    task = sensing("deferrable", **({"start_from_trigger": True} | fields))()
    assert task.start_from_trigger is False
    assert task.start_trigger_args is None
