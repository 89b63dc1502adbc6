"""Makes a failing schedule small, and shows it with what happened."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from tests.simulation.schedule import ServiceSpec, TaskSpec
from tests.simulation.world.hub import START
from tests.simulation.world.simulation import violation_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulation.schedule import Schedule
    from tests.simulation.world.simulation import Simulation


def _defaults(spec: Any) -> Iterator[Any]:
    """Yield copies of a spec with one field less that differs from its default."""
    plain = type(spec)()
    for field in fields(spec):
        value = getattr(plain, field.name)
        if getattr(spec, field.name) != value:
            yield replace(spec, **{field.name: value})


def _without_one(items: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    for number in range(len(items)):
        yield items[:number] + items[number + 1 :]


def _smaller_tasks(schedule: Schedule) -> Iterator[Schedule]:
    for number, task in enumerate(schedule.tasks):
        rest = schedule.tasks[:number] + schedule.tasks[number + 1 :]
        if rest:
            actions = [action for action in schedule.actions if action.task != number]
            moved = [
                replace(action, task=action.task - (action.task > number)) for action in actions
            ]
            yield replace(schedule, tasks=rest, actions=tuple(moved))
        smaller = [*_defaults(task)]
        smaller += [replace(task, fates=fates) for fates in _without_one(task.fates)]
        smaller += [replace(task, kills=kills) for kills in _without_one(task.kills)]
        for one in smaller:
            tasks = (*schedule.tasks[:number], one, *schedule.tasks[number + 1 :])
            yield replace(schedule, tasks=tasks)


def smaller(schedule: Schedule) -> Iterator[Schedule]:
    """Yield schedules that are a little smaller."""
    for actions in _without_one(schedule.actions):
        yield replace(schedule, actions=actions)
    yield from _smaller_tasks(schedule)
    for service in _defaults(schedule.service):
        yield replace(schedule, service=service)
    if not schedule.has_store:
        yield replace(schedule, has_store=True)
    if not schedule.has_variables:
        yield replace(schedule, has_variables=True)


def shrunk(schedule: Schedule) -> Schedule:
    """Return a smallest schedule that still violates the same invariant."""
    kind = _place(violation_of(schedule)[0])
    while True:
        for candidate in smaller(schedule):
            violation = violation_of(candidate)[0]
            if violation is not None and _place(violation) == kind:
                schedule = candidate
                break
        else:
            return schedule


def _place(violation: BaseException | None) -> int:
    """Return the line that has raised a violation, or that has called its function."""
    lines = [0, 0]
    traceback = None if violation is None else violation.__traceback__
    while traceback is not None:
        lines.append(traceback.tb_lineno)
        traceback = traceback.tb_next
    return lines[-2]


def _spec_text(spec: Any) -> str:
    plain = type(spec)() if isinstance(spec, TaskSpec | ServiceSpec) else None
    known = ((field.name, getattr(spec, field.name)) for field in fields(spec))
    changed = (
        f"{name}={value!r}"
        for name, value in known
        if plain is None or value != getattr(plain, name)
    )
    return f"{type(spec).__name__}({', '.join(changed)})"


def schedule_text(schedule: Schedule) -> str:
    """Return a schedule as Python, without the defaults."""
    lines = [f"    seed={schedule.seed},", f"    service={_spec_text(schedule.service)},"]
    lines += ["    tasks=(", *(f"        {_spec_text(task)}," for task in schedule.tasks), "    ),"]
    lines += ["    actions=(", *(f"        {action!r}," for action in schedule.actions), "    ),"]
    lines += [f"    has_store={schedule.has_store},"]
    lines += [f"    has_variables={schedule.has_variables},"]
    return "\n".join(["Schedule(", *lines, ")"])


def log_text(simulation: Simulation) -> str:
    """Return what happened, one event a line."""
    return "\n".join(_line(*entry) for entry in simulation.log)


def _line(instant: float, who: str, *parts: Any) -> str:
    if parts and parts[0] == "log:":
        message, arguments = parts[1], parts[2:]
        parts = ("log:", message % arguments if arguments else message)
    return f"{instant - START:10.2f}  {who}  " + " ".join(str(part) for part in parts)


def report(schedule: Schedule) -> str:
    """Return the text about a failing schedule."""
    small = shrunk(schedule)
    violation, simulation = violation_of(small)
    return f"{schedule_text(small)}\n\n{log_text(simulation)}\n\nViolation: {violation}"
