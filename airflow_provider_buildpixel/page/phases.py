"""The phases of a build and their durations, as far as its recent log lines show them.

The documentation names the first log line of compile, cook and stage; everything before them is
the source sync. BuildPixel returns only recent lines, so a first line may be missing. Then lines
that Unreal's tools write in one phase only identify the phase, but not its start.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_buildpixel.api import fields
from airflow_provider_buildpixel.builds.logs import PHASES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from airflow_provider_buildpixel.api.model import Build
    from airflow_provider_buildpixel.builds.logs import LogLine


SYNC, UPLOAD = "source sync", "upload"
NAMES = (SYNC, *(name for name, _ in PHASES), UPLOAD)

FAILED = "failed"
"""State of the phase in which a build failed."""

COMPLETE_LOG_LINES = 50
"""Below this number of lines a log counts as complete; BuildPixel does not document its limit."""

_TYPICAL_LINES = (
    ("compile", re.compile(r"\[\d+/\d+\] |UnrealBuildTool")),
    ("cook", re.compile(r"LogCook:")),
    ("stage", re.compile(r"LogStaging:")),
    (UPLOAD, re.compile(r"Upload(?:ing|ed)\b")),
)


@dataclass(frozen=True)
class Phase:
    """One phase of a build.

    :param state: ``done``, ``running`` or ``upcoming``. In a build that did not succeed, the phase
        that it reached is ``failed`` or ``superseded``, and later ones are ``unreached``.
    :param start: when the phase began; None if unknown.
    :param end: when it ended, or the present time while it runs; None if unknown.
    """

    name: str
    state: str
    start: datetime | None = None
    end: datetime | None = None

    @property
    def seconds(self) -> float | None:
        """The duration in seconds; None if unknown."""
        if self.start is None or self.end is None:
            return None
        return max(0.0, (self.end - self.start).total_seconds())


def timeline(build: Build, lines: Sequence[LogLine], now: datetime) -> tuple[Phase, ...]:
    """Return all phases in their order.

    :param lines: recent log lines, oldest first; earlier ones may be missing.
    :param now: the present time: the end of a phase that is running.
    """
    starts = _starts(build, lines)
    last = len(NAMES) - 1 if build.status.succeeded else max(starts, default=-1)
    ends = {index: starts.get(index + 1) for index in range(last)} | {last: _end(build, lines, now)}
    return tuple(
        Phase(name, _state(build, index, last), starts.get(index), ends.get(index))
        for index, name in enumerate(NAMES)
    )


def _starts(build: Build, lines: Sequence[LogLine]) -> dict[int, datetime | None]:
    """Return the start of each phase in the log, by its index; phases never go backwards."""
    starts: dict[int, datetime | None] = {}
    for line in lines:
        phase = line.phase or _phase_of_typical_line(line)
        index = NAMES.index(phase) if phase else 0
        if index > max(starts, default=-1):
            # If the log begins in the middle of a phase, the phase's start is unknown.
            is_start = starts or line.phase or (not index and len(lines) < COMPLETE_LOG_LINES)
            starts[index] = fields.timestamp(line.timestamp) if is_start else None
    if not starts and not build.status.queued and not build.status.terminal:
        starts[0] = None  # it runs and has no log lines yet
    return starts


def _phase_of_typical_line(line: LogLine) -> str | None:
    return next((name for name, pattern in _TYPICAL_LINES if pattern.match(line.message)), None)


def _end(build: Build, lines: Sequence[LogLine], now: datetime) -> datetime | None:
    if not build.status.terminal:
        return now
    return build.finished_at or (fields.timestamp(lines[-1].timestamp) if lines else None)


def _state(build: Build, index: int, last: int) -> str:
    if index < last or build.status.succeeded:
        return "done"
    if not build.status.terminal:
        return "running" if index == last else "upcoming"
    if index > last:
        return "unreached"
    return "superseded" if build.status.superseded else FAILED
