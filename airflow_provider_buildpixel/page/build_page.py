"""The content of a build's page as plain JSON; the page shows every string as text, not markup."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.api.text import safe_text, sanitize
from airflow_provider_buildpixel.builds.failure_cause import failure_cause
from airflow_provider_buildpixel.builds.logs import LogSummary, recent_lines
from airflow_provider_buildpixel.page import history, phases

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from airflow_provider_buildpixel.api.model import Build
    from airflow_provider_buildpixel.builds.logs import LogLine
    from airflow_provider_buildpixel.page.phases import Phase
    from airflow_provider_buildpixel.page.record import BuildRecord, TaskInstanceKey


LIVE_REFRESH = 2.0
"""Seconds between the page's requests while a build runs."""

LATE_LINES_PERIOD = 10.0
"""Seconds after a build's end in which log lines may still arrive."""

CLOCK_TOLERANCE = 2.0
"""Seconds by which an HTTP date, which has whole seconds, may lag behind."""

IDLE_REFRESH = 5.0
"""Seconds between the page's requests while the task has no build or a read fails."""

LINES_SHOWN = 1_000
"""Log lines in one answer; the page keeps more."""

_TRIGGER_NAMES = {"user": "user", "api_token": "API token", "push": "push of", "cron": "schedule"}


def page_data(
    build: Build,
    now: datetime,
    *,
    previous: Iterable[Build] = (),
    newer: Build | None = None,
    dashboard_url: str | None = None,
) -> dict[str, Any]:
    """Return what the page shows of a build.

    :param now: the service's clock.
    :param previous: the newest builds of its build setting.
    :param newer: the build that superseded it.
    :param dashboard_url: its page in BuildPixel's dashboard.
    """
    lines = recent_lines(build.raw)[-LINES_SHOWN:]
    timeline = phases.timeline(build, lines, now)
    return {
        "kind": "build",
        "id": sanitize(build.id, 64),
        "status": sanitize(build.status, 40),
        "tone": history.tone(build.status),
        "title": _title(build),
        "message": sanitize(build.commit_message or "", 500),
        "facts": [[name, value] for name, value in _facts(build) if value],
        "seconds": elapsed_seconds(build, now),
        "phases": [_phase(phase) for phase in timeline],
        "failure": _failure(build, lines, timeline),
        "newer": _newer(newer),
        "has_artifact": build.status.succeeded,
        "dashboard_url": dashboard_url,
        "history": history.chart(previous, build),
        "log": [_line(line) for line in lines],
        "refresh_after": None if is_final(build, now) else LIVE_REFRESH,
    }


def is_final(build: Build, now: datetime) -> bool:
    """Return whether nothing will change: the last log lines can arrive after the final status."""
    if not build.status.terminal:
        return False
    if build.finished_at is None:
        return True
    return not -CLOCK_TOLERANCE < (now - build.finished_at).total_seconds() < LATE_LINES_PERIOD


def _title(build: Build) -> str:
    target = " ".join(part for part in (build.platform, build.build_type) if part)
    return sanitize(target or f"Build {build.id}", 100)


def _facts(build: Build) -> Iterable[tuple[str, str]]:
    """Yield names and values; the page leaves out empty values."""
    yield "Branch", sanitize(build.branch or "", 200)
    yield "Commit", sanitize(build.commit or "", 64)
    yield "Changelist", sanitize(build.changelist or "", 64)
    yield "Engine", sanitize(f"Unreal Engine {build.ue_version}" if build.ue_version else "", 100)
    yield "Triggered by", trigger_text(build.triggered_by)
    yield "Queued at", build.created_at.isoformat() if build.created_at else ""
    yield "Finished at", build.finished_at.isoformat() if build.finished_at else ""
    yield "Build", sanitize(build.id, 64)


def trigger_text(triggered_by: str | None) -> str:
    """Return who or what started a build as words; an undocumented value stays unchanged."""
    kind, _, name = (triggered_by or "").partition(":")
    return sanitize(f"{_TRIGGER_NAMES.get(kind, kind)} {name}".strip(), 100)


def elapsed_seconds(build: Build, now: datetime) -> float | None:
    """Return the build's duration in seconds, or the time since it was queued while it is live."""
    if build.status.terminal:
        return build.duration_seconds
    if build.created_at is None:
        return None
    return max(0.0, (now - build.created_at).total_seconds())


def _phase(phase: Phase) -> dict[str, Any]:
    """Return times instead of a duration: the page may know a start that the log has lost."""
    return {
        "name": phase.name,
        "state": phase.state,
        "start": phase.start and phase.start.isoformat(),
        "end": phase.end and phase.end.isoformat(),
    }


def _failure(
    build: Build, lines: Sequence[LogLine], timeline: Iterable[Phase]
) -> dict[str, Any] | None:
    """Return phase, first error lines and advice if the build failed; else None."""
    status = build.status
    if not status.terminal or status.succeeded or status.superseded:
        return None
    summary = LogSummary.from_lines(lines)
    cause = failure_cause(summary)
    phase = next((phase.name for phase in timeline if phase.state == phases.FAILED), None)
    return {"phase": phase, "errors": summary.errors, "advice": cause.advice if cause else None}


def _newer(newer: Build | None) -> dict[str, Any] | None:
    if newer is None:
        return None
    return {
        "id": sanitize(newer.id, 64),
        "status": sanitize(newer.status, 40),
        "commit": sanitize(newer.commit or newer.changelist or "", 64),
        "triggered_by": trigger_text(newer.triggered_by),
    }


def _line(line: LogLine) -> list[str | None]:
    return [line.timestamp and sanitize(line.timestamp, 40), line.level, line.display_text]


def no_build(operator: str | None, *, has_ended: bool) -> dict[str, Any]:
    """Return the message for a task instance without a build.

    :param operator: the class name of its operator; None if there is no such task instance.
    :param has_ended: whether the task instance has ended.
    """
    if operator is None:
        return _message("unavailable", "This task instance does not exist (any more).")
    is_ours = operator.startswith("BuildPixel")
    if has_ended and is_ours:
        return _message(
            "unavailable", "This task ended before it had a build. Its log shows the reason."
        )
    if has_ended:
        return _message("unavailable", "This task has no BuildPixel build.")
    text = "No build yet. It appears here as soon as the task has started or found one."
    if not is_ours:
        text = "This task has no BuildPixel build so far."
    return _message("waiting", text, IDLE_REFRESH)


def not_shown(conn_id: str, reason: str) -> dict[str, Any]:
    """Return the message for a task's build that cannot be shown."""
    return _message("unavailable", reason.format(conn_id=sanitize(conn_id, 250)))


SIGNATURE_OUTDATED = (
    "The token of the connection {conn_id} was replaced after this task started or found its "
    "build. Airflow can no longer verify that the build belongs to this task. Users who may edit "
    "the connection can still open it."
)
CONNECTION_UNUSABLE = "The connection {conn_id} does not exist or cannot be used."


def read_error(error: Exception) -> dict[str, Any]:
    """Return the message for a failed read of BuildPixel."""
    return _message("error", safe_text(str(error)), IDLE_REFRESH)


def _message(kind: str, text: str, refresh_after: float | None = None) -> dict[str, Any]:
    return {"kind": kind, "message": text, "refresh_after": refresh_after}


def list_row(
    ti_key: TaskInstanceKey, record: BuildRecord, state: str | None, seconds: float | None
) -> dict[str, Any]:
    """Return one row of the list of builds.

    :param state: the state of the task instance.
    :param seconds: seconds from when the task had the build until the task's end or now.
    """
    target = " ".join(part for part in (record.platform, record.build_type) if part)
    return {
        "build": sanitize(record.build_id, 64),
        "title": sanitize(target or record.build_id, 100),
        "branch": sanitize(record.branch or "", 200),
        "commit": sanitize(record.commit or "", 64),
        "task": vars(ti_key) | {"state": state or "none"},
        "page": record.page_url(ti_key).removeprefix("buildpixel/"),
        "seconds": seconds,
    }
