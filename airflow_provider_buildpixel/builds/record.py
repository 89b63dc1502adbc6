"""What a task writes down about its build, and how a later try goes on with it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.api import fields
from airflow_provider_buildpixel.builds.request import BuildRequest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_buildpixel.api.model import Build, BuildSetting


CLOCK_TOLERANCE = 2.0
"""Seconds that ``Date`` may be off against ``createdAt``: it has whole seconds only."""


_OTHER_TRIGGERS = ("push:", "cron")
"""How ``triggeredBy`` starts for builds that no request made."""


@dataclass(frozen=True)
class Snapshot:
    """The builds of a kind just before a request.

    :param newest: the id after which all newer ones sort.
    :param at: the server's clock, seconds since the epoch.
    """

    newest: str | None = None
    at: float = 0.0
    live: tuple[Build, ...] = field(default=(), compare=False)

    def after(self, build: Build) -> bool:
        """Tell whether a build came after this snapshot."""
        if self.newest is not None:
            return build.id > self.newest
        return build.created_at is None or build.created_at.timestamp() >= self.at - CLOCK_TOLERANCE


def builds_of_request(
    builds: Iterable[Build],
    request: BuildRequest,
    setting: BuildSetting,
    before: Snapshot,
    token: str | None = None,
) -> tuple[Build, ...]:
    """Find the builds that our request may have made.

    :param token: the ``triggeredBy`` of builds that this token made, where known.
    """
    found = [
        build
        for build in builds
        if before.after(build)
        and request.matches(build, setting)
        and may_be_from_token(build.triggered_by, token)
    ]
    by_token = [build for build in found if (build.triggered_by or "").startswith("api_token:")]
    return tuple(by_token or found)


def possible_builds_of_request(
    builds: Iterable[Build],
    request: BuildRequest,
    setting: BuildSetting,
    before: Snapshot,
    token: str | None = None,
) -> tuple[Build, ...]:
    """Find the builds of which it cannot be said that our request did not make them.

    While there is one, the request is not to be repeated: it would supersede what may be ours.

    :param token: the ``triggeredBy`` of builds that this token made, where known; the connection
        may have got another one since.
    """
    kind = (token or "").partition(":")[0]
    return tuple(
        build
        for build in builds
        if before.after(build)
        and request.may_match(build, setting)
        and may_be_from_token(build.triggered_by)
        and (build.triggered_by is None or build.triggered_by.startswith(kind))
    )


def may_be_from_token(triggered_by: str | None, token: str | None = None) -> bool:
    """Tell whether a build may be one of our token's; pushes and schedules never are.

    A build in the name of a user may be: that is who the token belongs to.
    """
    if triggered_by is None:
        return True
    if token:
        return triggered_by == token
    return not triggered_by.startswith(_OTHER_TRIGGERS)


@dataclass(frozen=True)
class DispatchRecord:
    """What a task wrote down about its build, so that a later try goes on with it.

    :param build_id: None while the answer to the request is not known.
    :param asked_at: the server's clock just before the request.
    :param dispatched_at: seconds since the epoch on the worker's clock.
    :param newest: the newest build of the kind before the request.
    :param concluded: the task took the build's result.
    :param generation: changes when a user clears the task, and stays over its retries.
    :param token: ``triggeredBy`` of the build.
    """

    request: BuildRequest
    build_id: str | None = None
    requested_at: float = 0.0
    dispatched_at: float = 0.0
    newest: str | None = None
    concluded: bool = False
    clear_count: int = 0
    token: str | None = None

    @classmethod
    def from_json(cls, data: Any) -> DispatchRecord | None:
        """Read what :meth:`to_json` wrote; None for anything else."""
        request = BuildRequest.from_json(data.get("request")) if isinstance(data, dict) else None
        if request is None:
            return None
        return cls(
            request=request,
            build_id=fields.text(data.get("build_id")),
            requested_at=fields.number(data.get("requested_at")) or 0.0,
            dispatched_at=fields.number(data.get("dispatched_at")) or 0.0,
            newest=fields.text(data.get("newest")),
            concluded=fields.flag(data.get("concluded")),
            clear_count=fields.whole(data.get("clear_count")) or 0,
            token=fields.text(data.get("token")),
        )

    def to_json(self) -> dict[str, Any]:
        """Give it as plain JSON."""
        return asdict(self)

    @property
    def before(self) -> Snapshot:
        """The snapshot that was taken before the request."""
        return Snapshot(self.newest, self.requested_at)

    def started(self, build_id: str, dispatched_at: float) -> DispatchRecord:
        """Give the intent after the answer came."""
        return replace(self, build_id=build_id, dispatched_at=dispatched_at, concluded=False)


@dataclass(frozen=True)
class Adopt:
    """Go on with this build instead of starting one."""

    build: Build


@dataclass(frozen=True)
class NewBuild:
    """Nothing to go on with: start a build."""

    reason: str = ""


@dataclass(frozen=True)
class CheckBuild:
    """A build was started: read it, then ask :func:`about_stored`."""

    build_id: str


@dataclass(frozen=True)
class SearchBuild:
    """A request may have run: look for its build."""


def decide_from_record(
    record: DispatchRecord | None, request: BuildRequest, clear_count: int
) -> NewBuild | CheckBuild | SearchBuild:
    """Decide, at the start of a try, what the earlier tries left to do."""
    if record is None:
        return NewBuild()
    if record.request != request:
        return NewBuild("the task now asks for something else than its stored build")
    if record.concluded and record.clear_count != clear_count:
        return NewBuild("the task was cleared after its build had ended")
    return CheckBuild(record.build_id) if record.build_id else SearchBuild()


def usable(build: Build) -> bool:
    """Tell whether a later try goes on with a build of an earlier one: not if it failed."""
    return not build.status.terminal or build.status.succeeded or build.status.superseded


def decide_about_build(
    build: Build | None, record: DispatchRecord, clear_count: int
) -> NewBuild | Adopt:
    """Decide about the stored build as just read; None if it is gone.

    A retry takes a superseded build as its end, and so does not supersede the newer one in
    turn; only a user's Clear starts afresh.
    """
    if build is None:
        return NewBuild(f"the stored build {record.build_id} is gone")
    cleared = record.clear_count != clear_count
    if usable(build) and not (cleared and build.status.superseded):
        return Adopt(build)
    return NewBuild(f"the stored {build.title} is {build.status}")
