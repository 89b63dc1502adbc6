"""How long worker slots were held, by Airflow's own account.

LocalExecutor's worker process is the slot. It takes a task, supervises it until its process has
ended, and then says for how many seconds, in a line of the scheduler's log ("Workload finished").
A deferred task is there at least twice: until it defers, and from its resumption to its end.
Watching the process titles of the workers gave up to 0.1 s more for each of these segments, which
is what a worker spends around the supervision.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

PAUSING = {"deferred", "up_for_reschedule", "up_for_retry"}


@dataclass(frozen=True)
class Segment:
    """One stay of a task instance in a worker slot."""

    task_id: str
    seconds: float
    state: str


@dataclass(frozen=True)
class Held:
    """What is known of the slots that one task instance held."""

    segments: tuple[Segment, ...]
    starts: int

    @property
    def seconds(self) -> float:
        """The sum over all stays."""
        return sum(segment.seconds for segment in self.segments)

    @property
    def complete(self) -> bool:
        """Whether every stay that Airflow's audit log counts is there, up to the task's end."""
        ended = bool(self.segments) and self.segments[-1].state not in PAUSING
        return ended and len(self.segments) == self.starts


def segments(log: Path) -> list[Segment]:
    """Read the scheduler's log, which must be in JSON."""
    with log.open(errors="replace") as lines:
        return [_segment(entry) for entry in _entries(lines) if _tells(entry)]


def _entries(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield the lines that are JSON: banners and tracebacks of other libraries are not."""
    for line in lines:
        if line.startswith("{") and line.endswith("}\n"):
            yield json.loads(line)


def _tells(entry: dict[str, Any]) -> bool:
    return entry.get("event") == "Workload finished" and entry.get("workload_type") == "ExecuteTask"


def _segment(entry: dict[str, Any]) -> Segment:
    return Segment(entry["workload_id"], entry["duration"], str(entry["final_state"]))


def held(task_ids: Iterable[str], starts: int, known: Iterable[Segment]) -> Held:
    """Pick one task instance's stays; a retry has a new id.

    :param starts: how often Airflow's audit log says that the task instance began to run.
    """
    ids = set(task_ids)
    return Held(tuple(segment for segment in known if segment.task_id in ids), starts)
