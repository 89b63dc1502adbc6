"""What a task may mistake, and what gives it a reason to start another build."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.world.builds import SimBuild
    from tests.simulation.world.history import Request, Target
    from tests.simulation.world.task import Task


def fits(build: SimBuild, target: Target, *, any_setting: bool = False) -> bool:
    """Return whether a build is, in truth, what a task asks for."""
    return (
        (any_setting or build.setting == target.name)
        and build.spec.project == target.setting.project
        and (build.spec.platform, build.spec.build_type)
        == (target.setting.platform, target.setting.build_type)
        and build.line == target.line
        and _is_of_revision(build, target.revision)
    )


def _is_of_revision(build: SimBuild, revision: str) -> bool:
    if build.commit is not None:
        return build.commit.startswith(revision)
    return revision in ("", build.changelist)


def may_fit(task: Task, build: SimBuild, target: Target) -> bool:
    """Return whether a build may fit as far as the service tells while it is queued."""
    if task.simulation.service.spec.late_commit and task.store is None:
        target = replace(target, revision="")
    return fits(build, with_hidden_line(task, build, target))


def with_hidden_line(task: Task, build: SimBuild, target: Target) -> Target:
    """Return a target with the line of a build if that cannot be known."""
    return replace(target, line=build.line) if has_unknown_line(task, build) else target


def has_unknown_line(task: Task, build: SimBuild) -> bool:
    """Return whether only the setting of a build tells its line, and a setting was edited."""
    service = task.simulation.service
    return service.is_edited and service.hides_line(build)


def may_be_mistaken_for(task: Task, build: SimBuild) -> bool:
    """Return whether a build of others cannot be told from that of a lost request of the task.

    The time is the same, and the build is what the request asks for. The token is the same, or the
    task has never seen how builds of its token are marked. This limit is documented.
    """
    if build.request is None:
        is_alike = build.triggered_by is None or build.triggered_by.startswith("api_token:")
    else:
        is_alike = build.request.task is not task
    return is_alike and any(
        loss.since <= build.created <= loss.until
        and may_fit(task, build, loss.target)
        and (build.request or not loss.knows_token)
        for loss in task.history.losses
    )


def may_be_mistaken_for_that_of(request: Request, build: SimBuild) -> bool:
    """Return whether a late build of an earlier request looks like that of a later, lost one.

    A task sends another request after an uncertain one if it was cleared after its report, or if
    it asks for something else now.
    """
    earlier = build.request
    return (
        earlier is not None
        and earlier.task is request.task
        and earlier.sent < request.sent
        and any(
            loss.target == request.target and loss.since <= build.created <= loss.until
            for loss in request.task.history.losses
        )
    )


def was_cleared_after_uncertainty(first: Request, last: Request) -> bool:
    """Return whether a user cleared the task after it had reported that a request is uncertain.

    The worker may have been lost just before the report, when it had stored that it is made.
    """
    history, store = last.task.history, last.task.store
    return any(
        first.sent <= reported <= clear.at <= last.sent
        for reported in history.uncertain + ([] if store is None else store.reports)
        for clear in history.clears
    )


def was_cleared_before_end(first: Request, last: Request) -> bool:
    """Return whether the task did not wait for its build, succeeded, and was cleared."""
    task = last.task
    return not first.spec.wait_for_completion and any(
        first.sent <= success <= clear.at <= last.sent
        for clear in task.history.clears
        for success in successes(task)
    )


def successes(task: Task) -> list[float]:
    """Return when the task has succeeded, also if its worker was lost just after that."""
    return task.history.successes + ([] if task.store is None else task.store.successes)


def was_uncertain(request: Request, until: float) -> bool:
    """Return whether the task has reported that its request is uncertain, and left its lock."""
    return any(request.sent <= at <= until for at in request.task.history.uncertain)


def seems_cleared(first: Request, last: Request, old: SimBuild) -> bool:
    """Return whether a Clear of another task and an edit of ``retries`` look like a Clear.

    So does a Clear of another task if the worker was lost just after it had stored its success.
    This false alarm is accepted for a build that has ended.
    """
    task = last.task
    has_ended = old.created <= last.sent and not old.is_live(last.sent)
    is_cleared, is_edited = (
        any(first.try_started <= at <= last.sent for at in instants)
        for instants in (task.run.clears, task.history.edits_of_retries)
    )
    return has_ended and is_cleared and (is_edited or bool(successes(task)))
