"""Runs cells: a real operator, its trigger and the sandbox, with one retry of the task."""

from __future__ import annotations

import hashlib
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

from airflow.providers.common.compat.sdk import DAG, AirflowFailException

from airflow_provider_buildpixel.operators.buildpixel import BuildPixelTriggerBuildOperator
from airflow_provider_buildpixel.operators.download import BuildPixelDownloadArtifactOperator
from airflow_provider_buildpixel.sandbox import Plan, Sandbox
from tests.chaos.fault_injection import TIMEOUT, FaultInjection, TaskEndedError, prepare
from tests.chaos.rules import End
from tests.tasks.stage import (
    AIRFLOW_3,
    WIN64,
    Store,
    TaskInstance,
    context_of,
    dispatched_builds,
    run_task,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tests.chaos.table import Cell

EXTRA_SECONDS = 60.0
"""Seconds beyond the usual duration that a cell may take on a busy machine."""

PREFIX = "chaos_"
_NUMBERS = count(1)


@dataclass
class CellResult:
    """How a cell ended.

    :param errors: what each try raised; None for a successful one.
    :param hits: how often the fault was hit.
    :param builds: how many builds were started.
    :param seconds: from the first hit, or the start, to the end.
    :param problems: the differences from the table.
    """

    cell: Cell
    errors: list[BaseException | None] = field(default_factory=list)
    hits: int = 0
    builds: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)


def run_cell(cell: Cell) -> CellResult:
    """Run a cell and compare its end with the table."""
    short = cell.phase in {"resolving", "dispatching"}
    plan = Plan("complete" if short else "hangs", queue=0.1, run=0.3, lines=4)
    with TemporaryDirectory() as folder, Sandbox(default=plan) as sandbox:
        injection = FaultInjection(cell, sandbox, f"{PREFIX}{next(_NUMBERS)}")
        injection.store_token(sandbox.token)
        result = CellResult(cell)
        make_task = task_factory(injection, Path(folder))
        started_at = time.monotonic()
        with _in_background(prepare(injection), injection, result):
            returned = run_tries(make_task, result)
        result.seconds = time.monotonic() - (injection.hit_at or started_at)
        result.hits = injection.hits()
        result.builds = len(dispatched_builds(sandbox)) if cell.phase != "downloading" else 1
        result.problems += differences(result, returned, sandbox)
    return result


@contextmanager
def _in_background(
    work: Callable[[], None], injection: FaultInjection, result: CellResult
) -> Iterator[None]:
    """Inject the fault in a thread while the task runs."""

    def guarded() -> None:
        try:
            work()
        except TaskEndedError:
            result.problems.append("the task ended before the fault was injected and removed")

    thread = threading.Thread(target=guarded)
    thread.start()
    try:
        yield
    finally:
        injection.task_ended.set()
        thread.join()


def task_factory(injection: FaultInjection, folder: Path) -> Callable[[], Any]:
    """Return a function that creates the cell's task, as each process does that parses its Dag."""
    common: dict[str, Any] = {"task_id": "build", "buildpixel_conn_id": injection.conn_id}
    if injection.cell.phase == "downloading":
        build_id = build_with_artifact(injection.sandbox)
        path = str(folder / "game.tar.gz")
        download: dict[str, Any] = common | {"build_id": build_id, "destination": path}
        return lambda: BuildPixelDownloadArtifactOperator(dag=_dag(), **download)
    trigger: dict[str, Any] = common | {
        "project": "MyGame",
        "build_setting": WIN64,
        "poll_interval": 0.3,
        "timeout": TIMEOUT - 20.0,
        "channel": "polling" if injection.cell.channel == "polling" else "auto",
        "deferrable": injection.cell.mode == "deferrable",
    }
    return lambda: BuildPixelTriggerBuildOperator(dag=_dag(), **trigger)


def _dag() -> DAG:
    """Return a new Dag, to be passed to a task: a Dag's ``with`` block is not thread-safe."""
    return DAG("pipeline", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC))


def build_with_artifact(sandbox: Sandbox) -> str:
    """Return the id of a build that has just created an artifact."""
    build_id = sandbox.push(sandbox.setting("MyGame", **WIN64)["id"])
    sandbox.set_status(build_id, "complete")
    return build_id


def run_tries(make_task: Callable[[], Any], result: CellResult) -> Any:
    """Run a task that has one retry; return the result of the successful try."""
    store = Store()
    for number in (1, 2):
        ti = TaskInstance(try_number=number, max_tries=1)
        try:
            returned = run_task(make_task, context_of(ti, store), TIMEOUT)
        except Exception as error:  # noqa: BLE001  # compared with the table
            result.errors.append(error)
            if isinstance(error, AirflowFailException):
                return None
        else:
            result.errors.append(None)
            return returned
        if not isinstance(result.cell.end, End) or not result.cell.end.retried:
            return None
    return None


def differences(result: CellResult, returned: Any, sandbox: Sandbox) -> Iterator[str]:
    """Yield the differences between a cell's end and the table."""
    cell, end = result.cell, result.cell.end
    assert isinstance(end, End)
    expected = [None] if end.error is None else [end.error, None] if end.retried else [end.error]
    found = [None if error is None else type(error).__name__ for error in result.errors]
    if found != expected:
        yield f"it ended with {result.errors!r} instead of {expected}"
    if not result.hits:
        yield "the fault was never hit"
    if result.builds != cell.builds:
        yield f"{result.builds} builds were started instead of {cell.builds}"
    if result.seconds > end.slow + EXTRA_SECONDS:
        yield f"it took {result.seconds:.0f} s"
    if any(sandbox.token in str(error) for error in result.errors):
        yield "the error shows the token"
    if found and found[-1] is None and not _is_correct(returned, sandbox):
        yield f"the result is wrong: {returned}"


def _is_correct(returned: Any, sandbox: Sandbox) -> bool:
    if "checksum_md5" in returned:
        content = Path(returned["path"]).read_bytes()
        return bool(returned["checksum_md5"] == hashlib.md5(content).hexdigest())  # noqa: S324  BuildPixel's
    return bool(
        returned["status"] == "complete" and returned["build_id"] == dispatched_builds(sandbox)[0]
    )


def _allow_execution() -> None:
    """Allow tasks to be executed in this thread: 2.11 allows it in the main thread only."""
    if not AIRFLOW_3:
        guard = import_module("airflow.models.baseoperator").ExecutorSafeguard
        guard._sentinel.callers = {}


def run_cells(cells: Iterable[Cell], concurrency: int) -> Iterator[CellResult]:
    """Run many cells at the same time, the slow ones first."""
    ordered = sorted(cells, key=lambda cell: -cell.end.slow if isinstance(cell.end, End) else 0)
    with ThreadPoolExecutor(concurrency, initializer=_allow_execution) as pool:
        yield from pool.map(run_cell, ordered)
    # Not earlier: a library that copies the environment at this time would miss a variable.
    for name in [name for name in os.environ if name.startswith(f"AIRFLOW_CONN_{PREFIX.upper()}")]:
        del os.environ[name]
