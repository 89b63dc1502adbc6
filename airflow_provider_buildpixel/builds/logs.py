"""A build's log: its lines, phases and errors."""

from __future__ import annotations

import re
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_buildpixel.api import fields
from airflow_provider_buildpixel.api.text import redact, sanitize

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime


K = TypeVar("K")
V = TypeVar("V")

LEVELS = {"info": 0, "warn": 1, "error": 2}

_LEVEL_NAMES = {
    "warning": "warn",
    "err": "error",
    "fatal": "error",
    "critical": "error",
    "severe": "error",
}

_TIMESTAMPED = re.compile(
    r"^\[?(?P<timestamp>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d))\]?\s+"
    r"(?:\[?(?P<level>info|warn(?:ing)?|error|fatal)\]?:?\s+)?(?P<message>.*)$",
    re.IGNORECASE | re.DOTALL,
)

MAX_MESSAGE = 4_000
"""Characters of a line that are kept: twice what is shown, as escapes are removed."""

MAX_RECENT_LINES = 1_000
"""Lines that are read from one answer: the last ones."""

PHASES = (
    ("compile", re.compile(r"\*\*\* COMPILING")),
    ("cook", re.compile(r"LogCook: (?:Display: )?Cooking maps")),
    ("stage", re.compile(r"LogStaging: (?:Display: )?Staging")),
)
"""The phases for which the documentation names a log line, in their order."""

_LOG_FIELD = re.compile(r"log|lines", re.IGNORECASE)
_BUILD_END = re.compile(r"\bBUILD (?:SUCCESSFUL|FAILED)\b")


@dataclass(frozen=True)
class LogLine:
    """One line of a build's log; ``level`` is ``info``, ``warn`` or ``error``.

    :param omitted: characters of the message that were not kept.
    """

    message: str
    level: str = "info"
    timestamp: str | None = None
    omitted: int = 0

    @classmethod
    def from_json(cls, data: Any) -> LogLine | None:
        """Parse an object, or a string that may start with its time; None if it is neither."""
        if isinstance(data, str):
            return _parse_timestamped(data)
        if not isinstance(data, dict):
            return None
        message = _first(data, "message", "line", "text", "msg")
        if message is None:
            return None
        level = _level(_first(data, "level", "severity"), message)
        return _bounded_line(message, level, _first(data, "timestamp", "time", "ts", "at"))

    @property
    def display_text(self) -> str:
        """The message, safe for a log and a terminal: no escapes, no secrets."""
        return redact(sanitize(self.message, more=self.omitted))

    @property
    def phase(self) -> str | None:
        """The phase that this line starts, or None."""
        return next((name for name, marker in PHASES if marker.search(self.message[:500])), None)

    @property
    def ends_build(self) -> bool:
        """Whether this line announces the end of the build."""
        return bool(_BUILD_END.search(self.message[:500]))

    @property
    def key(self) -> tuple[object, str]:
        """Equal for two copies of one line, even where its time is formatted differently."""
        return (fields.timestamp(self.timestamp) or self.timestamp, self.message)


def _parse_timestamped(text: str) -> LogLine:
    if found := _TIMESTAMPED.match(text[:100]):
        message = found["message"] + text[100:]
        return _bounded_line(message, _level(found["level"], message), found["timestamp"])
    return _bounded_line(text, _level(None, text), None)


def _bounded_line(message: str, level: str, timestamp: str | None) -> LogLine:
    """Return a line of bounded length: thousands of lines may be queued in memory."""
    omitted = max(0, len(message) - MAX_MESSAGE)
    return LogLine(message[:MAX_MESSAGE], level, timestamp and timestamp[:40], omitted)


def _first(data: Mapping[str, Any], *keys: str) -> str | None:
    return next((found for key in keys if (found := fields.text(data.get(key))) is not None), None)


def _level(name: str | None, message: str) -> str:
    """Normalise a level; where a line has none, look for Unreal's own markers."""
    if name:
        level = name.lower()
        level = _LEVEL_NAMES.get(level, level)
        return level if level in LEVELS else "info"
    head = message[:500]
    if "Error:" in head or head.startswith(("fatal:", "error:")):
        return "error"
    return "warn" if "Warning:" in head else "info"


def recent_lines(raw: Mapping[str, Any]) -> tuple[LogLine, ...]:
    """Return the recent log lines in ``GET /builds/:id``, oldest first.

    Their field and its form are unspecified. Accepted is a field with ``log`` or ``lines`` in its
    name that holds a list of objects or strings, one text, or an object (such as a page) around
    one of these. Of several such fields the one with the most lines is used, because names such as
    ``logLevel`` or ``pipelines`` match too.
    """
    candidates = (value for key, value in raw.items() if _LOG_FIELD.search(key))
    return in_order(max((tuple(_lines(value)) for value in candidates), key=len, default=()))


def in_order(lines: Sequence[LogLine]) -> tuple[LogLine, ...]:
    """Return the lines oldest first, reversing them where they come newest first."""
    first, last = _first_time(lines), _first_time(reversed(lines))
    is_reversed = first is not None and last is not None and first > last
    return tuple(reversed(lines)) if is_reversed else tuple(lines)


def _first_time(lines: Iterable[LogLine]) -> datetime | None:
    times = (fields.timestamp(line.timestamp) for line in lines)
    return next((at for at in times if at is not None), None)


def _lines(value: Any, depth: int = 0) -> Iterator[LogLine]:
    if isinstance(value, str):
        if len(value.split(maxsplit=1)) > 1:  # one word is a cursor, URL or level, not a log
            tail = value.rstrip().rsplit("\n", MAX_RECENT_LINES)[-MAX_RECENT_LINES:]
            yield from (_parse_timestamped(line.rstrip("\r")) for line in tail if line.strip())
    elif isinstance(value, list):
        yield from (line for item in value[-MAX_RECENT_LINES:] if (line := LogLine.from_json(item)))
    elif isinstance(value, dict) and depth < 3:  # no documented nesting is deeper
        for inner in value.values():
            if isinstance(inner, list | dict | str):
                yield from _lines(inner, depth + 1)


def _message_key(message: str) -> object:
    """Return a key for a message; it is short even where the message is long."""
    return message if len(message) < 200 else (message[:100], len(message), hash(message))


class LogTail:
    """Merges the lines of the live channel and of REST reads, so that each is reported once.

    Lines with the same time and text are the same line. Lines without a time are counted: of each
    text, as many are reported as the source with more of them has.

    :param max_entries: timestamped lines, and texts, that are remembered at most.
    """

    def __init__(self, max_entries: int = 5_000) -> None:
        self._max_entries = max_entries
        self._timestamped: OrderedDict[tuple[object, object], int] = OrderedDict()
        # Of each text: lines received live, and lines reported.
        self._counts: OrderedDict[object, tuple[int, int]] = OrderedDict()

    def add_live(self, line: LogLine) -> bool:
        """Add a line from the live channel; return whether it is new."""
        if line.timestamp and not self._is_first(line):
            return False
        text = _message_key(line.message)
        received, reported = self._counts.get(text, (0, 0))
        self._remember(self._counts, text, (received + 1, reported))
        return self._exceeds_reported(line, received + 1)

    def add_recent(self, lines: Iterable[LogLine]) -> list[LogLine]:
        """Add the recent lines of a read; return those that are new, in order."""
        counts: Counter[str] = Counter()
        new = []
        for line in deque(lines, self._max_entries):  # forgotten lines would be new every time
            counts[line.message] += 1
            if line.timestamp:
                is_new = self._is_first(line)
            else:
                is_new = self._exceeds_reported(line, counts[line.message])
            if is_new:
                new.append(line)
        return new

    def _is_first(self, line: LogLine) -> bool:
        """Return whether this timestamped line is new, and remember it."""
        at, message = line.key
        key = (at, _message_key(message))
        is_known = key in self._timestamped
        self._remember(self._timestamped, key, 1)
        return not is_known

    def _exceeds_reported(self, line: LogLine, count: int) -> bool:
        """Return whether one source has more lines of this text than were reported."""
        text = _message_key(line.message)
        received, reported = self._counts.get(text, (0, 0))
        self._remember(self._counts, text, (received, max(count, reported)))
        return count > reported

    def _remember(self, entries: OrderedDict[K, V], key: K, value: V) -> None:
        entries[key] = value
        entries.move_to_end(key)
        if len(entries) > self._max_entries:
            entries.popitem(last=False)


MAX_ERRORS = 20
"""Error lines of a build that are kept: the first ones."""


class LogSummary:
    """What a build's log lines say so far: its phase, its first errors, whether it has ended."""

    def __init__(self) -> None:
        self.phase: str | None = None
        self.errors: list[str] = []
        self.ended = False

    def add(self, line: LogLine) -> str | None:
        """Add a line; return the phase if the line starts a new one."""
        self.ended = self.ended or line.ends_build
        if line.level == "error" and len(self.errors) < MAX_ERRORS and not line.ends_build:
            self.errors.append(line.display_text)
        phase = line.phase
        if phase is None or phase == self.phase:
            return None
        self.phase = phase
        return phase

    @classmethod
    def from_lines(cls, lines: Iterable[LogLine]) -> LogSummary:
        """Return the summary of all these lines."""
        summary = cls()
        for line in lines:
            summary.add(line)
        return summary
