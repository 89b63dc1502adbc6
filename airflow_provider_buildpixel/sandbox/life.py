"""The life of a build: queued, superseded, run, ended."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.sandbox.model import TERMINAL, Build, LogLine
from airflow_provider_buildpixel.sandbox.script import Subject, level_of, script
from airflow_provider_buildpixel.sandbox.world import Happening

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_buildpixel.sandbox.model import Project
    from airflow_provider_buildpixel.sandbox.script import Line
    from airflow_provider_buildpixel.sandbox.world import World


@dataclass(frozen=True)
class Order:
    """What is asked to be built; a push is by the commit or changelist that it brings."""

    project: Project
    setting: dict[str, Any]
    triggered_by: str
    branch: str | None = None
    commit: str | None = None
    changelist: int | None = None
    message: str | None = None


def queue(world: World, order: Order) -> Build:
    """Queue a build; live ones of the same kind are superseded."""
    with world.lock:
        build = _new_build(world, order, world.now())
        world.builds[build.id] = build
        world.build_ids.append(build.id)
        order.project.last_build = build
        _supersede(world, build)
        world.tell(Happening(build, build.created_at, build.status))
        if build.plan.outcome != "stays_pending":
            due = build.created_at + build.plan.queue
            world.agenda.at(due, lambda at: _leave_queue(world, build, at))
        return build


def set_status(
    world: World, build: Build, status: str, at: float | None = None, *, emit: bool = True
) -> None:
    """Change the status by hand; from then on nothing happens to the build by itself."""
    with world.lock:
        now = world.now() if at is None else at
        if not build.live:
            raise ValueError(f"build {build.id} is {build.status}, which never changes")
        build.scripted = False
        _turn(world, build, status, now, emit=emit)


def log(
    world: World, build: Build, message: str, level: str | None = None, *, emit: bool = True
) -> None:
    """Add a line to a build's log by hand."""
    with world.lock:
        line = LogLine(world.now(), level or level_of(message), message)
        _write(world, build, line, emit=emit)


def head_of(project: Project, branch: str, at: float) -> str:
    """Return the commit at the head of a branch; it moves once in a minute."""
    text = f"{project.id} {branch} {int(at // 60)}"
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def complete_commit(given: str) -> str:
    """Return the full commit that an abbreviated one stands for."""
    digest = hashlib.sha1(given.encode(), usedforsecurity=False).hexdigest()
    return given + digest[len(given) :]


def _new_build(world: World, order: Order, at: float) -> Build:
    github = order.project.source_control == "github"
    branch = order.branch or order.setting["branch"] or order.setting["streamPath"]
    given = order.commit
    commit = complete_commit(given) if given else head_of(order.project, branch, at)
    changelist = order.changelist or 41000 + len(world.builds)
    plan = world.plans.take(order.setting["id"])
    author = order.triggered_by
    if author == "push":
        author = f"push:{commit if github else changelist}"
    return Build(
        id=world.new_id(at),
        project=order.project,
        setting=dict(order.setting),
        branch=branch,
        commit=commit if github else None,
        given_commit=given,
        commit_message=order.message or "Tune gravity of the second level",
        changelist=None if github else changelist,
        triggered_by=author,
        created_at=at,
        plan=plan,
        history=[(at, "pending")],
    )


def _supersede(world: World, newer: Build) -> None:
    older = world.latest.get(newer.key)
    world.latest[newer.key] = newer
    if older is not None and older.live:
        _turn(world, older, "superseded", newer.created_at)


def _leave_queue(world: World, build: Build, at: float) -> None:
    if not (build.live and build.scripted):
        return
    if world.concurrency is not None and len(world.running) >= world.concurrency:
        world.waiting.append(build)
        return
    _start(world, build, at)


def _start(world: World, build: Build, at: float) -> None:
    for status in build.plan.through:
        _turn(world, build, status, at)
    _turn(world, build, "running", at)
    _write_next(world, build, at, _script(world, build))


def _script(world: World, build: Build) -> Iterator[Line]:
    setting, project = build.setting, build.project
    subject = Subject(
        project.name,
        setting["platform"],
        setting["buildType"],
        build.commit or f"change {build.changelist}",
        setting["ueVersion"],
        project.source_control,
    )
    return script(build.plan, subject, terse=world.variants.markers == "literal")


def _write_next(world: World, build: Build, begun: float, lines: Iterator[Line]) -> None:
    """Put the next line of the log on the agenda; after the last one comes the end."""
    line = next(lines, None)
    if line is None:
        _plan_end(world, build, begun)
        return

    def write(at: float) -> None:
        if build.live and build.scripted:
            _write(world, build, LogLine(at, line.level, line.message), emit=True)
            _write_next(world, build, begun, lines)

    world.agenda.at(begun + line.after, write)


def _plan_end(world: World, build: Build, begun: float) -> None:
    plan = build.plan
    if plan.outcome == "hangs":
        return
    notice = plan.death if plan.outcome == "dies" else 0.0

    def end(at: float) -> None:
        if build.live and build.scripted:
            _turn(world, build, plan.result, at)

    world.agenda.at(begun + plan.run + notice, end)


def _turn(world: World, build: Build, status: str, at: float, *, emit: bool = True) -> None:
    build.history.append((at, status))
    if status == "running":
        build.started_at = build.started_at or at
        world.running.add(build.id)
    if status in TERMINAL:
        _end(world, build, at)
    if emit:
        world.tell(Happening(build, at, status))
    if status in TERMINAL:
        _start_waiting(world, at)


def _end(world: World, build: Build, at: float) -> None:
    build.finished_at = at
    world.running.discard(build.id)
    if build.status == "complete":
        build.artifact_bytes = build.plan.artifact_bytes
    organization = build.project.organization
    if organization.minutes_left is not None and build.started_at is not None:
        organization.minutes_left -= (at - build.started_at) / 60


def _start_waiting(world: World, at: float) -> None:
    while world.waiting and len(world.running) < (world.concurrency or 0):
        build = world.waiting.pop(0)
        if build.live and build.scripted:
            _start(world, build, at)


def _write(world: World, build: Build, line: LogLine, *, emit: bool) -> None:
    build.logs.append(line)
    if emit:
        world.tell(Happening(build, line.at, build.status, line))
