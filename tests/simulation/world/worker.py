"""Runs the code of one task: a worker and a triggerer, with what Airflow gives them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import lru_cache, partial
from math import inf
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, TaskDeferred

from airflow_provider_buildpixel.exceptions import BuildPixelError
from airflow_provider_buildpixel.operators.buildpixel import BuildPixelTriggerBuildOperator
from airflow_provider_buildpixel.waits.actions import Done
from airflow_provider_buildpixel.waits.blocking import wait_for_build
from airflow_provider_buildpixel.waits.wait import Wait
from tests.simulation.schedule import SETTINGS, setting_id
from tests.simulation.world.client import make_hook
from tests.simulation.world.hub import CLOCK, RANDOM

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.schedule import TaskSpec
    from tests.simulation.world.simulation import Simulation
    from tests.simulation.world.task import Task


class TriggererLost(BaseException):
    """The triggerer ended; another one starts the trigger again."""


class TaskInstance(SimpleNamespace):
    """What a task sees of itself in one try; its XComs end with the try."""

    def xcom_push(self, key: str, value: Any) -> None:
        """Store an XCom."""
        self.xcoms[key] = value


class Store:
    """A task state store, whose every use is a step of the worker."""

    def __init__(self, pause: Callable[[float], None]) -> None:
        self._values: dict[str, str] = {}
        self.taken: set[str | None] = set()
        """The builds that the task has taken for its own."""
        self.successes: list[float] = []
        """When the task has stored that it succeeded."""
        self.reports: list[float] = []
        """When the task has stored that it reports an uncertain request."""
        self._pause = pause

    def get(self, key: str, default: Any = None) -> Any:
        """Return the stored value."""
        self._pause(0.01)
        return json.loads(self._values[key]) if key in self._values else default

    def set(self, key: str, value: Any) -> None:
        """Store a value."""
        self._pause(0.01)
        self._values[key] = json.dumps(value)
        self.taken.add(value["build_id"])
        if value["task_finished"]:
            self.successes.append(CLOCK.hub.now)
        if value["is_reported"]:
            self.reports.append(CLOCK.hub.now)
        self._pause(0.01)

    def delete(self, key: str) -> None:
        """Delete a value."""
        self._pause(0.01)
        self._values.pop(key, None)
        self._pause(0.01)


class TaskLog:
    """A logger that writes to the log of the simulation."""

    def __init__(self, write: Callable[..., None]) -> None:
        self.debug = self.info = self.warning = self.error = self.exception = write

    def log(self, _level: int, message: str, *args: object) -> None:
        """Write a line."""
        self.info(message, *args)


@lru_cache(maxsize=20_000)
def _operator(spec: TaskSpec) -> Any:
    return BuildPixelTriggerBuildOperator(
        task_id="build",
        project=SETTINGS[spec.setting].project,
        build_setting=setting_id(spec.setting),
        branch=spec.branch,
        commit=spec.commit,
        changelist=spec.changelist,
        wait_for_completion=spec.wait_for_completion,
        deferrable=spec.deferrable,
        channel="polling",
        poll_interval=240.0,
        timeout=spec.timeout,
        on_superseded=spec.on_superseded,
        on_in_flight=spec.on_in_flight,
        durable=spec.durable,
        stream_logs=None,
        retries=spec.retries,
    )


class Worker:
    """Runs one try of a task; between its deferrals, a triggerer takes its place."""

    def __init__(self, simulation: Simulation, task: Task) -> None:
        self._simulation = simulation
        self._task = task
        self._ti = TaskInstance(
            try_number=task.try_number,
            max_tries=task.max_tries,
            start_date=datetime.fromtimestamp(CLOCK.hub.now, UTC),
            dag_id="pipeline",
            task_id="build" if task.spec.map_index >= 0 else task.name.replace(" ", "_"),
            run_id=f"run_{task.run.number}",
            map_index=task.spec.map_index,
            xcoms={},
        )

    def execute(self) -> dict[str, Any]:
        """Run the try to its end; return the build's facts."""
        method, kwargs = "execute", dict[str, Any]()
        while True:
            operator = self._new_operator()
            context = self._context(operator)
            try:
                if method == "execute":  # without Airflow's check for calls outside of its runner
                    return type(operator).execute.__wrapped__(operator, context)  # type: ignore[no-any-return]
                return getattr(operator, method)(context, **kwargs)  # type: ignore[no-any-return]
            except TaskDeferred as deferral:
                event = self._defer(deferral)
                method = deferral.method_name
                kwargs = {**json.loads(json.dumps(deferral.kwargs or {})), "event": event}

    def _new_operator(self) -> Any:
        """Return the operator as a new process has it."""
        task = self._task
        task.use_spec()
        original = _operator(task.used)
        operator = object.__new__(type(original))
        hook = make_hook(self._simulation, task)
        log = TaskLog(partial(self._simulation.note, task.name, "log:"))
        operator.__dict__.update(original.__dict__, hook=hook, _cached_logger=log)
        hook.__dict__.update(_log=log, _cached_logger=log)
        return operator

    def _context(self, operator: Any) -> Any:
        run, ti, store = self._task.run, self._ti, self._task.store
        dag_run = SimpleNamespace(
            start_date=datetime.fromtimestamp(run.started, UTC),
            run_id=ti.run_id,
            clear_number=run.clear_number,
        )
        ti.task = operator
        stored = {} if store is None else {"task_state_store": store}
        context = {"ti": ti, "task_instance": ti, "dag_run": dag_run, "task": operator}
        return {**context, "outlet_events": {}, "params": {}, "run_id": ti.run_id, **stored}

    def _defer(self, deferral: TaskDeferred) -> dict[str, Any]:
        """Run the trigger, in one triggerer after the other; return its event."""
        task, timeout = self._task, deferral.timeout
        task.state = "deferred"
        expires = inf if timeout is None else CLOCK.hub.now + timeout.total_seconds()
        while True:
            try:
                event = self._run_trigger(deferral.trigger)
                break
            except TriggererLost:
                self._simulation.note(task.name, "triggerer lost")
        if CLOCK.hub.now > expires:
            raise AirflowException("the deferral has timed out")
        task.state = "queued"
        CLOCK.hub.sleep(RANDOM.uniform(0.5, 5.0))
        task.state = "running"
        return event

    def _run_trigger(self, trigger: Any) -> dict[str, Any]:
        """Wait as the trigger does while it has no channel; return its event."""
        CLOCK.hub.sleep(1.0)
        wait = Wait(
            trigger.build_id,
            channel="polling",
            poll_interval=trigger.poll_interval,
            deadline=trigger.deadline,
            queue_deadline=trigger.queue_deadline,
            stream_logs=None,
        )
        client = make_hook(self._simulation, self._task).client
        try:
            end = wait_for_build(client, wait, lambda _: None)
        except BuildPixelError as error:
            return {"build_id": trigger.build_id, "status": "error", "message": str(error)}
        CLOCK.hub.sleep(min(60.0, max(0.0, trigger.not_before - CLOCK.hub.now)))
        status = str(end.build.status) if isinstance(end, Done) else "timeout"
        return {"build_id": trigger.build_id, "status": status}
