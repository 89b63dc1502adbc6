"""Stops a transfer from a signal handler: at once, and without locks that it might hold itself."""

from __future__ import annotations

import queue
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_provider_buildpixel.api.errors import BuildPixelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class DownloadCancelledError(BuildPixelError):
    """The transfer was stopped because its task was killed."""


class CancelToken:
    """What ``on_kill`` pulls."""

    def __init__(self) -> None:
        self.cancelled = False
        self._calls: queue.SimpleQueue[None] = queue.SimpleQueue()  # its put may interrupt its get
        self._interrupts: list[Callable[[], None]] = []

    def cancel(self) -> None:
        """Stop the transfer wherever it is waiting."""
        self.cancelled = True
        self._calls.put(None)
        for interrupt in tuple(self._interrupts):
            interrupt()

    def check(self) -> None:
        """Say whether it was pulled.

        :raises StoppedError: it was.
        """
        if self.cancelled:
            raise DownloadCancelledError("the download was stopped because its task was killed")

    def pause(self, seconds: float) -> None:
        """Wait.

        :raises StoppedError: it was pulled meanwhile.
        """
        try:
            self._calls.get(timeout=seconds)
        except queue.Empty:
            return
        self.check()

    @contextmanager
    def interrupting(self, interrupt: Callable[[], None]) -> Iterator[None]:
        """Call this as well when it is pulled while the block runs."""
        self._interrupts.append(interrupt)
        try:
            self.check()
            yield
        finally:
            self._interrupts.remove(interrupt)
