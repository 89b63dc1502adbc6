"""What a task writes down about its build, and how a later try goes on with it."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.core import fields
from airflow_provider_buildpixel.core.names import may_be_one_branch, same_branch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_buildpixel.core.model import Build, BuildSetting

CLOCK_TOLERANCE = 2.0
"""Seconds that ``Date`` may be off against ``createdAt``: it has whole seconds only."""

_HASH = re.compile(r"[0-9a-fA-F]{7,64}")
_ELSEWHERE = ("push:", "cron")
"""How ``triggeredBy`` starts for builds that no request made."""


@dataclass(frozen=True)
class Asked:
    """What a trigger request asks for."""

    project_id: str
    build_setting_id: str
    branch: str | None = None
    commit: str | None = None
    changelist: str | None = None

    @classmethod
    def from_json(cls, data: Any) -> Asked | None:
        """Read what :meth:`to_json` wrote; None for anything else."""
        if not isinstance(data, dict):
            return None
        known = {key: fields.text(data.get(key)) for key in cls.__dataclass_fields__}
        if not known["project_id"] or not known["build_setting_id"]:
            return None
        return cls(**known)  # type: ignore[arg-type]

    def to_json(self) -> dict[str, Any]:
        """Give it as plain JSON."""
        return asdict(self)

    def fits(self, build: Build, setting: BuildSetting) -> bool:
        """Tell whether a build has all that this request asks for, as far as both tell."""
        branch = self.branch or setting.line
        if branch and build.branch and not same_branch(branch, build.branch):
            return False
        if self.changelist and build.changelist and self.changelist != build.changelist:
            return False
        return self._same_setting(build) and same_commit(self.commit, build.commit)

    def may_fit(self, build: Build, setting: BuildSetting) -> bool:
        """Tell whether nothing surely speaks against this request having made that build.

        BuildPixel may report a branch in another spelling, the commit of a tag, or another number
        for a changelist that was not written as one.
        """
        branch = self.branch or setting.line
        if branch and build.branch and not may_be_one_branch(branch, build.branch):
            return False
        want, have = self.changelist or "", build.changelist or ""
        if want.isdecimal() and have.isdecimal() and want != have:
            return False
        hashes = all(_HASH.fullmatch(commit or "") for commit in (self.commit, build.commit))
        if hashes and not same_commit(self.commit, build.commit):
            return False
        return self._same_setting(build)

    def _same_setting(self, build: Build) -> bool:
        pairs = (
            (self.project_id, build.project_id),
            (self.build_setting_id, build.build_setting_id),
        )
        return all(have is None or want == have for want, have in pairs)


def same_commit(want: str | None, have: str | None) -> bool:
    """Compare commits, either of which may be the first characters only."""
    if not want or not have:
        return True
    one, two = want.lower(), have.lower()
    return one.startswith(two) or two.startswith(one)


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


def made_by_us(
    builds: Iterable[Build],
    asked: Asked,
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
        if before.after(build) and asked.fits(build, setting) and ours(build.triggered_by, token)
    ]
    by_token = [build for build in found if (build.triggered_by or "").startswith("api_token:")]
    return tuple(by_token or found)


def maybe_ours(
    builds: Iterable[Build],
    asked: Asked,
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
        and asked.may_fit(build, setting)
        and ours(build.triggered_by)
        and (build.triggered_by is None or build.triggered_by.startswith(kind))
    )


def ours(triggered_by: str | None, token: str | None = None) -> bool:
    """Tell whether a build may be one of our token's; pushes and schedules never are.

    A build in the name of a user may be: that is who the token belongs to.
    """
    if triggered_by is None:
        return True
    if token:
        return triggered_by == token
    return not triggered_by.startswith(_ELSEWHERE)


@dataclass(frozen=True)
class Intent:
    """What a task wrote down about its build, so that a later try goes on with it.

    :param build_id: None while the answer to the request is not known.
    :param asked_at: the server's clock just before the request.
    :param dispatched_at: seconds since the epoch on the worker's clock.
    :param newest: the newest build of the kind before the request.
    :param concluded: the task took the build's result.
    :param generation: changes when a user clears the task, and stays over its retries.
    :param token: ``triggeredBy`` of the build.
    """

    asked: Asked
    build_id: str | None = None
    asked_at: float = 0.0
    dispatched_at: float = 0.0
    newest: str | None = None
    concluded: bool = False
    generation: int = 0
    token: str | None = None

    @classmethod
    def from_json(cls, data: Any) -> Intent | None:
        """Read what :meth:`to_json` wrote; None for anything else."""
        asked = Asked.from_json(data.get("asked")) if isinstance(data, dict) else None
        if asked is None:
            return None
        return cls(
            asked=asked,
            build_id=fields.text(data.get("build_id")),
            asked_at=fields.number(data.get("asked_at")) or 0.0,
            dispatched_at=fields.number(data.get("dispatched_at")) or 0.0,
            newest=fields.text(data.get("newest")),
            concluded=fields.flag(data.get("concluded")),
            generation=fields.whole(data.get("generation")) or 0,
            token=fields.text(data.get("token")),
        )

    def to_json(self) -> dict[str, Any]:
        """Give it as plain JSON."""
        return asdict(self)

    @property
    def before(self) -> Snapshot:
        """The snapshot that was taken before the request."""
        return Snapshot(self.newest, self.asked_at)

    def started(self, build_id: str, dispatched_at: float) -> Intent:
        """Give the intent after the answer came."""
        return replace(self, build_id=build_id, dispatched_at=dispatched_at, concluded=False)


@dataclass(frozen=True)
class Adopt:
    """Go on with this build instead of starting one."""

    build: Build


@dataclass(frozen=True)
class Fresh:
    """Nothing to go on with: start a build."""

    reason: str = ""


@dataclass(frozen=True)
class Recheck:
    """A build was started: read it, then ask :func:`about_stored`."""

    build_id: str


@dataclass(frozen=True)
class Search:
    """A request may have run: look for its build."""


def about_intent(intent: Intent | None, asked: Asked, generation: int) -> Fresh | Recheck | Search:
    """Decide, at the start of a try, what the earlier tries left to do."""
    if intent is None:
        return Fresh()
    if intent.asked != asked:
        return Fresh("the task now asks for something else than its stored build")
    if intent.concluded and intent.generation != generation:
        return Fresh("the task was cleared after its build had ended")
    return Recheck(intent.build_id) if intent.build_id else Search()


def usable(build: Build) -> bool:
    """Tell whether a later try goes on with a build of an earlier one: not if it failed."""
    return not build.status.terminal or build.status.succeeded or build.status.superseded


def about_stored(build: Build | None, intent: Intent, generation: int) -> Fresh | Adopt:
    """Decide about the stored build as just read; None if it is gone.

    A retry takes a superseded build as its end, and so does not supersede the newer one in
    turn; only a user's Clear starts afresh.
    """
    if build is None:
        return Fresh(f"the stored build {intent.build_id} is gone")
    cleared = intent.generation != generation
    if usable(build) and not (cleared and build.status.superseded):
        return Adopt(build)
    return Fresh(f"the stored {build.title} is {build.status}")
