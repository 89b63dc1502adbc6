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
"""Alarms that ring before the loop gets a turn."""


class TimerTarget(Protocol):
    """Whom an alarm rings for."""

    def ring(self) -> None:
        """Take note that its time has come."""


class Timers:
    """Sets and rings alarms, on the clock of :func:`time.monotonic`."""

    def __init__(self) -> None:
        self._wheel: TimerWheel[TimerTarget] = TimerWheel()
        self._ringing: deque[TimerTarget] = deque()
        self._at = inf
        self._handle: asyncio.Handle | None = None
        # An own one: that of the wait which sets an alarm is Airflow's for one trigger, and one
        # for all loops could be entered by two threads at once.
        self._context = contextvars.Context()

    def put(self, rung: TimerTarget, at: float) -> float:
        """Set an alarm; give the instant at which it rings, by which it can be taken out."""
        rings_at = self._wheel.put(rung, at)
        if rings_at < self._at:
            self._wind()
        return rings_at

    def take(self, rung: TimerTarget, rings_at: float) -> None:
        """Take an alarm out."""
        self._wheel.take(rung, rings_at)

    def stop(self) -> None:
        """Forget all alarms; the next one that is set starts anew."""
        self._wheel = TimerWheel()
        self._ringing.clear()
        self._wind()

    def _wind(self) -> None:
        """Let the loop come back for the next alarm, if there is one."""
        if self._handle is not None:
            self._handle.cancel()
        self._at = self._wheel.next_at()
        if self._at < inf:
            self._later(self._at - time.monotonic())

    def _later(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._handle = loop.call_later(max(0.0, seconds), self._ring, context=self._context)

    def _ring(self) -> None:
        self._at = -inf  # alarms that are set meanwhile leave the winding to this
        self._ringing.extend(self._wheel.due(time.monotonic()))
        try:
            for _ in range(min(YIELD_EVERY, len(self._ringing))):
                self._ringing.popleft().ring()
        finally:  # a mistake of one does not silence the others
            if self._ringing:
                self._later(0.0)
            else:
                self._wind()
