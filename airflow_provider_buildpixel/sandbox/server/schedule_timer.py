"""Runs scheduled actions when they are due."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from airflow_provider_buildpixel.sandbox.world.world import World


class ScheduleTimer:
    """One timer for the whole schedule of a world."""

    def __init__(self, world: World, loop: asyncio.AbstractEventLoop) -> None:
        self._world, self._loop = world, loop
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False
        self._woken = False

    def start(self) -> None:
        """Start to run what is due."""
        self._world.schedule.on_earlier = self._wake
        self._run_due()

    def stop(self) -> None:
        """Cancel the timer."""
        self._stopped = True
        self._world.schedule.on_earlier = lambda: None
        if self._timer is not None:
            self._timer.cancel()

    def _wake(self) -> None:
        # Called with the world's lock held; the loop is woken once for all actions of a burst.
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._run_due)

    def _run_due(self) -> None:
        self._woken = False
        if self._timer is not None:
            self._timer.cancel()
        if self._stopped:
            return
        with self._world.lock:
            now = self._world.now()
            due = self._world.schedule.next_due
        if due is not None:
            self._timer = self._loop.call_later(self._world.clock.real(due - now), self._run_due)
