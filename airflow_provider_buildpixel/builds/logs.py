"""What a build's log tells: lines, phases, errors and their likely cause."""

from __future__ import annotations

import re
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_buildpixel.api import fields
from airflow_provider_buildpixel.api.text import plain, redacted

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
"""Characters of a line that are kept: twice what is shown, as escapes are not."""

MAX_RECENT_LINES = 1_000
"""Lines of one answer that are looked at: the last ones."""

PHASES = (
    ("compile", re.compile(r"\*\*\* COMPILING")),
    ("cook", re.compile(r"LogCook: (?:Display: )?Cooking maps")),
    ("stage", re.compile(r"LogStaging: (?:Display: )?Staging")),
)
"""The phases that the documentation names a line for, in their order."""

_NAMED = re.compile(r"log|lines", re.IGNORECASE)
_END = re.compile(r"\bBUILD (?:SUCCESSFUL|FAILED)\b")


@dataclass(frozen=True)
class LogLine:
    """One line of a build's log; ``level`` is ``info``, ``warn`` or ``error``.

    :param cut: how many characters of the message were not kept.
    """

    message: str
    level: str = "info"
    timestamp: str | None = None
    cut: int = 0

    @classmethod
    def from_json(cls, data: Any) -> LogLine | None:
        """Read a line: an object, or a string that may start with its time; None if neither."""
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
    def shown(self) -> str:
        """The message, safe for a log and a terminal."""
        return redacted(plain(self.message, more=self.cut))

    @property
    def phase(self) -> str | None:
        """The phase that this line starts, if it does."""
        return next((name for name, marker in PHASES if marker.search(self.message[:500])), None)

    @property
    def ends_build(self) -> bool:
        """Whether the build says in this line that it is over."""
        return bool(_END.search(self.message[:500]))

    @property
    def key(self) -> tuple[object, str]:
        """What makes two copies of a line the same one, whatever the form of its time."""
        return (fields.instant(self.timestamp) or self.timestamp, self.message)


def _parse_timestamped(text: str) -> LogLine:
    if found := _TIMESTAMPED.match(text[:100]):
        message = found["message"] + text[100:]
        return _bounded_line(message, _level(found["level"], message), found["timestamp"])
    return _bounded_line(text, _level(None, text), None)


def _bounded_line(message: str, level: str, timestamp: str | None) -> LogLine:
    """Make a line of what is kept of it: thousands of them wait in memory."""
    cut = max(0, len(message) - MAX_MESSAGE)
    return LogLine(message[:MAX_MESSAGE], level, timestamp and timestamp[:40], cut)


def _first(data: Mapping[str, Any], *keys: str) -> str | None:
    return next((found for key in keys if (found := fields.text(data.get(key))) is not None), None)


def _level(name: str | None, message: str) -> str:
    """Normalise a level; a line that has none is judged by Unreal's own marks."""
    if name:
        level = name.lower()
        level = _LEVEL_NAMES.get(level, level)
        return level if level in LEVELS else "info"
    head = message[:500]
    if "Error:" in head or head.startswith(("fatal:", "error:")):
        return "error"
    return "warn" if "Warning:" in head else "info"


def recent_lines(raw: Mapping[str, Any]) -> tuple[LogLine, ...]:
    """Find the recent log lines in ``GET /builds/:id``, whose field and shape are unspecified.

    Accepted: a field that speaks of logs or lines and holds a list of objects or strings, one
    text, or an object (a page, say) around one of these. Of several fields the richest counts, as
    a ``logLevel`` or a ``pipelines`` speaks of them too. They are given in the order of time.
    """
    named = (value for key, value in raw.items() if _NAMED.search(key))
    return in_order(max((tuple(_lines(value)) for value in named), key=len, default=()))


def in_order(lines: Sequence[LogLine]) -> tuple[LogLine, ...]:
    """Put lines in the order of time, where they come the newest first."""
    first, last = _time_of_first(lines), _time_of_first(reversed(lines))
    backwards = first is not None and last is not None and first > last
    return tuple(reversed(lines)) if backwards else tuple(lines)


def _time_of_first(lines: Iterable[LogLine]) -> datetime | None:
    times = (fields.instant(line.timestamp) for line in lines)
    return next((at for at in times if at is not None), None)


def _lines(value: Any, depth: int = 0) -> Iterator[LogLine]:
    if isinstance(value, str):
        if len(value.split(maxsplit=1)) > 1:  # one word is a cursor, a URL, a level: no log
            last = value.rstrip().rsplit("\n", MAX_RECENT_LINES)[-MAX_RECENT_LINES:]
            yield from (_parse_timestamped(line.rstrip("\r")) for line in last if line.strip())
    elif isinstance(value, list):
        yield from (line for item in value[-MAX_RECENT_LINES:] if (line := LogLine.from_json(item)))
    elif isinstance(value, dict) and depth < 3:  # no documented nesting is deeper
        for inner in value.values():
            if isinstance(inner, list | dict | str):
                yield from _lines(inner, depth + 1)


def _digest(message: str) -> object:
    """Give what a message is remembered by, which for a long one is short."""
    return message if len(message) < 200 else (message[:100], len(message), hash(message))


class LogTail:
    """Puts the live feed and REST's recent lines together, each line once.

    A line with a time is the same line wherever it comes from. Where REST gives no times, lines
    are counted: as many are given as the richer of the two sources has of the same text.
    """

    def __init__(self, memory: int = 5_000) -> None:
        self._memory = memory
        self._timed: OrderedDict[tuple[object, object], int] = OrderedDict()
        self._heard: OrderedDict[object, tuple[int, int]] = OrderedDict()

    def add_live(self, line: LogLine) -> bool:
        """Take a line of the feed; tell whether it is new."""
        if line.timestamp and not self._first(line):
            return False
        text = _digest(line.message)
        heard, given = self._heard.get(text, (0, 0))
        self._remember(self._heard, text, (heard + 1, given))
        return self._more(line, heard + 1)

    def add_recent(self, lines: Iterable[LogLine]) -> list[LogLine]:
        """Take the recent lines of a read; give those that are new, in order."""
        counts: Counter[str] = Counter()
        new = []
        for line in deque(lines, self._memory):  # what is not remembered would come every time
            counts[line.message] += 1
            if self._first(line) if line.timestamp else self._more(line, counts[line.message]):
                new.append(line)
        return new

    def _first(self, line: LogLine) -> bool:
        at, message = line.key
        key = (at, _digest(message))
        known = key in self._timed
        self._remember(self._timed, key, 1)
        return not known

    def _more(self, line: LogLine, count: int) -> bool:
        text = _digest(line.message)
        heard, given = self._heard.get(text, (0, 0))
        self._remember(self._heard, text, (heard, max(count, given)))
        return count > given

    def _remember(self, kept: OrderedDict[K, V], key: K, value: V) -> None:
        kept[key] = value
        kept.move_to_end(key)
        if len(kept) > self._memory:
            kept.popitem(last=False)


@dataclass(frozen=True)
class Cause:
    """Why a build failed, as far as its log tells, and what helps.

    :param permanent: whether the same build would fail again.
    """

    name: str
    advice: str
    permanent: bool = True


_CAUSES = (
    (
        re.compile(r"Perforce password \(P4PASSWD\) invalid or unset|Your session has expired"),
        Cause("perforce_ticket", "store a fresh Perforce ticket in BuildPixel's integrations"),
    ),
    (
        re.compile(r"could not read Username for|Repository not found|Authentication failed for"),
        Cause("repository", "give the BuildPixel GitHub App access to the repository again"),
    ),
    (
        re.compile(r"\): (?:fatal )?error(?: [A-Z]+\d+)?:|: fatal error:|LogPlayLevel: Error:"),
        Cause("compile", "mend the code: the compiler's first error is the one that counts"),
    ),
    (
        re.compile(r"LogCook: Error:|Failed to cook"),
        Cause("cook", "open the named asset in the editor and mend or re-save it"),
    ),
)

NO_ERROR_LINE = Cause(
    "no_word",
    "its log stops without an error line: the build process may have died; try it again",
    permanent=False,
)


def is_permanent_cause(cause: str | None) -> bool:
    """Tell, by its name, a cause that another try cannot mend."""
    return any(known.name == cause and known.permanent for _, known in _CAUSES)


def cause_of(lines: Iterable[str]) -> Cause | None:
    """Recognise the first error line whose cause is known."""
    for line in lines:
        for pattern, cause in _CAUSES:
            if pattern.search(line[:2_000]):
                return cause
    return None


MAX_ERRORS = 20


class LogSummary:
    """What was learnt from a build's lines so far: its phase, its first errors, its end."""

    def __init__(self) -> None:
        self.phase: str | None = None
        self.errors: list[str] = []
        self.ended = False

    def add(self, line: LogLine) -> str | None:
        """Take a line; give the phase if it starts a new one."""
        self.ended = self.ended or line.ends_build
        if line.level == "error" and len(self.errors) < MAX_ERRORS and not line.ends_build:
            self.errors.append(line.shown)
        phase = line.phase
        if phase is None or phase == self.phase:
            return None
        self.phase = phase
        return phase

    @classmethod
    def of(cls, lines: Iterable[LogLine]) -> LogSummary:
        """Read a whole tail."""
        book = cls()
        for line in lines:
            book.add(line)
        return book
