"""The beat of the sandbox: wakes when the next thing on the agenda is due."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from airflow_provider_buildpixel.sandbox.world import World


class Pulse:
    """One timer for the whole world."""

    def __init__(self, world: World, loop: asyncio.AbstractEventLoop) -> None:
        """Take the world whose agenda to follow."""
        self._world, self._loop = world, loop
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False
        self._woken = False

    def start(self) -> None:
        """Follow the agenda from now on."""
        self._world.agenda.on_earlier = self._wake
        self._beat()

    def stop(self) -> None:
        """Stop following it."""
        self._stopped = True
        self._world.agenda.on_earlier = lambda: None
        if self._timer is not None:
            self._timer.cancel()

    def _wake(self) -> None:
        # Under the world's lock; the loop is woken once for however many come together.
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._beat)

    def _beat(self) -> None:
        self._woken = False
        if self._timer is not None:
            self._timer.cancel()
        if self._stopped:
            return
        with self._world.lock:
            now = self._world.now()
            due = self._world.agenda.next_due
        if due is not None:
            self._timer = self._loop.call_later(self._world.clock.real(due - now), self._beat)
