"""The objects of the simulated service."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox.world.plans import Plan

LIVE = frozenset({"pending", "running"})
TERMINAL = frozenset({"complete", "failed", "superseded"})
MAX_LOG_LINES = 1000


@dataclass(eq=False)
class Organization:
    """A customer of BuildPixel."""

    id: str
    name: str
    slug: str
    plan: str
    github: bool = True
    perforce: dict[str, str] | None = None
    defaults: dict[str, Any] = field(default_factory=dict)
    integrations: dict[str, Any] = field(default_factory=dict)
    minutes_left: float | None = None


@dataclass(eq=False)
class Token:
    """An API token, with the user whose permissions it has."""

    id: str
    secret: str
    user_id: str
    role: str
    organization: Organization
    expires_at: float | None = None
    revoked: bool = False


@dataclass(eq=False)
class StoredProject:
    """A repository or depot from which builds are made."""

    id: str
    organization: Organization
    name: str
    source_control: str
    repo_link: str
    default_branch: str
    uproject_path: str
    created_at: float
    description: str = ""
    accessible: bool = True
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    last_build: StoredBuild | None = None


@dataclass(frozen=True, slots=True)
class StoredLogLine:
    """One line of a build's log."""

    at: float
    level: str
    message: str


@dataclass(eq=False, slots=True)
class StoredBuild:
    """A build, with the history of its status; `follows_plan` ends with a change by hand.

    :param number: greater than that of any build made before.
    """

    id: str
    number: int
    project: StoredProject
    setting: dict[str, Any]
    branch: str
    commit: str | None
    given_commit: str | None
    commit_message: str
    changelist: int | None
    triggered_by: str
    created_at: float
    plan: Plan
    history: list[tuple[float, str]] = field(default_factory=list)
    logs: deque[StoredLogLine] = field(default_factory=lambda: deque(maxlen=MAX_LOG_LINES))
    follows_plan: bool = True
    started_at: float | None = None
    finished_at: float | None = None
    artifact_bytes: int | None = None
    artifact_removed: bool = False

    @property
    def status(self) -> str:
        """Return the current status."""
        return self.history[-1][1]

    @property
    def age_key(self) -> tuple[float, int]:
        """Return what builds are sorted by from the oldest to the newest."""
        return self.created_at, self.number

    @property
    def is_live(self) -> bool:
        """Whether the status can still change."""
        return self.status not in TERMINAL

    @property
    def supersession_key(self) -> tuple[str, str, str, str]:
        """Return the fields in which a newer build must be equal to supersede this one."""
        return self.project.id, self.branch, self.setting["platform"], self.setting["buildType"]

    def status_at(self, at: float) -> str:
        """Return the status at a past instant."""
        past = [status for since, status in self.history if since <= at]
        return past[-1] if past else self.history[0][1]
