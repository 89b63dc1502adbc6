"""Carries one cell out: a real operator, its trigger and the sandbox, over one retry."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import DAG, AirflowFailException, TaskDeferred

from airflow_provider_buildpixel.operators.buildpixel import BuildPixelTriggerBuildOperator
from airflow_provider_buildpixel.operators.download import BuildPixelDownloadArtifactOperator
from airflow_provider_buildpixel.sandbox import Plan, Sandbox
from tests.chaos.rules import End
from tests.chaos.scene import PATIENCE, OverError, Scene, prepare
from tests.tasks.stage import AIRFLOW_3, Store, TaskInstance, context_of, dispatched, restored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from airflow.triggers.base import BaseTrigger

    from tests.chaos.table import Cell

WIN64 = {"platform": "Win64", "buildType": "Shipping"}
SLACK = 60.0
"""Seconds more than usual that a cell may take on a busy machine."""

PREFIX = "chaos_"
_NUMBERS = count(1)


@dataclass
class Outcome:
    """What became of a cell.

    :param errors: what each try raised; None for one that ended right.
    :param hits: how often the trouble struck.
    :param builds: how many builds were started.
    :param seconds: from the first strike, or the start, to the end.
    :param problems: in what it differs from the table.
    """

    cell: Cell
    errors: list[BaseException | None] = field(default_factory=list)
    hits: int = 0
    builds: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)


def play(cell: Cell) -> Outcome:
    """Carry a cell out and compare its end with the table's."""
    quick = cell.phase in {"resolving", "dispatching"}
    course = Plan("complete" if quick else "hangs", queue=0.1, run=0.3, lines=4)
    with TemporaryDirectory() as folder, Sandbox(default=course) as sandbox:
        scene = Scene(cell, sandbox, f"{PREFIX}{next(_NUMBERS)}")
        scene.connect(sandbox.token)
        outcome = Outcome(cell)
        make = maker(scene, Path(folder))
        began = time.monotonic()
        with _beside(prepare(scene), scene, outcome):
            result = tries(make, outcome)
        outcome.seconds = time.monotonic() - (scene.struck_at or began)
        outcome.hits = scene.hits()
        outcome.builds = len(dispatched(sandbox)) if cell.phase != "downloading" else 1
        outcome.problems += judged(outcome, result, sandbox)
    return outcome


@contextmanager
def _beside(story: Callable[[], None], scene: Scene, outcome: Outcome) -> Iterator[None]:
    """Let the story happen while the task runs."""

    def told() -> None:
        try:
            story()
        except OverError:
            outcome.problems.append("the task ended before the story did")

    thread = threading.Thread(target=told)
    thread.start()
    try:
        yield
    finally:
        scene.over.set()
        thread.join()


def maker(scene: Scene, folder: Path) -> Callable[[], Any]:
    """Give what makes the cell's task, as each process does that parses its Dag."""
    common: dict[str, Any] = {"task_id": "build", "buildpixel_conn_id": scene.conn_id}
    if scene.cell.phase == "downloading":
        build_id = artifact(scene.sandbox)
        path = str(folder / "game.tar.gz")
        kwargs: dict[str, Any] = common | {"build_id": build_id, "destination": path}
        return lambda: BuildPixelDownloadArtifactOperator(dag=_dag(), **kwargs)
    how: dict[str, Any] = {
        "project": "MyGame",
        "build_setting": WIN64,
        "poll_interval": 0.3,
        "timeout": PATIENCE - 20.0,
        "channel": "polling" if scene.cell.channel == "polling" else "auto",
        "deferrable": scene.cell.mode == "deferrable",
    }
    return lambda: BuildPixelTriggerBuildOperator(dag=_dag(), **common, **how)


def _dag() -> DAG:
    return DAG("pipeline", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC))


def artifact(sandbox: Sandbox) -> str:
    """Give the id of a build that has just made an artifact."""
    build_id = sandbox.push(sandbox.setting("MyGame", **WIN64)["id"])
    sandbox.set_status(build_id, "complete")
    return build_id


def tries(make: Callable[[], Any], outcome: Outcome) -> Any:
    """Carry out a task that has one retry; give the result of the try that ended right."""
    store = Store()
    for number in (1, 2):
        ti = TaskInstance(try_number=number, max_tries=1)
        try:
            result = carried_out(make, context_of(ti, store))
        except Exception as error:  # what the cell compares
            outcome.errors.append(error)
            if isinstance(error, AirflowFailException):
                return None
        else:
            outcome.errors.append(None)
            return result
        if not isinstance(outcome.cell.end, End) or not outcome.cell.end.retried:
            return None
    return None


def carried_out(make: Callable[[], Any], context: Mapping[str, Any]) -> Any:
    """Carry a try out over its deferrals, each through JSON to a trigger and a task made anew."""
    method, kwargs = "execute", dict[str, Any]()
    while True:
        task = make()
        task.render_template_fields(context)
        try:
            if method == "execute":
                return task.execute(context)
            return task.resume_execution(method, kwargs, context)
        except TaskDeferred as deferral:
            event = asyncio.run(_event(restored(deferral.trigger)))
            method = deferral.method_name
            kwargs = {**json.loads(json.dumps(deferral.kwargs or {})), "event": event}


async def _event(trigger: BaseTrigger) -> Any:
    async with asyncio.timeout(PATIENCE):
        payloads = [event.payload async for event in trigger.run()]
    return json.loads(json.dumps(payloads[0]))


def judged(outcome: Outcome, result: Any, sandbox: Sandbox) -> Iterator[str]:
    """Say in what a cell's end differs from the table's."""
    cell, end = outcome.cell, outcome.cell.end
    assert isinstance(end, End)
    wanted = [None] if end.error is None else [end.error, None] if end.retried else [end.error]
    found = [None if error is None else type(error).__name__ for error in outcome.errors]
    if found != wanted:
        yield f"it ended {outcome.errors!r} instead of {wanted}"
    if not outcome.hits:
        yield "the fault never struck"
    if outcome.builds != cell.builds:
        yield f"{outcome.builds} builds were started instead of {cell.builds}"
    if outcome.seconds > end.slow + SLACK:
        yield f"it took {outcome.seconds:.0f} s"
    if any(sandbox.token in str(error) for error in outcome.errors):
        yield "the error shows the token"
    if found and found[-1] is None and not _true(result, sandbox):
        yield f"the result is wrong: {result}"


def _true(result: Any, sandbox: Sandbox) -> bool:
    if "checksum_md5" in result:
        content = Path(result["path"]).read_bytes()
        return bool(result["checksum_md5"] == hashlib.md5(content).hexdigest())
    return bool(result["status"] == "complete" and result["build_id"] == dispatched(sandbox)[0])


def _admitted() -> None:
    """Let tasks be executed in this thread: 2.11 keeps a note for the main one only."""
    if not AIRFLOW_3:
        guard = import_module("airflow.models.baseoperator").ExecutorSafeguard
        guard._sentinel.callers = {}


def play_all(chosen: Iterable[Cell], at_once: int) -> Iterator[Outcome]:
    """Carry cells out, many at once, the slow ones first."""
    ordered = sorted(chosen, key=lambda cell: -cell.end.slow if isinstance(cell.end, End) else 0)
    with ThreadPoolExecutor(at_once, initializer=_admitted) as pool:
        yield from pool.map(play, ordered)
    # Not before: a library that copies the environment meanwhile would miss what it saw.
    for name in [name for name in os.environ if name.startswith(f"AIRFLOW_CONN_{PREFIX.upper()}")]:
        del os.environ[name]
