"""BuildPixel's objects as frozen values; fields without an attribute are available in ``raw``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.api import fields
from airflow_provider_buildpixel.api.text import sanitize, storable

if TYPE_CHECKING:
    from datetime import datetime


Raw = dict[str, Any]

MAX_STATUS = 60
"""Maximum characters of a status."""

MAX_TITLE = 300
"""Maximum characters of a title."""


class Status(str):
    """A build's status: any string, so that a new status does not break existing code."""

    __slots__ = ()

    @property
    def terminal(self) -> bool:
        """Whether the build has ended; a build with an unknown status has not."""
        return self in {"complete", "failed", "superseded"}

    @property
    def succeeded(self) -> bool:
        """Whether the build ended with success."""
        return self == "complete"

    @property
    def superseded(self) -> bool:
        """Whether the build was cancelled because a newer build replaced it."""
        return self == "superseded"

    @property
    def queued(self) -> bool:
        """Whether the build has not started yet."""
        return self == "pending"


LIVE_STATUSES = ("pending", "running")
"""The documented statuses of builds that have not ended; lists can be filtered by them.

They are in the order of a build's life: a build whose status changes between the two list requests
is in the second list, so it is not missed.
"""

STATUSES = (*LIVE_STATUSES, "complete", "failed", "superseded")
"""All documented statuses."""


@dataclass(frozen=True)
class Build:
    """One build.

    ``changelist`` is Perforce's counterpart of ``commit``; its field in the API is undocumented.
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
        """Parse a build; only its id and status are required."""
        raw = fields.json_object(data, "a build")
        triggered_by = fields.text(raw.get("triggeredBy"))
        duration = fields.number(raw.get("durationMs"))
        return cls(
            id=fields.required_id(raw, "id", "a build"),
            status=Status(sanitize(fields.required_text(raw, "status", "a build"), MAX_STATUS)),
            project_id=fields.optional_id(raw.get("projectId")),
            build_setting_id=fields.optional_id(raw.get("buildSettingId")),
            platform=fields.text(raw.get("platform")),
            build_type=fields.text(raw.get("buildType")),
            branch=fields.text(raw.get("branch")) or fields.text(raw.get("streamPath")),
            commit=fields.text(raw.get("commit")),
            changelist=fields.changelist(raw),
            commit_message=fields.text(raw.get("commitMessage")),
            ue_version=fields.text(raw.get("ueVersion")),
            triggered_by=None if triggered_by is None else sanitize(triggered_by, MAX_TITLE),
            created_at=fields.timestamp(raw.get("createdAt")),
            finished_at=fields.timestamp(raw.get("finishedAt")),
            duration_seconds=None if duration is None else duration / 1000,
            raw=raw,
        )

    @classmethod
    def pending(
        cls, build_id: str, project_id: str, build_setting_id: str, raw: Raw | None = None
    ) -> Build:
        """Return a build that was just started and has not been read yet."""
        return cls(
            build_id,
            Status("pending"),
            project_id=project_id,
            build_setting_id=build_setting_id,
            raw=raw or {},
        )

    @classmethod
    def from_trigger_json(cls, data: Any, project_id: str, build_setting_id: str) -> Build:
        """Parse the response to a trigger request: only the id is part of every documented form."""
        raw = fields.json_object(data, "a dispatched build")
        build_id = fields.required_id(raw, "buildId", "a dispatched build")
        return cls.pending(build_id, project_id, build_setting_id, raw)

    @property
    def title(self) -> str:
        """A readable name: id, and platform, build type and branch if known."""
        target = " ".join(part for part in (self.platform, self.build_type) if part)
        branch = f" on {self.branch}" if self.branch else ""
        return sanitize(f"build {self.id}" + (f" ({target}{branch})" if target else ""), MAX_TITLE)

    def facts(self, url: str | None = None) -> dict[str, Any]:
        """Return what an operator returns: JSON values without secrets, storable in a database.

        :param url: the page of the build.
        """
        facts = {
            "build_id": self.id,
            "status": str(self.status),
            **{name: getattr(self, name) for name in _TEXT_FACTS},
            "created_at": self.created_at and self.created_at.isoformat(),
            "finished_at": self.finished_at and self.finished_at.isoformat(),
            "duration_seconds": self.duration_seconds,
            "url": url,
        }
        return {
            key: storable(fact) if isinstance(fact, str) else fact for key, fact in facts.items()
        }


_TEXT_FACTS = (
    *("project_id", "build_setting_id", "platform", "build_type", "branch", "commit"),
    *("changelist", "ue_version", "triggered_by"),
)


@dataclass(frozen=True)
class BuildSetting:
    """A build configuration of a project: platform, build type, branch and engine version."""

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
        """Parse a build setting."""
        raw = fields.json_object(data, "a build setting")
        return cls(
            id=fields.required_id(raw, "id", "a build setting"),
            platform=fields.text(raw.get("platform")),
            build_type=fields.text(raw.get("buildType")),
            branch=fields.text(raw.get("branch")),
            stream_path=fields.text(raw.get("streamPath")),
            ue_version=fields.text(raw.get("ueVersion")),
            uproject_path=fields.text(raw.get("uprojectPath")),
            trigger=fields.text(raw.get("trigger")),
            notify_on_complete=fields.boolean(raw.get("notifyOnComplete")),
            auto_deploy=fields.boolean(raw.get("autoDeploy")),
            raw=raw,
        )

    @property
    def branch_or_stream(self) -> str | None:
        """The Git branch or Perforce stream that it builds."""
        return self.branch or self.stream_path

    @property
    def title(self) -> str:
        """A readable name: id, and platform, build type and branch or stream if known."""
        target = " ".join(
            part for part in (self.platform, self.build_type, self.branch_or_stream) if part
        )
        return sanitize(f"{self.id} ({target})" if target else self.id, MAX_TITLE)


@dataclass(frozen=True)
class Project:
    """A project; ``raw`` contains what BuildPixel detected in its ``.uproject`` file."""

    id: str
    name: str | None = None
    source_control: str | None = None
    repo_link: str | None = None
    last_build_at: datetime | None = None
    last_build_status: str | None = None
    raw: Raw = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Any) -> Project:
        """Parse a project."""
        raw = fields.json_object(data, "a project")
        return cls(
            id=fields.required_id(raw, "id", "a project"),
            name=fields.text(raw.get("name")),
            source_control=fields.text(raw.get("sourceControl")),
            repo_link=fields.text(raw.get("repoLink")),
            last_build_at=fields.timestamp(raw.get("lastBuildAt")),
            last_build_status=fields.text(raw.get("lastBuildStatus")),
            raw=raw,
        )

    @property
    def title(self) -> str:
        """A readable name: id, and name if known."""
        return sanitize(f"{self.id} ({self.name})" if self.name else self.id, MAX_TITLE)


@dataclass(frozen=True)
class Artifact:
    """The tarball of a build. Its signed URL is a secret, so ``repr`` omits it."""

    url: str = field(repr=False)
    expires_at: datetime | None
    size_bytes: int | None
    checksum_md5: str | None
    raw: Raw = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Any) -> Artifact:
        """Parse an artifact."""
        raw = fields.json_object(data, "an artifact")
        return cls(
            url=fields.required_text(raw, "url", "an artifact"),
            expires_at=fields.timestamp(raw.get("expiresAt")),
            size_bytes=fields.integer(raw.get("sizeBytes")),
            checksum_md5=fields.text(raw.get("checksumMd5")),
            raw=raw,
        )


@dataclass(frozen=True)
class Identity:
    """The user, organization and role of a token."""

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
        """Parse the response of ``GET /auth/me``."""
        raw = fields.json_object(data, "an identity")
        user = fields.optional_object(raw, "user")
        organization = fields.optional_object(raw, "organization")
        return cls(
            user_id=fields.text(user.get("id")),
            email=fields.text(user.get("email")),
            name=fields.text(user.get("name")),
            organization_id=fields.text(organization.get("id")),
            organization=fields.text(organization.get("name")),
            plan=fields.text(organization.get("plan")),
            role=fields.text(fields.optional_object(raw, "membership").get("role")),
            raw=raw,
        )

    @property
    def can_trigger(self) -> bool:
        """Whether the role may start builds; only ``viewer`` is documented as not allowed to."""
        return self.role != "viewer"
