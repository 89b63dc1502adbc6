"""The state of the sandbox: organizations, tokens, projects, builds; one lock for all of it."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_buildpixel.sandbox.agenda import Agenda
from airflow_provider_buildpixel.sandbox.answers import Refusal, not_found
from airflow_provider_buildpixel.sandbox.ids import LETTERS, PUNCTUATED, Ids
from airflow_provider_buildpixel.sandbox.model import Token
from airflow_provider_buildpixel.sandbox.plans import Plans
from airflow_provider_buildpixel.sandbox.signing import Signer

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.sandbox.clock import Clock
    from airflow_provider_buildpixel.sandbox.model import Build, LogLine, Organization, Project
    from airflow_provider_buildpixel.sandbox.plans import Plan
    from airflow_provider_buildpixel.sandbox.variants import Variants

ROLES = ("owner", "admin", "member", "viewer")


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that those who follow a build are told: a log line, or else a change of status."""

    build: Build
    at: float
    status: str
    line: LogLine | None = None


class World:
    """Everything that exists, by id, in order of creation."""

    def __init__(
        self,
        clock: Clock,
        variants: Variants,
        default_plan: Plan,
        *,
        concurrency: int | None = None,
        seed: int = 0,
    ) -> None:
        """Start an empty world."""
        self.clock = clock
        self.variants = variants
        self.concurrency = concurrency
        self.plans = Plans(default_plan)
        self.agenda = Agenda()
        self.lock = threading.RLock()
        self.chance = random.Random(seed)
        self.signer = Signer(self.chance.randbytes(16))
        self.ids = Ids(self.chance, LETTERS if variants.ids == "letters" else PUNCTUATED)
        self.organizations: dict[str, Organization] = {}
        self.tokens: dict[str, Token] = {}
        self.projects: dict[str, Project] = {}
        self.builds: dict[str, Build] = {}
        self.build_ids: list[str] = []
        self.latest: dict[tuple[str, str, str, str], Build] = {}
        self.running: set[str] = set()
        self.waiting: list[Build] = []
        self.listeners: list[Callable[[Happening], None]] = []
        self.suspended: Callable[[Token], bool] = lambda _: False

    def now(self) -> float:
        """Return the time, after everything that was due by then has happened."""
        with self.lock:
            now = self.clock.now()
            self.agenda.run(now)
            return now

    def new_id(self, at: float | None = None) -> str:
        """Return a fresh id."""
        return self.ids.make(self.clock.now() if at is None else at)

    def tell(self, happening: Happening) -> None:
        """Let everyone know who listens."""
        for listener in self.listeners:
            listener(happening)

    def issue_token(
        self, organization: Organization, role: str, seconds: float | None = None
    ) -> Token:
        """Make a token for a new user of the given role."""
        if role not in ROLES:
            raise ValueError(f"a role is one of {ROLES}, not {role!r}")
        secret = "bp_" + "".join(self.chance.choices(LETTERS, k=32))
        expires_at = None if seconds is None else self.clock.now() + seconds
        token = Token(self.new_id(), secret, self.new_id(), role, organization, expires_at)
        self.tokens[secret] = token
        return token

    def authenticate(self, secret: str | None) -> Token:
        """Return the token that is good now, or refuse."""
        token = self.tokens.get(secret or "")
        if token is None or token.revoked or self.suspended(token):
            raise Refusal(401, "invalid_token", "The token is missing, malformed or revoked.")
        if token.expires_at is not None and token.expires_at <= self.clock.now():
            raise Refusal(401, "invalid_token", "The token has expired.")
        return token

    def project_named(self, name: str) -> Project:
        """Return a project by its name or id."""
        for project in self.projects.values():
            if name in {project.name, project.id}:
                return project
        raise LookupError(f"no project is called {name}")

    def project_with(self, setting_id: str) -> Project:
        """Return the project that has a build setting."""
        for project in self.projects.values():
            if setting_id in project.settings:
                return project
        raise LookupError(f"no build setting has the id {setting_id}")

    def project_for(self, token: Token, project_id: str) -> Project:
        """Return a project that the token may see."""
        project = self.projects.get(project_id)
        if project is None or project.organization is not token.organization:
            raise not_found("project")
        return project

    def build_for(self, token: Token, build_id: str) -> Build:
        """Return a build that the token may see."""
        build = self.builds.get(build_id)
        if build is None or build.project.organization is not token.organization:
            raise not_found("build")
        return build
