"""What happens to a build: it is queued, superseded, run and ended."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.sandbox.world.model import (
    LIVE,
    TERMINAL,
    StoredBuild,
    StoredLogLine,
)
from airflow_provider_buildpixel.sandbox.world.scripted_log import (
    LogContext,
    level_of,
    scripted_log,
)
from airflow_provider_buildpixel.sandbox.world.world import BuildEvent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_buildpixel.sandbox.world.model import StoredProject
    from airflow_provider_buildpixel.sandbox.world.plans import Plan
    from airflow_provider_buildpixel.sandbox.world.scripted_log import ScriptedLine
    from airflow_provider_buildpixel.sandbox.world.world import World


@dataclass(frozen=True)
class BuildSpec:
    """What to build; with `triggered_by` "push", the commit or changelist becomes its author."""

    project: StoredProject
    setting: dict[str, Any]
    triggered_by: str
    branch: str | None = None
    commit: str | None = None
    changelist: int | None = None
    message: str | None = None


def queue_build(world: World, spec: BuildSpec) -> StoredBuild:
    """Queue a build; it supersedes the live build with the same key."""
    with world.lock:
        at, plan = world.now(), world.plans.take(spec.setting["id"])
        build = _new_build(world, spec, world.new_id(at), plan, at)
        world.add_build(build)
        _supersede(world, build)
        world.publish(BuildEvent(build, build.created_at, build.status))
        if build.plan.outcome != "stays_pending":
            due = build.created_at + build.plan.queue
            world.schedule.at(due, lambda at: _leave_queue(world, build, at))
        return build


def add_past_build(world: World, spec: BuildSpec, created_at: float, status: str) -> StoredBuild:
    """Add a build that was created in the past and has ended, without a log and without events."""
    if status in LIVE:
        raise ValueError(f"a build that is {status} has not ended")
    with world.lock:
        build_id, plan = world.ids.make_past(created_at), world.plans.default
        build = _new_build(world, spec, build_id, plan, created_at)
        started_at = created_at + plan.queue
        finished_at = min(started_at + plan.run, world.now())
        build.follows_plan = False
        build.finished_at = finished_at
        if status != "superseded" and started_at < finished_at:
            build.started_at = started_at
            build.history.append((started_at, "running"))
        build.history.append((finished_at, status))
        if status == "complete":
            build.artifact_bytes = plan.artifact_bytes
        world.add_build(build)
        return build


def set_status(
    world: World, build: StoredBuild, status: str, at: float | None = None, *, emit: bool = True
) -> None:
    """Change the status by hand; the build then no longer follows its plan."""
    with world.lock:
        now = world.now() if at is None else at
        if not build.is_live:
            raise ValueError(f"build {build.id} is {build.status}, which never changes")
        build.follows_plan = False
        _change_status(world, build, status, now, emit=emit)


def add_log_line(
    world: World, build: StoredBuild, message: str, level: str | None = None, *, emit: bool = True
) -> None:
    """Append a line to a build's log by hand."""
    with world.lock:
        line = StoredLogLine(world.now(), level or level_of(message), message)
        _append_line(world, build, line, emit=emit)


def branch_head(project: StoredProject, branch: str, at: float) -> str:
    """Return the commit at the head of a branch; it changes once a minute."""
    text = f"{project.id} {branch} {int(at // 60)}"
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def full_commit(given: str) -> str:
    """Return the full hash of an abbreviated commit."""
    digest = hashlib.sha1(given.encode(), usedforsecurity=False).hexdigest()
    return given + digest[len(given) :]


def _new_build(world: World, spec: BuildSpec, build_id: str, plan: Plan, at: float) -> StoredBuild:
    github = spec.project.source_control == "github"
    branch = spec.branch or spec.setting["branch"] or spec.setting["streamPath"]
    given = spec.commit
    commit = full_commit(given) if given else branch_head(spec.project, branch, at)
    changelist = spec.changelist or 41000 + len(world.builds)
    author = spec.triggered_by
    if author == "push":
        author = f"push:{commit if github else changelist}"
    return StoredBuild(
        id=build_id,
        number=next(world.numbers),
        project=spec.project,
        setting=dict(spec.setting),
        branch=branch,
        commit=commit if github else None,
        given_commit=given,
        commit_message=spec.message or "Tune gravity of the second level",
        changelist=None if github else changelist,
        triggered_by=author,
        created_at=at,
        plan=plan,
        history=[(at, "pending")],
    )


def _supersede(world: World, newer: StoredBuild) -> None:
    older = world.latest.get(newer.supersession_key)
    world.latest[newer.supersession_key] = newer
    if older is not None and older.is_live:
        _change_status(world, older, "superseded", newer.created_at)


def _leave_queue(world: World, build: StoredBuild, at: float) -> None:
    if not (build.is_live and build.follows_plan):
        return
    if world.concurrency is not None and len(world.running) >= world.concurrency:
        world.waiting.append(build)
        return
    _start(world, build, at)


def _start(world: World, build: StoredBuild, at: float) -> None:
    for status in build.plan.through:
        _change_status(world, build, status, at)
    _change_status(world, build, "running", at)
    _schedule_line(world, build, at, _log_lines(world, build))


def _log_lines(world: World, build: StoredBuild) -> Iterator[ScriptedLine]:
    setting, project = build.setting, build.project
    context = LogContext(
        project.name,
        setting["platform"],
        setting["buildType"],
        build.commit or f"change {build.changelist}",
        setting["ueVersion"],
        project.source_control,
    )
    return scripted_log(build.plan, context, literal=world.variants.markers == "literal")


def _schedule_line(
    world: World, build: StoredBuild, started_at: float, lines: Iterator[ScriptedLine]
) -> None:
    """Schedule the next log line, or the end of the build after the last line."""
    line = next(lines, None)
    if line is None:
        _schedule_end(world, build, started_at)
        return

    def write(at: float) -> None:
        if build.is_live and build.follows_plan:
            _append_line(world, build, StoredLogLine(at, line.level, line.message), emit=True)
            _schedule_line(world, build, started_at, lines)

    world.schedule.at(started_at + line.after, write)


def _schedule_end(world: World, build: StoredBuild, started_at: float) -> None:
    plan = build.plan
    if plan.outcome == "hangs":
        return
    detection = plan.death if plan.outcome == "dies" else 0.0

    def end(at: float) -> None:
        if build.is_live and build.follows_plan:
            _change_status(world, build, plan.result, at)

    world.schedule.at(started_at + plan.run + detection, end)


def _change_status(
    world: World, build: StoredBuild, status: str, at: float, *, emit: bool = True
) -> None:
    build.history.append((at, status))
    if status == "running":
        build.started_at = build.started_at or at
        world.running.add(build.id)
    if status in TERMINAL:
        _finish(world, build, at)
    if emit:
        world.publish(BuildEvent(build, at, status))
    if status in TERMINAL:
        _start_waiting(world, at)


def _finish(world: World, build: StoredBuild, at: float) -> None:
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
        if build.is_live and build.follows_plan:
            _start(world, build, at)


def _append_line(world: World, build: StoredBuild, line: StoredLogLine, *, emit: bool) -> None:
    build.logs.append(line)
    if emit:
        world.publish(BuildEvent(build, line.at, build.status, line))
