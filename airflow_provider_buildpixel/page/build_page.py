"""What the page of a build shows, as plain JSON of which every text is only ever shown as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.api.text import plain, shown
from airflow_provider_buildpixel.builds.logs import (
    NO_ERROR_LINE,
    LogSummary,
    cause_of,
    recent_lines,
)
from airflow_provider_buildpixel.page import history, phases

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from airflow_provider_buildpixel.api.model import Build
    from airflow_provider_buildpixel.builds.logs import LogLine
    from airflow_provider_buildpixel.page.phases import Phase
    from airflow_provider_buildpixel.page.record import BuildRecord, TaskInstanceKey


LIVE_REFRESH = 2.0
"""Seconds until a page looks again at a build that has not ended."""

LATE_LINES = 10.0
"""Seconds after a build's end in which lines may still come."""

CLOCK_TOLERANCE = 2.0
"""Seconds that an HTTP date, which is cut to whole ones, may be behind."""

IDLE_REFRESH = 5.0
"""Seconds until it looks again whether there is a build."""

LINES_SHOWN = 1_000
"""Log lines of one answer; the page keeps more."""

_AUTHORS = {"user": "user", "api_token": "API token", "push": "push of", "cron": "schedule"}


def page_data(
    build: Build,
    now: datetime,
    *,
    previous: Iterable[Build] = (),
    newer: Build | None = None,
    dashboard: str | None = None,
) -> dict[str, Any]:
    """Give what the page shows of a build.

    :param now: the service's clock.
    :param previous: the newest builds of its setting.
    :param newer: the build that superseded it.
    :param dashboard: its page in BuildPixel's dashboard.
    """
    lines = recent_lines(build.raw)[-LINES_SHOWN:]
    timeline = phases.timeline(build, lines, now)
    return {
        "kind": "build",
        "id": plain(build.id, 64),
        "status": plain(build.status, 40),
        "tone": history.tone(build.status),
        "title": _title(build),
        "message": plain(build.commit_message or "", 500),
        "facts": [[name, value] for name, value in _facts(build) if value],
        "seconds": elapsed_seconds(build, now),
        "phases": [_phase(phase) for phase in timeline],
        "failure": _failure(build, lines, timeline),
        "newer": _newer(newer),
        "artifact": build.status.succeeded,
        "dashboard": dashboard,
        "history": history.chart(previous, build),
        "log": [_line(line) for line in lines],
        "again": None if is_final(build, now) else LIVE_REFRESH,
    }


def is_final(build: Build, now: datetime) -> bool:
    """Tell whether nothing more is to come: the last lines can be there later than the status."""
    if not build.status.terminal:
        return False
    if build.finished_at is None:
        return True
    return not -CLOCK_TOLERANCE < (now - build.finished_at).total_seconds() < LATE_LINES


def _title(build: Build) -> str:
    what = " ".join(part for part in (build.platform, build.build_type) if part)
    return plain(what or f"Build {build.id}", 100)


def _facts(build: Build) -> Iterable[tuple[str, str]]:
    """Give names and values; those without a value are not shown."""
    yield "Branch", plain(build.branch or "", 200)
    yield "Commit", plain(build.commit or "", 64)
    yield "Changelist", plain(build.changelist or "", 64)
    yield "Engine", plain(f"Unreal Engine {build.ue_version}" if build.ue_version else "", 100)
    yield "Triggered by", trigger_text(build.triggered_by)
    yield "Queued at", build.created_at.isoformat() if build.created_at else ""
    yield "Finished at", build.finished_at.isoformat() if build.finished_at else ""
    yield "Build", plain(build.id, 64)


def trigger_text(triggered_by: str | None) -> str:
    """Say for people who started a build; what is not documented is shown as it is."""
    kind, _, who = (triggered_by or "").partition(":")
    return plain(f"{_AUTHORS.get(kind, kind)} {who}".strip(), 100)


def elapsed_seconds(build: Build, now: datetime) -> float | None:
    """Give how long it took, or has taken so far since it was queued, in seconds."""
    if build.status.terminal:
        return build.duration_seconds
    if build.created_at is None:
        return None
    return max(0.0, (now - build.created_at).total_seconds())


def _phase(phase: Phase) -> dict[str, Any]:
    """Give times and not a duration: a page may know a start from when the log still showed it."""
    return {
        "name": phase.name,
        "state": phase.state,
        "start": phase.start and phase.start.isoformat(),
        "end": phase.end and phase.end.isoformat(),
    }


def _failure(
    build: Build, lines: Sequence[LogLine], timeline: Iterable[Phase]
) -> dict[str, Any] | None:
    """Give phase, first error lines and advice of a build that failed."""
    if history.tone(build.status) != "bad":
        return None
    book = LogSummary.of(lines)
    cause = cause_of(book.errors) or (None if book.errors or book.ended else NO_ERROR_LINE)
    phase = next((phase.name for phase in timeline if phase.state == "bad"), None)
    return {"phase": phase, "errors": book.errors, "advice": cause.advice if cause else None}


def _newer(newer: Build | None) -> dict[str, Any] | None:
    if newer is None:
        return None
    return {
        "id": plain(newer.id, 64),
        "status": plain(newer.status, 40),
        "commit": plain(newer.commit or newer.changelist or "", 64),
        "author": trigger_text(newer.triggered_by),
    }


def _line(line: LogLine) -> list[str | None]:
    return [line.timestamp and plain(line.timestamp, 40), line.level, line.shown]


def no_build(operator: str | None, *, over: bool) -> dict[str, Any]:
    """Say why a task instance has no build to show.

    :param operator: the class of its operator; None if there is no such task instance.
    :param over: whether it has ended.
    """
    if operator is None:
        return _message("none", "There is no such task instance (any more).")
    ours = operator.startswith("BuildPixel")
    if over and ours:
        return _message("none", "This task ended before it had a build; its log says why.")
    if over:
        return _message("none", "This task has no BuildPixel build.")
    text = "No build yet. It shows here as soon as the task has started or found one."
    if not ours:
        text = "This task has no BuildPixel build (so far)."
    return _message("waiting", text, IDLE_REFRESH)


def not_shown(conn_id: str, reason: str) -> dict[str, Any]:
    """Say why a build that a task has cannot be shown."""
    return _message("none", reason.format(conn_id=plain(conn_id, 250)))


TOKEN_REPLACED = (
    "The token of the connection {conn_id} was replaced since this task had its build, so Airflow "
    "cannot tell any more that it is this task's. Whoever may edit the connection still sees it."
)
CONNECTION_UNUSABLE = "The connection {conn_id} is not there, or cannot be used."


def read_error(error: Exception) -> dict[str, Any]:
    """Say that BuildPixel could not be asked."""
    return _message("trouble", shown(str(error)), IDLE_REFRESH)


def _message(kind: str, text: str, again: float | None = None) -> dict[str, Any]:
    return {"kind": kind, "message": text, "again": again}


def list_row(
    place: TaskInstanceKey, record: BuildRecord, state: str | None, seconds: float | None
) -> dict[str, Any]:
    """Give a line of the list of builds.

    :param state: the task's.
    :param seconds: since the task had the build, until its end or so far.
    """
    what = " ".join(part for part in (record.platform, record.build_type) if part)
    return {
        "build": plain(record.build_id, 64),
        "title": plain(what or record.build_id, 100),
        "branch": plain(record.branch or "", 200),
        "commit": plain(record.commit or "", 64),
        "task": vars(place) | {"state": state or "none"},
        "page": record.page(place).removeprefix("buildpixel/"),
        "seconds": seconds,
    }
