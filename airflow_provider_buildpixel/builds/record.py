"""What a task stores about its build, and how a later try continues with it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.api import fields
from airflow_provider_buildpixel.builds.request import BuildFilter, Match
from airflow_provider_buildpixel.builds.request_window import RequestWindow
from airflow_provider_buildpixel.builds.task_try import TryOfTask

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_buildpixel.api.model import Build
    from airflow_provider_buildpixel.builds.request import Lines


_OTHER_TRIGGERS = ("push:", "cron")
"""Prefixes of ``triggeredBy`` for builds that no trigger request started."""


@dataclass(frozen=True)
class DispatchRecord:
    """What a task stores about its build, so that a later try can continue with it.

    :param target: the fields of the build that was requested.
    :param build_id: None while the answer to the request is not known.
    :param window: when the request can have started a build.
    :param dispatched_at: when the answer came, in seconds since the epoch (worker's clock).
    :param token: ``triggeredBy`` of a build that this task's token has started.
    :param user: ``triggeredBy`` of builds of the token's user, where no build was seen yet.
    :param is_reported: the task has failed with ``DispatchUncertain``. If a user clears it after
        that, it starts a new build.
    :param is_followed: the build is a newer one that superseded the task's own.
    :param task_finished: the task has used the result of the build.
    :param stored_by: the try that stored this.
    """

    target: BuildFilter
    build_id: str | None = None
    window: RequestWindow = field(default_factory=RequestWindow)
    dispatched_at: float = 0.0
    token: str | None = None
    user: str | None = None
    is_reported: bool = False
    is_followed: bool = False
    task_finished: bool = False
    stored_by: TryOfTask = field(default_factory=TryOfTask)

    @classmethod
    def from_json(cls, data: Any) -> DispatchRecord | None:
        """Parse what :meth:`to_json` returned; return None for anything else."""
        target = BuildFilter.from_json(data.get("target") if isinstance(data, dict) else None)
        if target is None:
            return None
        return cls(
            target=target,
            build_id=fields.text(data.get("build_id")),
            window=RequestWindow.from_json(data.get("window")),
            dispatched_at=fields.number(data.get("dispatched_at")) or 0.0,
            token=fields.text(data.get("token")),
            user=fields.text(data.get("user")),
            is_reported=fields.boolean(data.get("is_reported")),
            is_followed=fields.boolean(data.get("is_followed")),
            task_finished=fields.boolean(data.get("task_finished")),
            stored_by=TryOfTask.from_json(data.get("stored_by")),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain JSON."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {
            **values,
            "target": self.target.to_json(),
            "window": {**vars(self.window), "known_ids": list(self.window.known_ids)},
            "stored_by": dict(vars(self.stored_by)),
        }

    def is_before_clear(self, current: TryOfTask) -> bool:
        """Return whether a user cleared the task after this was stored."""
        return current.was_cleared_since(self.stored_by, task_finished=self.task_finished)

    def with_build(self, build_id: str, dispatched_at: float) -> DispatchRecord:
        """Return the record with the answer to the request."""
        return replace(self, build_id=build_id, dispatched_at=dispatched_at)


@dataclass(frozen=True)
class Adopt:
    """Continue with this build instead of starting one."""

    build: Build


@dataclass(frozen=True)
class NewBuild:
    """Start a build; ``reason`` says why the stored one is not used, empty if there is none."""

    reason: str = ""


def decide_from_record(
    record: DispatchRecord | None, target: BuildFilter, current: TryOfTask
) -> NewBuild | DispatchRecord:
    """Decide, at the start of a try, how to continue from what earlier tries stored.

    A returned record is to be continued. With a build id, a build was started: read it, then call
    :func:`decide_about_build`. Without one, a request may have run: search for its build.
    """
    if record is None:
        return NewBuild()
    if record.target != target:
        return NewBuild("the task now requests a different build than the stored one")
    if record.task_finished and record.is_before_clear(current):
        return NewBuild("the task was cleared after it had succeeded")
    is_uncertain = record.build_id is None and record.is_reported
    # The request may still run, so what the Clear of another task changes, too, is not enough.
    if is_uncertain and current.was_surely_cleared_since(record.stored_by):
        return NewBuild("the task was cleared after it had reported an uncertain request")
    return record


def is_reusable(build: Build) -> bool:
    """Return whether a later try may continue with an earlier try's build: not if it failed."""
    return not build.status.terminal or build.status.succeeded or build.status.superseded


def decide_about_build(
    build: Build | None, record: DispatchRecord, current: TryOfTask, lines: Lines
) -> NewBuild | Adopt:
    """Decide whether to continue with the stored build.

    A live build is continued with. A Clear after its end starts a new one. A retry ends with a
    superseded build, because a new one would supersede the newer build.

    :param build: the build as just read, None if it does not exist any more.
    :param lines: the branches or streams of build settings, for builds that do not tell theirs.
    """
    if build is None:
        return NewBuild(f"the stored build {record.build_id} does not exist any more")
    # A newer build that was followed may be of another setting of the same kind.
    target = replace(record.target, build_setting_id=None) if record.is_followed else record.target
    if target.compare(build, lines, loosely=True) is Match.NO:
        return NewBuild(f"the stored {build.title} is not what the task requests now")
    if not build.status.terminal:
        return Adopt(build)
    if record.is_before_clear(current):
        return NewBuild(f"the task was cleared after {build.title} had ended")
    if is_reusable(build):
        return Adopt(build)
    return NewBuild(f"the stored {build.title} is {build.status}")


def builds_of_requests(
    builds: Iterable[Build],
    record: DispatchRecord,
    lines: Lines,
    *,
    at_least: Match = Match.YES,
) -> tuple[Build, ...]:
    """Return the builds that are surely what our request must have started.

    Who started a build is known by the token, once it was seen, and by the time in which the
    request can have run. A build that does not tell its commit yet may be of another one.

    :param at_least: how well they must match what was requested.
    """
    found = [
        build
        for build in builds
        if record.window.includes(build, is_own_token=_is_own(build, record))
        and record.target.compare(build, lines) >= at_least
        and may_be_from_token(build.triggered_by, record.token, record.user)
    ]
    by_token = [build for build in found if (build.triggered_by or "").startswith("api_token:")]
    return tuple(by_token or found)


def possible_builds_of_requests(
    builds: Iterable[Build], record: DispatchRecord, lines: Lines
) -> tuple[Build, ...]:
    """Return every build that our request may have started.

    While there is one, the request must not be repeated: it could supersede our own build. Only
    the kind of the token is compared, as the connection may have got another token since.
    """
    kind = (record.token or "").partition(":")[0]
    return tuple(
        build
        for build in builds
        if record.window.may_include(build)
        and record.target.compare(build, lines, loosely=True) is not Match.NO
        and may_be_from_token(build.triggered_by)
        and (build.triggered_by is None or build.triggered_by.startswith(kind))
    )


def may_be_from_token(
    triggered_by: str | None, token: str | None = None, user: str | None = None
) -> bool:
    """Return whether our token may have started a build; pushes and schedules are never ours.

    A build in the name of a user may be ours: the token may belong to that user.

    :param token: the ``triggeredBy`` of builds that our token started, where known.
    :param user: the ``triggeredBy`` of builds of the token's user, where known.
    """
    if triggered_by is None:
        return True
    if token:
        return triggered_by == token
    if user and triggered_by.startswith("user:"):
        return triggered_by == user
    return not triggered_by.startswith(_OTHER_TRIGGERS)


def _is_own(build: Build, record: DispatchRecord) -> bool:
    return record.token is not None and build.triggered_by == record.token
