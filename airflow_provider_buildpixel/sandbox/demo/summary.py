"""The table at the end: how each build went, how long it took, and what waiting cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox.demo.course import Course
    from airflow_provider_buildpixel.sandbox.demo.slots import Held

HEADS = ("build", "outcome", "duration", "waited", "worker slot held", "share")


@dataclass(frozen=True)
class Row:
    """One build and the task instance that waited for it."""

    course: Course
    held: Held

    @property
    def obtained(self) -> bool:
        """Whether every figure of the row was really measured."""
        course = self.course
        return self.held.complete and course.waited is not None and course.duration is not None


def table(rows: list[Row]) -> str:
    """Return the whole table; a figure that could not be had is a question mark."""
    lines = [_cells(row) for row in rows]
    waited = sum(row.course.waited or 0.0 for row in rows)
    held = sum(row.held.seconds for row in rows)
    if all(row.obtained for row in rows):
        lines.append(("all", "", "", _seconds(waited), _seconds(held), f"{held / waited:.1%}"))
    return _aligned([HEADS, *lines])


def _cells(row: Row) -> tuple[str, ...]:
    course, held = row.course, row.held
    share = f"{held.seconds / course.waited:.1%}" if row.obtained and course.waited else "?"
    slot = f"{_seconds(held.seconds)} in {len(held.segments)} stays" if held.complete else "?"
    return (
        course.name,
        course.status,
        _seconds(course.duration),
        _seconds(course.waited),
        slot,
        share,
    )


def _seconds(value: float | None) -> str:
    return "?" if value is None else f"{value:.1f} s"


def _aligned(lines: list[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
        for cells in lines
    )


EXPLANATION = """\
duration: from the start of the build to its end. waited: from its dispatch to its end.
worker slot held: what Airflow's worker says it spent on the task, summed over its stays in a slot
(until it deferred, and after it resumed), with [workers] min_heartbeat_interval at 1 s."""
