"""Runs a server in a thread of its own, and asks it things from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_buildpixel.sandbox.background import LoopThread

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from airflow_provider_buildpixel.sandbox.server import Server

T = TypeVar("T")


class Host:
    """A server and its thread, while it runs."""

    def __init__(self, make: Callable[[], Server]) -> None:
        """Take what makes the server; it is called in the server's own loop."""
        self._make = make
        self._thread = LoopThread("buildpixel-sandbox")
        self.server: Server
        self.ports = (0, 0)

    def start(self) -> None:
        """Return when the server answers."""
        self._thread.start()
        started = False
        try:
            self.ports = self._thread.call(self._start())
            started = True
        finally:
            if not started:
                self._thread.stop()

    async def _start(self) -> tuple[int, int]:
        self.server = self._make()
        return await self.server.start()

    def stop(self) -> None:
        """Return when nothing of the server is left."""
        self._thread.call(self.server.stop())
        self._thread.stop()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the server's loop."""
        return self._thread.call(work)

    def run(self, work: Callable[[], T]) -> T:
        """Run a function in the server's loop."""

        async def inside() -> T:
            return work()

        return self._thread.call(inside())
