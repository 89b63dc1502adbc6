"""The simulated service without its server: projects, builds, tokens and time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.sandbox.variants import Variants
from airflow_provider_buildpixel.sandbox.world import lifecycle, payloads
from airflow_provider_buildpixel.sandbox.world.plans import plan_from
from airflow_provider_buildpixel.sandbox.world.seed import seed_world

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox.world.plans import Plan
    from airflow_provider_buildpixel.sandbox.world.world import World


class Service:
    """The part of `Sandbox` that needs no server; tests read and change the world with it."""

    def __init__(self, world: World, plan: str, minutes: float | None) -> None:
        self.world = world
        self._tokens = seed_world(world, plan, minutes)

    @property
    def token(self) -> str:
        """Return a token that may trigger builds."""
        return self._tokens.member.secret

    @property
    def viewer_token(self) -> str:
        """Return a token that may only read."""
        return self._tokens.viewer.secret

    @property
    def stranger_token(self) -> str:
        """Return a token of another organization."""
        return self._tokens.stranger.secret

    @property
    def projects(self) -> list[dict[str, Any]]:
        """Return the projects as the API lists them."""
        with self.world.lock:
            at = self.world.now()
            return [payloads.project_item(Variants(), p, at) for p in self.world.projects.values()]

    def settings(self, project: str) -> list[dict[str, Any]]:
        """Return the build settings of a project, given its name or id."""
        with self.world.lock:
            settings = self.world.project_named(project).settings.values()
            return [payloads.setting_payload(Variants(), setting) for setting in settings]

    def setting(self, project: str, **fields: str) -> dict[str, Any]:
        """Return the one build setting of a project that has these fields.

        :raises LookupError: if there is none, or more than one.
        """
        matching = [s for s in self.settings(project) if fields.items() <= s.items()]
        if len(matching) != 1:
            raise LookupError(f"{len(matching)} build settings of {project} have {fields}")
        return matching[0]

    def update_setting(self, setting_id: str, **fields: Any) -> None:
        """Change fields of a build setting, such as ``branch``; its builds keep the old values."""
        with self.world.lock:
            setting = self.world.project_with(setting_id).settings[setting_id]
            if unknown := sorted(set(fields) - (set(setting) - {"id", "projectId"})):
                raise ValueError(f"a build setting has no field {', '.join(unknown)} to change")
            setting.update(fields)

    def plan(self, times: int = 1, setting_id: str | None = None, **fields: Any) -> Plan:
        """Set how the next `times` builds go; `fields` are those of `Plan`."""
        plan = plan_from(self.world.plans.default, **fields)
        with self.world.lock:
            self.world.plans.add(plan, times, setting_id)
        return plan

    def push(
        self,
        setting_id: str,
        commit: str | None = None,
        branch: str | None = None,
        message: str | None = None,
        triggered_by: str | None = None,
        changelist: int | None = None,
    ) -> str:
        """Queue a build that was not triggered over the API, and return its id.

        :param triggered_by: as the API returns it, such as ``user:1`` or ``cron``; None for a push.
        """
        project = self.world.project_with(setting_id)
        setting, author = project.settings[setting_id], triggered_by or "push"
        spec = lifecycle.BuildSpec(project, setting, author, branch, commit, changelist, message)
        return lifecycle.queue_build(self.world, spec).id

    def add_builds(
        self,
        setting_id: str,
        count: int,
        *,
        branch: str | None = None,
        status: str = "complete",
        triggered_by: str = "push",
        age: float = 3600.0,
    ) -> list[str]:
        """Add builds that have already ended, without logs, and return their ids, oldest first.

        No event is sent. They take as long as the default plan says, but have ended by now.

        :param age: sandbox seconds since the newest was created; each other one was created a
            second before the next.
        """
        with self.world.lock:
            newest = self.world.now() - age
            project = self.world.project_with(setting_id)
            spec = lifecycle.BuildSpec(project, project.settings[setting_id], triggered_by, branch)
            added = (
                lifecycle.add_past_build(self.world, spec, newest - earlier, status)
                for earlier in range(count - 1, -1, -1)
            )
            return [build.id for build in added]

    def build(self, build_id: str) -> dict[str, Any]:
        """Return a build as the API returns it, without its log."""
        with self.world.lock:
            at = self.world.now()
            return payloads.build_without_log(Variants(), self.world.builds[build_id], at)

    def builds(self) -> list[dict[str, Any]]:
        """Return all builds, the oldest first."""
        with self.world.lock:
            at = self.world.now()
            builds = (self.world.builds[build_id] for build_id in self.world.build_ids)
            return [payloads.build_without_log(Variants(), build, at) for build in builds]

    def set_status(self, build_id: str, status: str, *, emit: bool = True) -> None:
        """Change a status by hand; the build then no longer follows its plan."""
        lifecycle.set_status(self.world, self.world.builds[build_id], status, emit=emit)

    def log(
        self, build_id: str, message: str, level: str | None = None, *, emit: bool = True
    ) -> None:
        """Append a line to the log of a build."""
        build = self.world.builds[build_id]
        lifecycle.add_log_line(self.world, build, message, level, emit=emit)

    def remove_artifact(self, build_id: str) -> None:
        """Remove the artifact of a build, as retention does."""
        self.world.builds[build_id].artifact_removed = True

    def set_minutes(self, minutes: float | None) -> None:
        """Set the build minutes left in this month; None for no limit."""
        self._tokens.member.organization.minutes_left = minutes

    def set_accessible(self, project: str, *, accessible: bool) -> None:
        """Set whether the service can access the repository or depot of a project."""
        self.world.project_named(project).accessible = accessible

    def issue_token(self, role: str = "member", seconds: float | None = None) -> str:
        """Return a new token that expires after so many sandbox seconds, or never."""
        with self.world.lock:
            organization = self._tokens.member.organization
            return self.world.issue_token(organization, role, seconds).secret

    def now(self) -> float:
        """Return the sandbox time, in seconds since the epoch."""
        return self.world.now()

    def advance(self, seconds: float) -> None:
        """Move the clock forward, and run everything that was due by then."""
        with self.world.lock:
            self.world.clock.advance(seconds)
            self.world.now()
