"""One timer of the event loop for all waits of a monitor, instead of one for each."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections import deque
from math import inf
from typing import Protocol

from airflow_provider_buildpixel.waits.actions import TimerWheel

YIELD_EVERY = 100
"""Timers that fire before the event loop may run other tasks."""


class TimerTarget(Protocol):
    """The object that a timer calls."""

    def on_timer(self) -> None:
        """Handle that the timer has fired."""


class Timers:
    """Schedules and fires timers on the clock of :func:`time.monotonic`."""

    def __init__(self) -> None:
        self._wheel: TimerWheel[TimerTarget] = TimerWheel()
        self._fired: deque[TimerTarget] = deque()
        self._scheduled_at = inf
        self._handle: asyncio.Handle | None = None
        # A separate context: the context of the wait that adds a timer belongs to one Airflow
        # trigger, and two threads could enter one that all loops share at the same time.
        self._context = contextvars.Context()

    def add(self, target: TimerTarget, at: float) -> float:
        """Add a timer; return the instant at which it fires, which :meth:`remove` needs."""
        fires_at = self._wheel.add(target, at)
        if fires_at < self._scheduled_at:
            self._schedule()
        return fires_at

    def remove(self, target: TimerTarget, fires_at: float) -> None:
        """Remove a timer."""
        self._wheel.remove(target, fires_at)

    def clear(self) -> None:
        """Remove all timers; more can be added later."""
        self._wheel = TimerWheel()
        self._fired.clear()
        self._schedule()

    def _schedule(self) -> None:
        """Schedule the loop's callback for the next timer, if there is one."""
        if self._handle is not None:
            self._handle.cancel()
        self._scheduled_at = self._wheel.next_at()
        if self._scheduled_at < inf:
            self._call_later(self._scheduled_at - time.monotonic())

    def _call_later(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._handle = loop.call_later(max(0.0, seconds), self._fire, context=self._context)

    def _fire(self) -> None:
        self._scheduled_at = -inf  # add() does not schedule meanwhile: this method does at its end
        self._fired.extend(self._wheel.pop_due(time.monotonic()))
        try:
            for _ in range(min(YIELD_EVERY, len(self._fired))):
                self._fired.popleft().on_timer()
        finally:  # an error in one target does not stop the others
            if self._fired:
                self._call_later(0.0)
            else:
                self._schedule()
