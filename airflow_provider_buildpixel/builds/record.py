"""What a task stores about its build, and how a later try continues with it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.api import fields
from airflow_provider_buildpixel.builds.request import BuildRequest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_buildpixel.api.model import Build, BuildSetting


CLOCK_TOLERANCE = 2.0
"""Seconds by which ``Date`` may differ from ``createdAt``: it has whole seconds only."""

_OTHER_TRIGGERS = ("push:", "cron")
"""Prefixes of ``triggeredBy`` for builds that no trigger request started."""


@dataclass(frozen=True)
class Snapshot:
    """The builds of one kind just before a trigger request.

    :param newest_id: the id of the newest build; later builds have greater ids.
    :param taken_at: seconds since the epoch on the server's clock.
    :param live: the builds that had not ended.
    """

    newest_id: str | None = None
    taken_at: float = 0.0
    live: tuple[Build, ...] = field(default=(), compare=False)

    def precedes(self, build: Build) -> bool:
        """Return whether a build was created after this snapshot."""
        if self.newest_id is not None:
            return build.id > self.newest_id
        if build.created_at is None:
            return True
        return build.created_at.timestamp() >= self.taken_at - CLOCK_TOLERANCE


def builds_of_request(
    builds: Iterable[Build],
    request: BuildRequest,
    setting: BuildSetting,
    snapshot: Snapshot,
    token: str | None = None,
) -> tuple[Build, ...]:
    """Return the builds that match what our request must have started.

    :param snapshot: the builds before the request.
    :param token: the ``triggeredBy`` of builds that this token started, where known.
    """
    found = [
        build
        for build in builds
        if snapshot.precedes(build)
        and request.matches(build, setting)
        and may_be_from_token(build.triggered_by, token)
    ]
    by_token = [build for build in found if (build.triggered_by or "").startswith("api_token:")]
    return tuple(by_token or found)


def possible_builds_of_request(
    builds: Iterable[Build],
    request: BuildRequest,
    setting: BuildSetting,
    snapshot: Snapshot,
    token: str | None = None,
) -> tuple[Build, ...]:
    """Return every build that our request may have started.

    While there is one, the request must not be repeated: it could supersede our own build.

    :param snapshot: the builds before the request.
    :param token: the ``triggeredBy`` of builds that this token started, where known. Only its kind
        is compared, as the connection may have got another token since.
    """
    kind = (token or "").partition(":")[0]
    return tuple(
        build
        for build in builds
        if snapshot.precedes(build)
        and request.may_match(build, setting)
        and may_be_from_token(build.triggered_by)
        and (build.triggered_by is None or build.triggered_by.startswith(kind))
    )


def may_be_from_token(triggered_by: str | None, token: str | None = None) -> bool:
    """Return whether our token may have started a build; pushes and schedules are never ours.

    A build in the name of a user may be ours: the token may belong to that user.
    """
    if triggered_by is None:
        return True
    if token:
        return triggered_by == token
    return not triggered_by.startswith(_OTHER_TRIGGERS)


@dataclass(frozen=True)
class DispatchRecord:
    """What a task stores about its build, so that a later try can continue with it.

    :param build_id: None while the answer to the request is not known.
    :param requested_at: just before the request, in seconds since the epoch (server's clock).
    :param dispatched_at: when the answer came, in seconds since the epoch (worker's clock).
    :param newest_id: the newest build of the same kind before the request.
    :param task_finished: the task has used the build's result, or has reported that the build
        cannot be identified. When a user clears the task after that, it starts a new build.
    :param clear_count: grows when a user clears the task, and stays the same over its retries.
    :param token: ``triggeredBy`` of the build.
    """

    request: BuildRequest
    build_id: str | None = None
    requested_at: float = 0.0
    dispatched_at: float = 0.0
    newest_id: str | None = None
    task_finished: bool = False
    clear_count: int = 0
    token: str | None = None

    @classmethod
    def from_json(cls, data: Any) -> DispatchRecord | None:
        """Parse what :meth:`to_json` returned; return None for anything else."""
        request = BuildRequest.from_json(data.get("request")) if isinstance(data, dict) else None
        if request is None:
            return None
        return cls(
            request=request,
            build_id=fields.text(data.get("build_id")),
            requested_at=fields.number(data.get("requested_at")) or 0.0,
            dispatched_at=fields.number(data.get("dispatched_at")) or 0.0,
            newest_id=fields.text(data.get("newest_id")),
            task_finished=fields.boolean(data.get("task_finished")),
            clear_count=fields.integer(data.get("clear_count")) or 0,
            token=fields.text(data.get("token")),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain JSON."""
        return asdict(self)

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot that was taken before the request."""
        return Snapshot(self.newest_id, self.requested_at)

    def with_build(self, build_id: str, dispatched_at: float) -> DispatchRecord:
        """Return the record with the answer to the request."""
        return replace(self, build_id=build_id, dispatched_at=dispatched_at, task_finished=False)


@dataclass(frozen=True)
class Adopt:
    """Continue with this build instead of starting one."""

    build: Build


@dataclass(frozen=True)
class NewBuild:
    """Start a build; ``reason`` says why the stored one is not used, empty if there is none."""

    reason: str = ""


def decide_from_record(
    record: DispatchRecord | None, request: BuildRequest, clear_count: int
) -> NewBuild | DispatchRecord:
    """Decide, at the start of a try, how to continue from what earlier tries stored.

    A returned record is to be continued. With a build id, a build was started: read it, then call
    :func:`decide_about_build`. Without one, a request may have run: search for its build.
    """
    if record is None:
        return NewBuild()
    if record.request != request:
        return NewBuild("the task now requests a different build than the stored one")
    if record.task_finished and record.clear_count != clear_count:
        return NewBuild("the task was cleared after its build had ended")
    return record


def is_reusable(build: Build) -> bool:
    """Return whether a later try may continue with an earlier try's build: not if it failed."""
    return not build.status.terminal or build.status.succeeded or build.status.superseded


def decide_about_build(
    build: Build | None, record: DispatchRecord, clear_count: int
) -> NewBuild | Adopt:
    """Decide whether to continue with the stored build.

    A retry ends with a superseded build, because a new one would supersede the newer build. Only
    a user who clears the task gets a new build then.

    :param build: the build as just read, None if it does not exist any more.
    """
    if build is None:
        return NewBuild(f"the stored build {record.build_id} does not exist any more")
    is_cleared = record.clear_count != clear_count
    if is_reusable(build) and not (is_cleared and build.status.superseded):
        return Adopt(build)
    return NewBuild(f"the stored {build.title} is {build.status}")
