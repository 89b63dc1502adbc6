"""Counts what the random schedules contain, so that a reader sees what was covered."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from tests.simulation.schedule import ServiceSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulation.schedule import Schedule, TaskSpec

PLAIN = ServiceSpec()
SERVICE = {
    "skew": "a clock that is off",
    "tells_time": "no `Date`",
    "mark": "builds marked with the user, or not at all",
    "order": "lists in another order",
    "staleness": "stale lists",
    "jumps_back": "lists that jump back",
    "page_size": "pages of 3 to 10 rows",
    "offset_cursor": "cursors that count rows",
    "repeats_rows": "repeated rows",
    "sorted_ids": "ids that do not sort",
    "brief": "brief rows",
    "unreadable_rows": "unreadable rows",
    "late_commit": "no commit while queued",
    "history": "older builds",
    "outcomes": "failing builds",
}
"""What a field of the service means if it has not its default."""


def contents_of(schedule: Schedule) -> set[str]:
    """Return what a schedule contains, in words."""
    service = schedule.service
    changed = {
        f.name for f in fields(service) if getattr(service, f.name) != getattr(PLAIN, f.name)
    }
    found = {text for name, text in SERVICE.items() if name in changed}
    found |= {f"action: {action.kind}" for action in schedule.actions}
    for task in schedule.tasks:
        found |= {*_contents_of_task(task)}
    if len(schedule.tasks) > 1:
        found.add("several tasks")
    if not schedule.has_store:
        found.add("no task state store")
    if not schedule.has_variables:
        found.add("no Variables")
    return found


def _contents_of_task(task: TaskSpec) -> Iterator[str]:
    yield f"`on_in_flight={task.on_in_flight!r}`"
    yield f"`on_superseded={task.on_superseded!r}`"
    yield "a deferrable task" if task.deferrable else "a blocking task"
    yield from (f"request: {fate.name}" for fate in task.fates)
    if task.kills:
        yield "a worker killed at some step"
    if task.setting in {"stream", "dev"}:
        yield "Perforce"
