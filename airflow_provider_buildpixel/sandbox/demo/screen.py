"""The live view: a block that is redrawn on a terminal, otherwise one line per change."""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

    from airflow_provider_buildpixel.sandbox.demo.build_progress import BuildProgress

BAR = 24
COLOURS = {
    "success": "32",
    "complete": "32",
    "failed": "31",
    "upstream_failed": "31",
    "running": "36",
    "deferred": "35",
    "queued": "33",
    "pending": "33",
}


@dataclass(frozen=True)
class TaskProgress:
    """One task instance and its build; None if it neither dispatched nor waits for one."""

    task: str
    state: str
    build: BuildProgress | None = None

    @property
    def change_key(self) -> tuple[str | None, ...]:
        """Return what must change for a new line where the view cannot be redrawn."""
        build = self.build
        return self.task, self.state, *((build.status, build.phase) if build else ())


class Screen:
    """Shows the progress of all tasks, with the time since its creation."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out
        self._started_at = time.monotonic()
        self._live = out.isatty()
        self._drawn = 0
        self._printed: set[tuple[str | None, ...]] = set()

    def message(self, text: str) -> None:
        """Print a line that is not redrawn."""
        self._erase()
        self._print(f"{self._elapsed()}  {text}")

    def show(self, tasks: list[TaskProgress]) -> None:
        """Show the current progress of the tasks."""
        if self._live:
            self._redraw(tasks)
            return
        for task in tasks:
            if task.change_key not in self._printed:
                self._printed.add(task.change_key)
                self._print(f"{self._elapsed()}  {line(task, colour=False)}")

    def _redraw(self, tasks: list[TaskProgress]) -> None:
        self._erase()
        width = shutil.get_terminal_size().columns
        rows = [line(task, colour=False) for task in tasks]
        fit = all(len(row) < width for row in rows)  # a wrapped line could not be erased
        rows = [line(t, colour=True) for t in tasks] if fit else [r[: width - 1] for r in rows]
        self._print("\n".join([f"{self._elapsed()}", *rows]))
        self._drawn = len(rows) + 1

    def _erase(self) -> None:
        if self._drawn:
            self._out.write(f"\x1b[{self._drawn}A\x1b[J")
            self._drawn = 0

    def _elapsed(self) -> str:
        return f"{time.monotonic() - self._started_at:6.1f} s"

    def _print(self, text: str) -> None:
        self._out.write(f"{text}\n")
        self._out.flush()


def line(task: TaskProgress, *, colour: bool) -> str:
    """Return one task with its state and the progress of its build."""
    start = f"  {task.task:<26} {_coloured(task.state, 16, colour=colour)}"
    if task.build is None:
        return start.rstrip() if not colour else start
    build = task.build
    status = _coloured(build.status, 10, colour=colour)
    progress = f"{bar(build.progress)} {build.phase or ''}"
    return f"{start} {build.name:<24} {status} {progress}".rstrip()


def _coloured(word: str, width: int, *, colour: bool) -> str:
    padded = f"{word:<{width}}"
    return f"\x1b[{COLOURS.get(word, '0')}m{padded}\x1b[0m" if colour else padded


def bar(progress: float) -> str:
    """Return a progress bar with its percentage."""
    full = round(progress * BAR)
    return f"[{'#' * full}{'.' * (BAR - full)}] {progress:4.0%}"
