"""The table at the end: the outcome and duration of each build, and the slot usage of its task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox.demo.build_progress import BuildProgress
    from airflow_provider_buildpixel.sandbox.demo.slot_usage import SlotUsage

HEADERS = ("build", "outcome", "duration", "waited", "worker slot used", "share")


@dataclass(frozen=True)
class SummaryRow:
    """One build, and the slot usage of the task instance that waited for it."""

    build: BuildProgress
    usage: SlotUsage

    @property
    def complete(self) -> bool:
        """Whether every figure of the row was measured."""
        build = self.build
        return self.usage.complete and build.waited is not None and build.duration is not None


def table(rows: list[SummaryRow]) -> str:
    """Return the table as text; a figure that was not measured is a question mark."""
    lines = [_cells(row) for row in rows]
    waited = sum(row.build.waited or 0.0 for row in rows)
    used = sum(row.usage.seconds for row in rows)
    if all(row.complete for row in rows):
        lines.append(("all", "", "", _seconds(waited), _seconds(used), f"{used / waited:.1%}"))
    return _aligned([HEADERS, *lines])


def _cells(row: SummaryRow) -> tuple[str, ...]:
    build, usage = row.build, row.usage
    share = f"{usage.seconds / build.waited:.1%}" if row.complete and build.waited else "?"
    slot = f"{_seconds(usage.seconds)} in {len(usage.segments)} periods" if usage.complete else "?"
    return (
        build.name,
        build.status,
        _seconds(build.duration),
        _seconds(build.waited),
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
worker slot used: the time that Airflow's worker reports for the task, summed over its periods in
a slot (until it deferred, and after it resumed), with [workers] min_heartbeat_interval at 1 s."""
