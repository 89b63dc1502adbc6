"""What there is in the world of the sandbox."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox.plans import Plan

TERMINAL = frozenset({"complete", "failed", "superseded"})
RECENT_LINES = 1000


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
    """An API token and, with it, the user whose rights it has."""

    id: str
    secret: str
    user_id: str
    role: str
    organization: Organization
    expires_at: float | None = None
    revoked: bool = False


@dataclass(eq=False)
class Project:
    """A repository or depot that is built."""

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
    last_build: Build | None = None


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a build's log."""

    at: float
    level: str
    message: str


@dataclass(eq=False, slots=True)
class Build:
    """A build, with the history of its status."""

    id: str
    project: Project
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
    logs: deque[LogLine] = field(default_factory=lambda: deque(maxlen=RECENT_LINES))
    scripted: bool = True
    started_at: float | None = None
    finished_at: float | None = None
    artifact_bytes: int | None = None
    artifact_removed: bool = False

    @property
    def status(self) -> str:
        """Return the present status."""
        return self.history[-1][1]

    @property
    def live(self) -> bool:
        """Say whether it may still change."""
        return self.status not in TERMINAL

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Return what a newer build must have in common to supersede this one."""
        return self.project.id, self.branch, self.setting["platform"], self.setting["buildType"]

    def status_at(self, at: float) -> str:
        """Return the status that it had at an instant."""
        past = [status for since, status in self.history if since <= at]
        return past[-1] if past else self.history[0][1]
