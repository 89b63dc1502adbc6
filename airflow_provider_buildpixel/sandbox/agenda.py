"""What is going to happen in the world, soonest first, in one heap.

A build that waits costs nothing: it has at most one entry here and no task or timer of its own.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

Action = Callable[[float], None]


class Agenda:
    """Actions by the sandbox time at which they are due."""

    def __init__(self) -> None:
        """Start empty."""
        self._heap: list[tuple[float, int, Action]] = []
        self._order = count()
        self.on_earlier: Callable[[], None] = lambda: None

    def at(self, due: float, action: Action) -> None:
        """Note an action; whoever sleeps until the next one is told if this comes sooner."""
        heapq.heappush(self._heap, (due, next(self._order), action))
        if self._heap[0][2] is action:
            self.on_earlier()

    @property
    def next_due(self) -> float | None:
        """Say when the next action is due."""
        return self._heap[0][0] if self._heap else None

    def run(self, now: float) -> None:
        """Run what is due, in order, each with its own due time as the present."""
        while self._heap and self._heap[0][0] <= now:
            due, _, action = heapq.heappop(self._heap)
            action(due)
