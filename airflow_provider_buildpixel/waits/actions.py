"""What a wait for one build can want, and how often it may."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from math import ceil, inf
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from airflow_provider_buildpixel.api.errors import BuildPixelError
    from airflow_provider_buildpixel.api.model import Build, Status


@dataclass(frozen=True)
class Read:
    """Read the build over REST now.

    :param hint: the end that a rumour tells of; such a read is urgent.
    :param routine: nothing has happened since the last read, only time has passed.
    :param safety: such a read while the channel stands, which may wait a while.
    """

    hint: Status | None = None
    routine: bool = False
    safety: bool = False


@dataclass(frozen=True)
class Listen:
    """Wait for an event, at most so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Done:
    """REST reported this terminal build."""

    build: Build


@dataclass(frozen=True)
class Expired:
    """The time is over; ``queue`` if it was the time in the queue."""

    queue: bool = False


Action = Read | Listen | Done | Expired


class IdleTerms(NamedTuple):
    """How a wait may be left alone: as long as reads show what is known, and often enough.

    :param status: what is known.
    :param since: a read that began earlier does not count.
    :param pause: seconds after such a read within which the wait wants nothing.
    :param until: the instant at which it wants a turn, whatever was read.
    """

    status: Status
    since: float
    pause: float
    until: float


@dataclass(frozen=True)
class Pacing:
    """How often a wait reads, and how much it puts up with. All in seconds.

    :param poll_interval: between reads while the channel is down.
    :param backstop: between reads while the channel stands, in poll intervals.
    :param join_wait: how long the first read waits for the room to be joined.
    :param rumour_gap: between reads for the sake of repeated rumours.
    :param absence: how long a 404 is taken for a build that is not visible yet.
    :param patience: how long reads may fail without a break before the wait gives up.
    """

    poll_interval: float = 30.0
    backstop: float = 10.0
    join_wait: float = 3.0
    hint_gap: float = 1.0
    absence: float = 60.0
    patience: float = 3600.0


@dataclass(frozen=True)
class BuildRead:
    """Not of the channel: REST reported the build, in a read that began at ``since``."""

    build: Build
    since: float


@dataclass(frozen=True)
class ReadFailed:
    """Not of the channel: a read that was asked for failed."""

    error: BuildPixelError


class ReadTime(NamedTuple):
    """When a read was made: many builds of one list share it.

    :param since: when it began.
    :param at: when it was answered.
    """

    since: float
    at: float


class IdleWait:
    """What one wait is known to be content with while it sleeps."""

    __slots__ = ("_content", "_due", "_pause", "_seen", "_since", "_until")

    def __init__(self) -> None:
        self._content: str | None = None
        self._seen: ReadTime | None = None
        self._due = self._since = self._pause = self._until = -inf

    def lie_down(self, ease: IdleTerms | None, due: float) -> None:
        """Fall asleep.

        :param ease: as the watch says; None for a sleep that any news of the build ends.
        :param due: when to wake if no read shows the build.
        """
        self._due = due
        if ease is None:
            self._content = None
        else:
            self._content, self._since, self._pause, self._until = ease

    def shown(self, status: str, stamp: ReadTime) -> bool:
        """Take what a read shows; tell whether the wait can sleep on."""
        if status != self._content or stamp.at >= self._until:
            return False
        if stamp.since >= self._since:
            self._seen = stamp
        return True

    def due(self) -> float:
        """Give the instant of waking, as far as is known by now."""
        if self._content is None or self._seen is None:
            return self._due
        return min(self._seen.at + self._pause, self._until)

    def rouse(self) -> None:
        """End the sleep."""
        self._content = None

    def catch_up(self) -> ReadTime | None:
        """End the sleep, and give the last read that showed nothing new, once."""
        self._content, seen, self._seen = None, self._seen, None
        return seen


T = TypeVar("T")

TICK = 1 / 32
"""Seconds by which an alarm may come late; a power of two, so that no rounding makes it early."""


class TimerWheel(Generic[T]):
    """The alarms of many, in slots of a tick each: none comes early, none over a tick late."""

    def __init__(self) -> None:
        self._slots: dict[float, set[T]] = {}
        self._order: list[float] = []

    def put(self, item: T, at: float) -> float:
        """Set an alarm; give the instant at which it comes, by which it can be taken out."""
        rings_at = ceil(at / TICK) * TICK
        slot = self._slots.get(rings_at)
        if slot is None:
            slot = self._slots[rings_at] = set()
            heappush(self._order, rings_at)
        slot.add(item)
        return rings_at

    def take(self, item: T, rings_at: float) -> None:
        """Take an alarm out, if it is still there."""
        slot = self._slots.get(rings_at)
        if slot is not None:
            slot.discard(item)
            if not slot:
                del self._slots[rings_at]

    def next_at(self) -> float:
        """Give the instant of the next alarm; of one that was taken out, perhaps."""
        return self._order[0] if self._order else inf

    def due(self, now: float) -> list[T]:
        """Take out whatever is due."""
        found: list[T] = []
        while self.next_at() <= now:
            found += self._slots.pop(heappop(self._order), ())
        return found
