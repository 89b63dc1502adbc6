"""Runs one task in this process as Airflow does: tries, deferrals, reschedules, XComs, state store.

The operator, its trigger and the sandbox are real. The replacement for Airflow is minimal: it
renders and executes the task, creates the trigger from its serialized form, and resumes a new task
object, as a scheduler, a triggerer and two workers would.
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
TIMEOUT = 20.0
WIN64 = {"platform": "Win64", "buildType": "Shipping"}
MODES = ("blocking", "deferrable")


class Killed(BaseException):
    """Simulates a killed worker: no code after this runs."""


class Store:
    """A task state store in a dict: values are stored as JSON and survive the worker.

    :param dies_at: the worker is killed right after this many writes.
    """

    def __init__(self, dies_at: int | None = None) -> None:
        self.values: dict[str, str] = {}
        self.dies_at = dies_at

    def get(self, key: str, default: Any = None) -> Any:
        """Return the stored value."""
        return json.loads(self.values[key]) if key in self.values else default

    def delete(self, key: str) -> None:
        """Delete a value."""
        self.values.pop(key, None)

    def edit(self, key: str, **changes: Any) -> None:
        """Change fields of a value, without counting it as a write of the task."""
        self.values[key] = json.dumps({**self.get(key), **changes})

    def set(self, key: str, value: Any) -> None:
        """Store a value; like Airflow, accept nothing that JSON would change."""
        self.values[key] = json.dumps(value)
        assert _is_json(value), value
        if self.dies_at is not None:
            self.dies_at -= 1
            if self.dies_at == 0:
                raise Killed


def _is_json(value: Any) -> bool:
    """Return whether a value consists of the types that JSON has."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_json(one) for key, one in value.items())
    if isinstance(value, list):
        return all(map(_is_json, value))
    return value is None or type(value) in {str, int, float, bool}


@dataclass
class TaskInstance:
    """The attributes of a task instance that a task uses."""

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
        """Store an XCom, which must be JSON."""
        self.xcoms[key] = json.loads(json.dumps(value))

    def get_first_reschedule_date(self, _context: Any) -> datetime | None:
        """Return when this try was first rescheduled; Airflow 3 calls this."""
        return self.first_reschedule


def outlet_events() -> Any:
    """Return Airflow's own accessors for outlet events."""
    name = "airflow.sdk.execution_time.context" if AIRFLOW_3 else "airflow.utils.context"
    return import_module(name).OutletEventAccessors()


def context_of(ti: TaskInstance, store: Store | None = None, **more: Any) -> dict[str, Any]:
    """Return the context of a try; without a store it is that of Airflow below 3.3."""
    run = SimpleNamespace(start_date=ti.start_date, run_id=ti.run_id)
    stored = {} if store is None else {"task_state_store": store}
    context = {"ti": ti, "task_instance": ti, "dag_run": run, "outlet_events": outlet_events()}
    return {**context, "params": {}, **stored, **more}


def task_in_dag(kind: type[Any], **kwargs: Any) -> Any:
    """Return a task in a Dag of its own, as each process that parses the Dag has it."""
    with DAG("pipeline", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
        return kind(**{"task_id": "build", **kwargs})


def operator_factory(mode: str, **kwargs: Any) -> Callable[[], Any]:
    """Return a function that creates the operator, with short intervals.

    :param mode: ``blocking`` or ``deferrable``.
    """
    defaults = {"project": "MyGame", "build_setting": WIN64, "poll_interval": 0.1}
    defaults |= {"channel": "polling", "deferrable": mode == "deferrable"}
    return partial(task_in_dag, BuildPixelTriggerBuildOperator, **(defaults | kwargs))


def run_task(make: Callable[[], Any], context: Mapping[str, Any], seconds: float = TIMEOUT) -> Any:
    """Run a try of a task to its end, with all deferrals; return its result or raise its error.

    :param seconds: timeout of each deferral.
    """
    method, kwargs = "execute", dict[str, Any]()
    while True:
        try:
            return _run_once(make(), method, kwargs, context)
        except TaskDeferred as deferral:
            event = run_trigger(deferral.trigger, seconds)
            method = deferral.method_name
            kwargs = {**json.loads(json.dumps(deferral.kwargs or {})), "event": event}
        except AirflowException as error:
            at = getattr(error, "reschedule_date", None)
            if at is None:
                raise
            context["ti"].first_reschedule = context["ti"].first_reschedule or datetime.now(UTC)
            time.sleep(max(0.0, (at - datetime.now(UTC)).total_seconds()))


def _run_once(task: Any, method: str, kwargs: dict[str, Any], context: Mapping[str, Any]) -> Any:
    task.render_template_fields(context)
    if method == "execute":
        return task.execute(context)
    return task.resume_execution(method, kwargs, context)


def restored(trigger: BaseTrigger) -> BaseTrigger:
    """Return a copy of a trigger that was serialized and created again, as in a triggerer."""
    path, kwargs = trigger.serialize()
    module, name = path.rsplit(".", maxsplit=1)
    copy: BaseTrigger = getattr(import_module(module), name)(**json.loads(json.dumps(kwargs)))
    return copy


def run_trigger(trigger: BaseTrigger, seconds: float = TIMEOUT) -> Any:
    """Run a trigger as a triggerer does; return the payload of its one event."""
    return asyncio.run(trigger_event(restored(trigger), seconds))


async def trigger_event(trigger: BaseTrigger, seconds: float = TIMEOUT) -> Any:
    """Return the payload of a trigger's one event."""
    async with asyncio.timeout(seconds):
        payloads = [event.payload async for event in trigger.run()]
    assert len(payloads) == 1
    return json.loads(json.dumps(payloads[0]))


def wait_until(condition: Callable[[], Any], seconds: float = TIMEOUT) -> Any:
    """Wait until the condition returns a true value; return it."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "the condition did not become true in time"
        time.sleep(0.01)
    return found


@contextmanager
def concurrently(*steps: Callable[[], object]) -> Iterator[None]:
    """Run functions one after the other in a thread; an error in them fails the test."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            for step in steps:
                step()
        except (AssertionError, ArithmeticError, LookupError, ValueError) as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    if errors:
        raise errors[0]


def dispatched_builds(sandbox: Sandbox) -> list[str]:
    """Return the ids of the builds that were started over the API, oldest first."""
    return [
        build["id"] for build in sandbox.builds() if build["triggeredBy"].startswith("api_token")
    ]


def count_trigger_requests(sandbox: Sandbox) -> int:
    """Return the number of trigger requests."""
    return len(sandbox.requests_to("POST trigger"))


def count_reads(sandbox: Sandbox, build_id: str) -> int:
    """Return the number of answered reads of a build."""
    paths = [request.path for request in sandbox.requests if request.status]
    return sum(path.endswith(f"/builds/{build_id}") for path in paths)


def wait_for_dispatch(sandbox: Sandbox) -> str:
    """Wait until a task has started its build and waits for it; return the build's id."""
    build_id: str = wait_until(lambda: dispatched_builds(sandbox))[0]
    wait_until(lambda: count_reads(sandbox, build_id) >= 2)
    return build_id
