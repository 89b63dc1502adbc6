"""The current state of a build in the sandbox."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_buildpixel.sandbox.world.scripted_log import PHASES

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox import Sandbox
    from airflow_provider_buildpixel.sandbox.world.model import StoredBuild

# The part of each phase's first line that is the same for every build.
MARKERS = {phase.first_line.partition("{")[0].strip(): phase.name for phase in PHASES}


@dataclass(frozen=True)
class BuildProgress:
    """A build as the demo shows it; all durations are in seconds."""

    name: str
    status: str
    phase: str | None
    progress: float
    waited: float | None
    duration: float | None


def build_progress(sandbox: Sandbox, build_id: str) -> BuildProgress | None:
    """Return the state of a build, or None if the sandbox has no such build."""
    with sandbox.world.lock:
        now = sandbox.world.now()
        build = sandbox.world.builds.get(build_id)
        return None if build is None else _progress_of(build, now)


def _progress_of(build: StoredBuild, now: float) -> BuildProgress:
    setting = build.setting
    started_at, ended = build.started_at, build.finished_at
    return BuildProgress(
        name=f"{build.project.name} {setting['platform']} {setting['buildType']}",
        status=build.status,
        phase=_phase(build) if build.status == "running" else None,
        progress=_share(build, now),
        waited=None if ended is None else ended - build.created_at,
        duration=None if ended is None or started_at is None else ended - started_at,
    )


def _phase(build: StoredBuild) -> str | None:
    """Return the phase whose marker is the latest in the log."""
    for line in reversed(build.logs):
        for marker, name in MARKERS.items():
            if line.message.startswith(marker):
                return name
    return None


def _share(build: StoredBuild, now: float) -> float:
    """Return the share of the planned run time that has passed; below 1 until the build ends."""
    if not build.is_live:
        return 1.0
    if build.started_at is None:
        return 0.0
    return min(0.99, (now - build.started_at) / build.plan.run)
