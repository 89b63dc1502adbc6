"""What a wait for one build can request, how often it reads, and how it idles."""

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

    :param hint: the terminal status that an event reported; such a read is made at once.
    :param routine: nothing has happened since the last read, only time has passed.
    :param safety: a routine read while the channel is connected, which may be delayed.
    """

    hint: Status | None = None
    routine: bool = False
    safety: bool = False


@dataclass(frozen=True)
class Listen:
    """Wait for an event, for at most this many seconds."""

    seconds: float


@dataclass(frozen=True)
class Done:
    """REST reported this terminal build."""

    build: Build


@dataclass(frozen=True)
class Expired:
    """A deadline has passed.

    :param queue: whether it was the deadline for leaving the queue.
    """

    queue: bool = False


Action = Read | Listen | Done | Expired


class IdleTerms(NamedTuple):
    """For how long a wait needs no call while reads return the known status.

    :param status: the known status.
    :param since: a read that began before this instant does not count.
    :param pause: seconds after a counted read during which the wait needs no call.
    :param until: the instant at which it needs a call, whatever was read.
    """

    status: Status
    since: float
    pause: float
    until: float


@dataclass(frozen=True)
class Pacing:
    """How often a wait reads, and how long it tolerates failures. All but one in seconds.

    :param poll_interval: between reads while the channel is disconnected.
    :param safety_factor: between reads while the channel is connected, in poll intervals.
    :param join_wait: how long the first read waits for the channel to join the build's room.
    :param hint_gap: between reads that repeated hints cause.
    :param not_found_grace: how long a 404 is taken for a build that is not visible yet.
    :param trouble_timeout: how long reads may fail without interruption before the wait fails.
    """

    poll_interval: float = 30.0
    safety_factor: float = 10.0
    join_wait: float = 3.0
    hint_gap: float = 1.0
    not_found_grace: float = 60.0
    trouble_timeout: float = 3600.0


@dataclass(frozen=True)
class BuildRead:
    """REST returned the build, in a read that began at ``since``; not an event of the channel."""

    build: Build
    since: float


@dataclass(frozen=True)
class ReadFailed:
    """A requested read failed; not an event of the channel."""

    error: BuildPixelError


class ReadTime(NamedTuple):
    """When a read took place; all builds of a list share one.

    :param since: when it began.
    :param at: when its answer arrived.
    """

    since: float
    at: float


class IdleWait:
    """Decides whether an idle wait may stay idle after a read."""

    __slots__ = ("_known_status", "_last_read", "_pause", "_since", "_until", "_wake_at")

    def __init__(self) -> None:
        self._known_status: str | None = None
        self._last_read: ReadTime | None = None
        self._wake_at = self._since = self._pause = self._until = -inf

    def go_idle(self, terms: IdleTerms | None, wake_at: float) -> None:
        """Start to idle.

        :param terms: from the tracker; None if any event or read must wake the wait.
        :param wake_at: when to wake if no read returns the build.
        """
        self._wake_at = wake_at
        if terms is None:
            self._known_status = None
        else:
            self._known_status, self._since, self._pause, self._until = terms

    def on_status(self, status: str, read_time: ReadTime) -> bool:
        """Handle the status that a read returned; return whether the wait may stay idle."""
        if status != self._known_status or read_time.at >= self._until:
            return False
        if read_time.since >= self._since:
            self._last_read = read_time
        return True

    def wake_at(self) -> float:
        """Return the instant at which to wake, as far as it is known now."""
        if self._known_status is None or self._last_read is None:
            return self._wake_at
        return min(self._last_read.at + self._pause, self._until)

    def wake(self) -> None:
        """Stop idling."""
        self._known_status = None

    def take_last_read(self) -> ReadTime | None:
        """Stop idling; return the last read that showed nothing new, and forget it."""
        self._known_status, last_read, self._last_read = None, self._last_read, None
        return last_read


T = TypeVar("T")

TICK = 1 / 32
"""Seconds by which a timer may be late; a power of two, so that rounding never makes it early."""


class TimerWheel(Generic[T]):
    """Many timers in slots of one tick: none fires early, none more than a tick late."""

    def __init__(self) -> None:
        self._slots: dict[float, set[T]] = {}
        self._order: list[float] = []

    def add(self, item: T, at: float) -> float:
        """Start a timer; return the instant at which it fires, which :meth:`remove` needs."""
        fires_at = ceil(at / TICK) * TICK
        slot = self._slots.get(fires_at)
        if slot is None:
            slot = self._slots[fires_at] = set()
            heappush(self._order, fires_at)
        slot.add(item)
        return fires_at

    def remove(self, item: T, fires_at: float) -> None:
        """Cancel a timer, if it has not fired yet."""
        slot = self._slots.get(fires_at)
        if slot is not None:
            slot.discard(item)
            if not slot:
                del self._slots[fires_at]

    def next_at(self) -> float:
        """Return when the next timer fires; the timer may have been cancelled since."""
        return self._order[0] if self._order else inf

    def pop_due(self, now: float) -> list[T]:
        """Remove and return the items whose timers are due."""
        due: list[T] = []
        while self.next_at() <= now:
            due += self._slots.pop(heappop(self._order), ())
        return due
