"""A server in a thread of its own, with calls into it from other threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_buildpixel.sandbox.server.loop_thread import LoopThread

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from airflow_provider_buildpixel.sandbox.server.server import Server

T = TypeVar("T")


class ServerThread:
    """A running server and its thread.

    :param make: creates the server; it is called in the server's event loop.
    """

    def __init__(self, make: Callable[[], Server]) -> None:
        self._make = make
        self._thread = LoopThread("buildpixel-sandbox")
        self.server: Server
        self.ports = (0, 0)

    def start(self) -> None:
        """Start the server and wait until it accepts connections."""
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
        """Stop the server and its thread, and wait for both."""
        self._thread.call(self.server.stop())
        self._thread.stop()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the server's loop and return its result."""
        return self._thread.call(work)

    def run(self, work: Callable[[], T]) -> T:
        """Run a function in the server's loop and return its result."""

        async def inside() -> T:
            return work()

        return self._thread.call(inside())
