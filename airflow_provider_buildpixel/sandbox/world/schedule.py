"""The pending changes of all builds in one heap, the earliest first.

A build has at most one entry here, and no task or timer of its own.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

Action = Callable[[float], None]


class Schedule:
    """Actions, ordered by the sandbox time at which they are due."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Action]] = []
        self._order = count()
        self.on_earlier: Callable[[], None] = lambda: None

    def at(self, due: float, action: Action) -> None:
        """Schedule an action; call `on_earlier` if it is now the first one due."""
        heapq.heappush(self._heap, (due, next(self._order), action))
        if self._heap[0][2] is action:
            self.on_earlier()

    @property
    def next_due(self) -> float | None:
        """Return when the next action is due."""
        return self._heap[0][0] if self._heap else None

    def run(self, now: float) -> None:
        """Run the actions that are due, in order; each receives its own due time."""
        while self._heap and self._heap[0][0] <= now:
            due, _, action = heapq.heappop(self._heap)
            action(due)
