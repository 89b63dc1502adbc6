"""What Airflow does for one task, in this process: tries, deferrals, reschedules, XComs, store.

The operator, its trigger and the sandbox are real. What stands in for Airflow is as small as can
be: it renders, executes, sends each deferral through JSON to a trigger made anew, and resumes a
task made anew, as a scheduler, a triggerer and two workers would.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from airflow import __version__ as airflow_version
from airflow.providers.common.compat.sdk import DAG, AirflowException, TaskDeferred

from airflow_provider_buildpixel.operators.buildpixel import BuildPixelTriggerBuildOperator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from airflow.triggers.base import BaseTrigger

    from airflow_provider_buildpixel.sandbox import Sandbox

AIRFLOW_3 = int(airflow_version.split(".", maxsplit=1)[0]) >= 3
AIRFLOW_3_3 = tuple(map(int, airflow_version.split(".")[:2])) >= (3, 3)
PATIENCE = 20.0
WIN64 = {"platform": "Win64", "buildType": "Shipping"}
MODES = ("blocking", "deferrable")


class Killed(BaseException):
    """A worker's end, as far as the code in it sees it: nothing after this line runs."""


class Store:
    """A task state store in a dict: what is set is JSON, and outlives the worker.

    :param dies_at: the worker ends right after this many writes.
    """

    def __init__(self, dies_at: int | None = None) -> None:
        self.kept: dict[str, str] = {}
        self.dies_at = dies_at

    def get(self, key: str, default: Any = None) -> Any:
        """Give what was set."""
        return json.loads(self.kept[key]) if key in self.kept else default

    def delete(self, key: str) -> None:
        """Forget a value."""
        self.kept.pop(key, None)

    def set(self, key: str, value: Any) -> None:
        """Keep a value."""
        self.kept[key] = json.dumps(value)
        if self.dies_at is not None:
            self.dies_at -= 1
            if self.dies_at == 0:
                raise Killed


@dataclass
class TaskInstance:
    """What a task sees of its task instance."""

    try_number: int = 1
    max_tries: int = 0
    start_date: datetime = field(default_factory=lambda: datetime.now(UTC))
    xcoms: dict[str, Any] = field(default_factory=dict)
    first_reschedule: datetime | None = None
    dag_id: str = "pipeline"
    task_id: str = "build"
    run_id: str = "manual"
    map_index: int = -1

    def xcom_push(self, key: str, value: Any) -> None:
        """Keep an XCom, which is JSON."""
        self.xcoms[key] = json.loads(json.dumps(value))

    def get_first_reschedule_date(self, _context: Any) -> datetime | None:
        """Tell when this try was first put back (Airflow 3 asks its task instance)."""
        return self.first_reschedule


def outlet_events() -> Any:
    """Make Airflow's own accessors of outlet events."""
    name = "airflow.sdk.execution_time.context" if AIRFLOW_3 else "airflow.utils.context"
    return import_module(name).OutletEventAccessors()


def context_of(ti: TaskInstance, store: Store | None = None, **more: Any) -> dict[str, Any]:
    """Put the context of a try together; without a store as below Airflow 3.3."""
    run = SimpleNamespace(start_date=ti.start_date, run_id=ti.run_id)
    stored = {} if store is None else {"task_state_store": store}
    context = {"ti": ti, "task_instance": ti, "dag_run": run, "outlet_events": outlet_events()}
    return {**context, "params": {}, **stored, **more}


def in_dag(kind: type[Any], **kwargs: Any) -> Any:
    """Make a task in a Dag of its own, as each process does that parses it."""
    with DAG("pipeline", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
        return kind(**{"task_id": "build", **kwargs})


def building(mode: str, **kwargs: Any) -> Callable[[], Any]:
    """Make a maker of the operator, in a mode and in a hurry."""
    usual = {"project": "MyGame", "build_setting": WIN64, "poll_interval": 0.1}
    quick = {**usual, "channel": "polling", "deferrable": mode == "deferrable"}
    return partial(in_dag, BuildPixelTriggerBuildOperator, **(quick | kwargs))


def carried_out(make: Callable[[], Any], context: Mapping[str, Any]) -> Any:
    """Carry a try of a task out to its end: its result, or what it raises."""
    method, kwargs = "execute", dict[str, Any]()
    while True:
        try:
            return _turn(make(), method, kwargs, context)
        except TaskDeferred as deferral:
            event = woken(deferral.trigger)
            method = deferral.method_name
            kwargs = {**json.loads(json.dumps(deferral.kwargs or {})), "event": event}
        except AirflowException as error:
            at = getattr(error, "reschedule_date", None)
            if at is None:
                raise
            context["ti"].first_reschedule = context["ti"].first_reschedule or datetime.now(UTC)
            time.sleep(max(0.0, (at - datetime.now(UTC)).total_seconds()))


def _turn(task: Any, method: str, kwargs: dict[str, Any], context: Mapping[str, Any]) -> Any:
    task.render_template_fields(context)
    if method == "execute":
        return task.execute(context)
    return task.resume_execution(method, kwargs, context)


def restored(trigger: BaseTrigger) -> BaseTrigger:
    """Give the trigger that a triggerer makes of what a worker has stored."""
    path, kwargs = trigger.serialize()
    module, name = path.rsplit(".", maxsplit=1)
    made: BaseTrigger = getattr(import_module(module), name)(**json.loads(json.dumps(kwargs)))
    return made


def woken(trigger: BaseTrigger) -> Any:
    """Run a trigger as a triggerer does, to its one event, and give that event's payload."""
    return asyncio.run(event_of(restored(trigger)))


async def event_of(trigger: BaseTrigger) -> Any:
    """Give the payload of a trigger's one event."""
    async with asyncio.timeout(PATIENCE):
        payloads = [event.payload async for event in trigger.run()]
    assert len(payloads) == 1
    return json.loads(json.dumps(payloads[0]))


def until(condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Wait until something is there, and give it."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "what the test waits for did not happen"
        time.sleep(0.01)
    return found


@contextmanager
def meanwhile(*stories: Callable[[], object]) -> Iterator[None]:
    """Let things happen in turn while a task runs; what goes wrong there fails the test."""
    trouble: list[BaseException] = []

    def told() -> None:
        try:
            for story in stories:
                story()
        except (AssertionError, ArithmeticError, LookupError, ValueError) as error:
            trouble.append(error)

    thread = threading.Thread(target=told)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    if trouble:
        raise trouble[0]


def dispatched(sandbox: Sandbox) -> list[str]:
    """Give the builds that were triggered over the API, the oldest first."""
    return [
        build["id"] for build in sandbox.builds() if build["triggeredBy"].startswith("api_token")
    ]


def posts(sandbox: Sandbox) -> int:
    """Count the requests to start a build."""
    return len(sandbox.requests_to("POST trigger"))


def reads(sandbox: Sandbox, build_id: str) -> int:
    """Count the answered reads of a build."""
    paths = [request.path for request in sandbox.requests if request.status]
    return sum(path.endswith(f"/builds/{build_id}") for path in paths)


def waited_for(sandbox: Sandbox) -> str:
    """Wait until a task has dispatched its build and waits for it; give the build's id."""
    build_id: str = until(lambda: dispatched(sandbox))[0]
    until(lambda: reads(sandbox, build_id) >= 2)
    return build_id
