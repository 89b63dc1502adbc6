"""The state of the sandbox: organizations, tokens, projects and builds, behind one lock."""

from __future__ import annotations

import random
import threading
from bisect import insort
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.sandbox.artifacts.signing import UrlSigner
from airflow_provider_buildpixel.sandbox.world.errors import ApiError, not_found
from airflow_provider_buildpixel.sandbox.world.ids import HEX, LETTERS, PUNCTUATED, IdGenerator
from airflow_provider_buildpixel.sandbox.world.model import Token
from airflow_provider_buildpixel.sandbox.world.plans import PlanQueue
from airflow_provider_buildpixel.sandbox.world.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_buildpixel.sandbox.variants import Variants
    from airflow_provider_buildpixel.sandbox.world.clock import Clock
    from airflow_provider_buildpixel.sandbox.world.model import (
        Organization,
        StoredBuild,
        StoredLogLine,
        StoredProject,
    )
    from airflow_provider_buildpixel.sandbox.world.plans import Plan

ROLES = ("owner", "admin", "member", "viewer")


@dataclass(frozen=True, slots=True)
class BuildEvent:
    """A change of a build that clients are notified of: a log line if there is one, else status."""

    build: StoredBuild
    at: float
    status: str
    line: StoredLogLine | None = None


class World:
    """All objects by id; `build_ids` are in order of creation.

    `token_refused` decides whether a fault makes a token invalid.
    """

    def __init__(
        self,
        clock: Clock,
        variants: Variants,
        default_plan: Plan,
        *,
        concurrency: int | None = None,
        seed: int = 0,
    ) -> None:
        self.clock = clock
        self.variants = variants
        self.concurrency = concurrency
        self.plans = PlanQueue(default_plan)
        self.schedule = Schedule()
        self.lock = threading.RLock()
        self.rng = random.Random(seed)  # noqa: S311  # for repeatable data, not for secrets
        self.signer = UrlSigner(self.rng.randbytes(16))
        self.ids = _id_generator(self.rng, variants)
        self.organizations: dict[str, Organization] = {}
        self.tokens: dict[str, Token] = {}
        self.projects: dict[str, StoredProject] = {}
        self.builds: dict[str, StoredBuild] = {}
        self.build_ids: list[str] = []
        self.numbers = count()
        self.latest: dict[tuple[str, str, str, str], StoredBuild] = {}
        self.running: set[str] = set()
        self.waiting: list[StoredBuild] = []
        self.listeners: list[Callable[[BuildEvent], None]] = []
        self.token_refused: Callable[[Token], bool] = lambda _: False

    def now(self) -> float:
        """Run every action that is due, and return the time."""
        with self.lock:
            now = self.clock.now()
            self.schedule.run(now)
            return now

    def new_id(self, at: float | None = None) -> str:
        """Return a new id."""
        return self.ids.make(self.clock.now() if at is None else at)

    def add_build(self, build: StoredBuild) -> None:
        """Add a build, which may have been created before others."""
        self.builds[build.id] = build
        insort(self.build_ids, build.id, key=lambda build_id: self.builds[build_id].age_key)
        last = build.project.last_build
        if last is None or last.created_at <= build.created_at:
            build.project.last_build = build

    def publish(self, event: BuildEvent) -> None:
        """Notify all listeners of an event."""
        for listener in self.listeners:
            listener(event)

    def issue_token(
        self, organization: Organization, role: str, seconds: float | None = None
    ) -> Token:
        """Create a token for a new user with the given role."""
        if role not in ROLES:
            raise ValueError(f"the role must be one of {ROLES}, not {role!r}")
        secret = "bp_" + "".join(self.rng.choices(LETTERS, k=32))
        expires_at = None if seconds is None else self.clock.now() + seconds
        token = Token(self.new_id(), secret, self.new_id(), role, organization, expires_at)
        self.tokens[secret] = token
        return token

    def add_setting(self, project: StoredProject, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Add a build setting with these fields to a project, and return it."""
        setting = {
            "id": self.new_id(),
            "projectId": project.id,
            "platform": "Win64",
            "buildType": "Development",
            "branch": None,
            "streamPath": None,
            "ueVersion": "5.4",
            "uprojectPath": None,
            "trigger": "manual",
            "notifyOnComplete": False,
            "autoDeploy": False,
            "uploadBuildUrl": None,
            "uploadBuildAuthHeader": None,
            **fields,
        }
        project.settings[setting["id"]] = setting
        return setting

    def authenticate(self, secret: str | None) -> Token:
        """Return the valid token with this secret.

        :raises ApiError: if there is none.
        """
        token = self.tokens.get(secret or "")
        if token is None or token.revoked or self.token_refused(token):
            raise ApiError(401, "invalid_token", "The token is missing, malformed or revoked.")
        if token.expires_at is not None and token.expires_at <= self.clock.now():
            raise ApiError(401, "invalid_token", "The token has expired.")
        return token

    def project_named(self, name: str) -> StoredProject:
        """Return a project by name or id."""
        for project in self.projects.values():
            if name in {project.name, project.id}:
                return project
        raise LookupError(f"no project is called {name}")

    def project_with(self, setting_id: str) -> StoredProject:
        """Return the project to which a build setting belongs."""
        for project in self.projects.values():
            if setting_id in project.settings:
                return project
        raise LookupError(f"no build setting has the id {setting_id}")

    def project_for(self, token: Token, project_id: str) -> StoredProject:
        """Return a project that is visible to the token.

        :raises ApiError: if there is none.
        """
        project = self.projects.get(project_id)
        if project is None or project.organization is not token.organization:
            raise not_found("project")
        return project

    def build_for(self, token: Token, build_id: str) -> StoredBuild:
        """Return a build that is visible to the token.

        :raises ApiError: if there is none.
        """
        build = self.builds.get(build_id)
        if build is None or build.project.organization is not token.organization:
            raise not_found("build")
        return build


def _id_generator(rng: random.Random, variants: Variants) -> IdGenerator:
    per_second = variants.id_order == "same-second"
    # Ids of MongoDB are hexadecimal.
    letters = HEX if per_second else LETTERS
    alphabet = letters if variants.ids == "letters" else PUNCTUATED
    return IdGenerator(rng, alphabet, per_second=per_second)
