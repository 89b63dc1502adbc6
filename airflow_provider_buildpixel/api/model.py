"""What BuildPixel talks about, as frozen values. Unknown fields stay readable in ``raw``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from airflow_provider_buildpixel.api import fields
from airflow_provider_buildpixel.api.errors import UnexpectedAnswer
from airflow_provider_buildpixel.api.text import plain, storable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime


T = TypeVar("T")
Raw = dict[str, Any]

STATUS = 60
"""Characters of a status that are kept."""

TITLE = 300
"""Characters of a title that are shown."""

MAX_MEMBERS = 2_000
"""Members of a page that are read at most; BuildPixel gives a hundred."""


class Status(str):
    """A build's status: an open set, so that a new status breaks nothing."""

    __slots__ = ()

    @property
    def terminal(self) -> bool:
        """Whether the build has ended; an unknown status has not."""
        return self in {"complete", "failed", "superseded"}

    @property
    def succeeded(self) -> bool:
        """Whether the build ended well: the one status that lets a pipeline go on."""
        return self == "complete"

    @property
    def superseded(self) -> bool:
        """Whether a newer build cancelled this one."""
        return self == "superseded"

    @property
    def queued(self) -> bool:
        """Whether the build has not started yet."""
        return self == "pending"


LIVE_STATUSES = ("pending", "running")
"""The documented statuses of builds that are under way: what lists can be filtered by.

In the order of life: a build that goes on between two lists is in the second, not in neither.
"""

STATUSES = (*LIVE_STATUSES, "complete", "failed", "superseded")
"""All that are documented."""


@dataclass(frozen=True)
class Build:
    """One build.

    ``changelist`` is Perforce's counterpart of ``commit``; the API does not name its field.
    """

    id: str
    status: Status
    project_id: str | None = None
    build_setting_id: str | None = None
    platform: str | None = None
    build_type: str | None = None
    branch: str | None = None
    commit: str | None = None
    changelist: str | None = None
    commit_message: str | None = None
    ue_version: str | None = None
    triggered_by: str | None = None
    created_at: datetime | None = None
    finished_at: datetime | None = None
    duration_seconds: float | None = None
    raw: Raw = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Any) -> Build:
        """Read a build; only its id and status are indispensable."""
        raw = fields.mapping(data, "a build")
        triggered_by = fields.text(raw.get("triggeredBy"))
        duration = fields.number(raw.get("durationMs"))
        return cls(
            id=fields.identifier(raw, "id", "a build"),
            status=Status(plain(fields.required(raw, "status", "a build"), STATUS)),
            project_id=fields.reference(raw.get("projectId")),
            build_setting_id=fields.reference(raw.get("buildSettingId")),
            platform=fields.text(raw.get("platform")),
            build_type=fields.text(raw.get("buildType")),
            branch=fields.text(raw.get("branch")) or fields.text(raw.get("streamPath")),
            commit=fields.text(raw.get("commit")),
            changelist=_changelist(raw),
            commit_message=fields.text(raw.get("commitMessage")),
            ue_version=fields.text(raw.get("ueVersion")),
            triggered_by=None if triggered_by is None else plain(triggered_by, TITLE),
            created_at=fields.instant(raw.get("createdAt")),
            finished_at=fields.instant(raw.get("finishedAt")),
            duration_seconds=None if duration is None else duration / 1000,
            raw=raw,
        )

    @property
    def title(self) -> str:
        """Name the build for people: id, platform, type and branch as far as known."""
        known = " ".join(part for part in (self.platform, self.build_type) if part)
        where = f" on {self.branch}" if self.branch else ""
        return plain(f"build {self.id}" + (f" ({known}{where})" if known else ""), TITLE)

    def facts(self, url: str | None = None) -> dict[str, Any]:
        """Give what an operator returns: plain JSON, no secrets, all of it storable."""
        facts = {
            "build_id": self.id,
            "status": str(self.status),
            "project_id": self.project_id,
            "build_setting_id": self.build_setting_id,
            "platform": self.platform,
            "build_type": self.build_type,
            "branch": self.branch,
            "commit": self.commit,
            "changelist": self.changelist,
            "ue_version": self.ue_version,
            "triggered_by": self.triggered_by,
            "created_at": self.created_at and self.created_at.isoformat(),
            "finished_at": self.finished_at and self.finished_at.isoformat(),
            "duration_seconds": self.duration_seconds,
            "url": url,
        }
        return {
            key: storable(fact) if isinstance(fact, str) else fact for key, fact in facts.items()
        }


def _changelist(raw: Raw) -> str | None:
    """Find the changelist, whose field is unspecified: a number under a key that speaks of one."""
    found = []
    for key, value in raw.items():
        name = key.lower().replace("_", "")
        if "changelist" in name or name in {"cl", "change", "p4change"}:
            if isinstance(value, dict):
                value = value.get("id") or value.get("number")  # an object around it
            found += [text] if (text := fields.text(value)) else []
    # Its description may come first; what is no number is taken only where there is no number.
    return next((text for text in found if text.isdecimal()), found[0] if found else None)


@dataclass(frozen=True)
class Dispatch:
    """The answer to a trigger request: the id is all that every form of it has."""

    build_id: str
    raw: Raw = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Any) -> Dispatch:
        """Read the long or the short form."""
        raw = fields.mapping(data, "a dispatched build")
        return cls(fields.identifier(raw, "buildId", "a dispatched build"), raw)


@dataclass(frozen=True)
class BuildSetting:
    """What a project builds: platform, type, branch, engine version."""

    id: str
    platform: str | None = None
    build_type: str | None = None
    branch: str | None = None
    stream_path: str | None = None
    ue_version: str | None = None
    uproject_path: str | None = None
    trigger: str | None = None
    notify_on_complete: bool = False
    auto_deploy: bool = False
    raw: Raw = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Any) -> BuildSetting:
        """Read a build setting."""
        raw = fields.mapping(data, "a build setting")
        return cls(
            id=fields.identifier(raw, "id", "a build setting"),
            platform=fields.text(raw.get("platform")),
            build_type=fields.text(raw.get("buildType")),
            branch=fields.text(raw.get("branch")),
            stream_path=fields.text(raw.get("streamPath")),
            ue_version=fields.text(raw.get("ueVersion")),
            uproject_path=fields.text(raw.get("uprojectPath")),
            trigger=fields.text(raw.get("trigger")),
            notify_on_complete=fields.flag(raw.get("notifyOnComplete")),
            auto_deploy=fields.flag(raw.get("autoDeploy")),
            raw=raw,
        )

    @property
    def branch_or_stream(self) -> str | None:
        """The branch or stream that it builds."""
        return self.branch or self.stream_path

    @property
    def title(self) -> str:
        """Name the setting for people."""
        what = " ".join(
            part for part in (self.platform, self.build_type, self.branch_or_stream) if part
        )
        return plain(f"{self.id} ({what})" if what else self.id, TITLE)


@dataclass(frozen=True)
class Project:
    """A project; ``raw`` holds what was detected of its ``.uproject``."""

    id: str
    name: str | None = None
    source_control: str | None = None
    repo_link: str | None = None
    last_build_at: datetime | None = None
    last_build_status: str | None = None
    raw: Raw = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Any) -> Project:
        """Read a project."""
        raw = fields.mapping(data, "a project")
        return cls(
            id=fields.identifier(raw, "id", "a project"),
            name=fields.text(raw.get("name")),
            source_control=fields.text(raw.get("sourceControl")),
            repo_link=fields.text(raw.get("repoLink")),
            last_build_at=fields.instant(raw.get("lastBuildAt")),
            last_build_status=fields.text(raw.get("lastBuildStatus")),
            raw=raw,
        )

    @property
    def title(self) -> str:
        """Name the project for people."""
        return plain(f"{self.id} ({self.name})" if self.name else self.id, TITLE)


@dataclass(frozen=True)
class Artifact:
    """A build's tarball behind a signed URL, which is a secret and so never shown."""

    url: str = field(repr=False)
    expires_at: datetime | None
    size_bytes: int | None
    checksum_md5: str | None
    raw: Raw = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Any) -> Artifact:
        """Read an artifact."""
        raw = fields.mapping(data, "an artifact")
        return cls(
            url=fields.required(raw, "url", "an artifact"),
            expires_at=fields.instant(raw.get("expiresAt")),
            size_bytes=fields.whole(raw.get("sizeBytes")),
            checksum_md5=fields.text(raw.get("checksumMd5")),
            raw=raw,
        )


@dataclass(frozen=True)
class Identity:
    """Whom a token belongs to and what it may do."""

    user_id: str | None
    email: str | None
    name: str | None
    organization_id: str | None
    organization: str | None
    plan: str | None
    role: str | None
    raw: Raw = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Any) -> Identity:
        """Read the answer of ``GET /auth/me``."""
        raw = fields.mapping(data, "an identity")
        user = _part(raw, "user")
        organization = _part(raw, "organization")
        return cls(
            user_id=fields.text(user.get("id")),
            email=fields.text(user.get("email")),
            name=fields.text(user.get("name")),
            organization_id=fields.text(organization.get("id")),
            organization=fields.text(organization.get("name")),
            plan=fields.text(organization.get("plan")),
            role=fields.text(_part(raw, "membership").get("role")),
            raw=raw,
        )

    @property
    def can_trigger(self) -> bool:
        """Whether the role may start builds; only ``viewer`` is known not to."""
        return self.role != "viewer"


def _part(raw: Raw, key: str) -> Mapping[str, Any]:
    part = raw.get(key)
    return part if isinstance(part, dict) else {}


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page of a list, and the cursor of the next."""

    items: tuple[T, ...]
    next_cursor: str | None = None

    @classmethod
    def from_json(cls, data: Any, member: Callable[[Any], T], what: str) -> Page[T]:
        """Read a page, or a bare list as the only page.

        :raises UnexpectedAnswer: it is none, or so long that reading it would hold a loop up.
        """
        members = fields.items(data, what)
        if len(members) > MAX_MEMBERS:
            raise UnexpectedAnswer(f"a page of {len(members)} {what} is too long")
        cursor = data.get("nextCursor") if isinstance(data, dict) else None
        found = tuple(member(item) for item in members)
        return cls(found, fields.text(cursor) or None)
