"""How long worker slots were in use, as measured by Airflow.

With LocalExecutor, a worker process is a slot. It takes a task, supervises the task's process until
that ends, and then logs the duration in a line of the scheduler's log ("Workload finished"). A
deferred task occupies a slot at least twice: until it defers, and from its resumption to its end.
Measuring by the process titles of the workers gave up to 0.1 s more for each of these segments: the
time that a worker needs before and after the supervision.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

PAUSED = {"deferred", "up_for_reschedule", "up_for_retry"}


@dataclass(frozen=True)
class Segment:
    """One period for which a task instance occupied a worker slot."""

    task_id: str
    seconds: float
    state: str


@dataclass(frozen=True)
class SlotUsage:
    """The slot usage of one task instance."""

    segments: tuple[Segment, ...]
    starts: int

    @property
    def seconds(self) -> float:
        """Return the total of all segments."""
        return sum(segment.seconds for segment in self.segments)

    @property
    def complete(self) -> bool:
        """Whether it includes every start in Airflow's audit log, up to the end of the task."""
        ended = bool(self.segments) and self.segments[-1].state not in PAUSED
        return ended and len(self.segments) == self.starts


def read_segments(log: Path) -> list[Segment]:
    """Return the segments in the scheduler's log, which must be in JSON."""
    with log.open(errors="replace") as lines:
        return [_segment(entry) for entry in _entries(lines) if _is_end_of_segment(entry)]


def _entries(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield the lines that are JSON; banners and tracebacks of other libraries are not."""
    for line in lines:
        if line.startswith("{") and line.endswith("}\n"):
            yield json.loads(line)


def _is_end_of_segment(entry: dict[str, Any]) -> bool:
    return entry.get("event") == "Workload finished" and entry.get("workload_type") == "ExecuteTask"


def _segment(entry: dict[str, Any]) -> Segment:
    return Segment(entry["workload_id"], entry["duration"], str(entry["final_state"]))


def slot_usage(task_ids: Iterable[str], starts: int, segments: Iterable[Segment]) -> SlotUsage:
    """Return the slot usage of one task instance.

    :param task_ids: the ids of the task instance; each retry has a new one.
    :param starts: how often the task instance was started, from Airflow's audit log.
    """
    ids = set(task_ids)
    return SlotUsage(tuple(segment for segment in segments if segment.task_id in ids), starts)
