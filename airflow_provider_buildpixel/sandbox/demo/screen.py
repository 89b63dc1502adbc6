"""The live view: a block that is redrawn on a terminal, one line per change anywhere else."""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

    from airflow_provider_buildpixel.sandbox.demo.course import Course

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
class Sight:
    """One task instance and, if it dispatched or waits for one, its build."""

    task: str
    state: str
    course: Course | None = None

    @property
    def change(self) -> tuple[str | None, ...]:
        """What makes a new line worth printing where nothing can be redrawn."""
        course = self.course
        build = (course.status, course.phase) if course else ()
        return self.task, self.state, *build


class Screen:
    """Shows what is going on, and for how long it has been."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out
        self._began = time.monotonic()
        self._live = out.isatty()
        self._drawn = 0
        self._known: set[tuple[str | None, ...]] = set()

    def say(self, message: str) -> None:
        """Print a line that stays."""
        self._erase()
        self._print(f"{self._clock()}  {message}")

    def show(self, sights: list[Sight]) -> None:
        """Show how things stand now."""
        if self._live:
            self._redraw(sights)
            return
        for sight in sights:
            if sight.change not in self._known:
                self._known.add(sight.change)
                self._print(f"{self._clock()}  {line(sight, colour=False)}")

    def _redraw(self, sights: list[Sight]) -> None:
        self._erase()
        width = shutil.get_terminal_size().columns
        rows = [line(sight, colour=False) for sight in sights]
        fit = all(len(row) < width for row in rows)  # a wrapped line could not be erased
        rows = [line(s, colour=True) for s in sights] if fit else [r[: width - 1] for r in rows]
        self._print("\n".join([f"{self._clock()}", *rows]))
        self._drawn = len(rows) + 1

    def _erase(self) -> None:
        if self._drawn:
            self._out.write(f"\x1b[{self._drawn}A\x1b[J")
            self._drawn = 0

    def _clock(self) -> str:
        return f"{time.monotonic() - self._began:6.1f} s"

    def _print(self, text: str) -> None:
        self._out.write(f"{text}\n")
        self._out.flush()


def line(sight: Sight, *, colour: bool) -> str:
    """Return one task, its state, and where its build is."""
    start = f"  {sight.task:<26} {_tinted(sight.state, 16, colour=colour)}"
    if sight.course is None:
        return start.rstrip() if not colour else start
    course = sight.course
    status = _tinted(course.status, 10, colour=colour)
    going = f"{bar(course.progress)} {course.phase or ''}"
    return f"{start} {course.name:<24} {status} {going}".rstrip()


def _tinted(word: str, width: int, *, colour: bool) -> str:
    padded = f"{word:<{width}}"
    return f"\x1b[{COLOURS.get(word, '0')}m{padded}\x1b[0m" if colour else padded


def bar(progress: float) -> str:
    """Return a progress bar with its percentage."""
    full = round(progress * BAR)
    return f"[{'#' * full}{'.' * (BAR - full)}] {progress:4.0%}"
