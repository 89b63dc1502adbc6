"""How thousands of waits sleep: at the cost of a comparison for each list that shows no news.

A sleeper is left alone while reads show the status that it knows. It does not take note of
each: it keeps the last, and learns of that when it wakes. One wheel holds the alarms of all.
"""

from __future__ import annotations

from heapq import heappop, heappush
from math import ceil, inf
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from airflow_provider_buildpixel.core.watch import Ease

T = TypeVar("T")

TICK = 1 / 32
"""Seconds by which an alarm may come late; a power of two, so that no rounding makes it early."""


class Stamp(NamedTuple):
    """When a read was made: many builds of one list share it.

    :param since: when it began.
    :param at: when it was answered.
    """

    since: float
    at: float


class Sleeper:
    """What one wait is known to be content with while it sleeps."""

    __slots__ = ("_content", "_due", "_pause", "_seen", "_since", "_until")

    def __init__(self) -> None:
        self._content: str | None = None
        self._seen: Stamp | None = None
        self._due = self._since = self._pause = self._until = -inf

    def lie_down(self, ease: Ease | None, due: float) -> None:
        """Fall asleep.

        :param ease: as the watch says; None for a sleep that any news of the build ends.
        :param due: when to wake if no read shows the build.
        """
        self._due = due
        if ease is None:
            self._content = None
        else:
            self._content, self._since, self._pause, self._until = ease

    def shown(self, status: str, stamp: Stamp) -> bool:
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

    def catch_up(self) -> Stamp | None:
        """End the sleep, and give the last read that showed nothing new, once."""
        self._content, seen, self._seen = None, self._seen, None
        return seen


class Wheel(Generic[T]):
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
