"""Where a build of the sandbox is at this moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_buildpixel.sandbox.script import PHASES

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox import Sandbox
    from airflow_provider_buildpixel.sandbox.model import Build

# What the first line of each phase starts with, whatever is built.
OPENINGS = {phase.opening.partition("{")[0].strip(): phase.name for phase in PHASES}


@dataclass(frozen=True)
class Course:
    """A build as the demo shows it; all durations are in seconds."""

    name: str
    status: str
    phase: str | None
    progress: float
    waited: float | None
    duration: float | None


def course(sandbox: Sandbox, build_id: str) -> Course | None:
    """Return where a build is, or None if the sandbox does not know it."""
    with sandbox.world.lock:
        now = sandbox.world.now()
        build = sandbox.world.builds.get(build_id)
        return None if build is None else _course(build, now)


def _course(build: Build, now: float) -> Course:
    setting = build.setting
    begun, ended = build.started_at, build.finished_at
    return Course(
        name=f"{build.project.name} {setting['platform']} {setting['buildType']}",
        status=build.status,
        phase=_phase(build) if build.status == "running" else None,
        progress=_progress(build, now),
        waited=None if ended is None else ended - build.created_at,
        duration=None if ended is None or begun is None else ended - begun,
    )


def _phase(build: Build) -> str | None:
    """Return the phase whose opening is the latest in the log."""
    for line in reversed(build.logs):
        for opening, name in OPENINGS.items():
            if line.message.startswith(opening):
                return name
    return None


def _progress(build: Build, now: float) -> float:
    """Return the share of the planned time that has passed; only a finished build has all of it."""
    if not build.live:
        return 1.0
    if build.started_at is None:
        return 0.0
    return min(0.99, (now - build.started_at) / build.plan.run)
