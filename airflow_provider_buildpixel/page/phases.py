"""How long each phase of a build took, as far as its recent log lines show it.

The documentation names a first line for compile, cook and stage. What comes before is the source
sync. As only the recent lines are there, that line may be gone: then lines that Unreal's tools
write in one phase only tell which it is, without its start.
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

COMPLETE_LOG_LINES = 50
"""Lines from which on the beginning of the log may be missing; how many come is unspecified."""

_HINTS = (
    ("compile", re.compile(r"\[\d+/\d+\] |UnrealBuildTool")),
    ("cook", re.compile(r"LogCook:")),
    ("stage", re.compile(r"LogStaging:")),
    (UPLOAD, re.compile(r"Upload(?:ing|ed)\b")),
)


@dataclass(frozen=True)
class Phase:
    """One phase of a build.

    :param state: ``done``, ``now``, ``ahead``; of a build that did not succeed, ``bad`` where it
        failed, ``cut`` where it was superseded, and ``never``.
    :param start: when it began, and
    :param end: when it ended, or that it has not until now; None where that is not known.
    """

    name: str
    state: str
    start: datetime | None = None
    end: datetime | None = None

    @property
    def seconds(self) -> float | None:
        """How long it took; None where that is not known."""
        if self.start is None or self.end is None:
            return None
        return max(0.0, (self.end - self.start).total_seconds())


def timeline(build: Build, lines: Sequence[LogLine], now: datetime) -> tuple[Phase, ...]:
    """Give the phases, in their order.

    :param lines: the recent lines, the oldest first; earlier ones may be missing.
    :param now: the end, so far, of a build that has not ended.
    """
    starts = _starts(build, lines)
    last = len(NAMES) - 1 if build.status.succeeded else max(starts, default=-1)
    ends = {place: starts.get(place + 1) for place in range(last)} | {last: _end(build, lines, now)}
    return tuple(
        Phase(name, _state(build, place, last), starts.get(place), ends.get(place))
        for place, name in enumerate(NAMES)
    )


def _starts(build: Build, lines: Sequence[LogLine]) -> dict[int, datetime | None]:
    """Find where each phase that shows begins: by its place, never going back to an earlier one."""
    found: dict[int, datetime | None] = {}
    for line in lines:
        named = line.phase or _hinted(line)
        place = NAMES.index(named) if named else 0
        if place > max(found, default=-1):
            # What the first line there is does not open began before it.
            known = found or line.phase or (not place and len(lines) < COMPLETE_LOG_LINES)
            found[place] = fields.instant(line.timestamp) if known else None
    if not found and not build.status.queued and not build.status.terminal:
        found[0] = None  # it runs, and has said nothing yet
    return found


def _hinted(line: LogLine) -> str | None:
    return next((name for name, hint in _HINTS if hint.match(line.message)), None)


def _end(build: Build, lines: Sequence[LogLine], now: datetime) -> datetime | None:
    if not build.status.terminal:
        return now
    return build.finished_at or (fields.instant(lines[-1].timestamp) if lines else None)


def _state(build: Build, place: int, last: int) -> str:
    if place < last or build.status.succeeded:
        return "done"
    if not build.status.terminal:
        return "now" if place == last else "ahead"
    if place > last:
        return "never"
    return "cut" if build.status.superseded else "bad"
