"""Cancels a transfer from a signal handler: at once, and without taking locks."""

from __future__ import annotations

import queue
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_provider_buildpixel.api.errors import BuildPixelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class DownloadCancelledError(BuildPixelError):
    """The download was cancelled because its task was killed."""


class CancelToken:
    """Cancels a download; a task's ``on_kill`` calls :meth:`cancel`."""

    def __init__(self) -> None:
        self.cancelled = False
        # A signal handler may call put() while the same thread is inside get().
        self._wake_ups: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._callbacks: list[Callable[[], None]] = []

    def cancel(self) -> None:
        """Cancel the download, wherever it is waiting."""
        self.cancelled = True
        self._wake_ups.put(None)
        for callback in tuple(self._callbacks):
            callback()

    def raise_if_cancelled(self) -> None:
        """Raise if the download was cancelled.

        :raises DownloadCancelledError: it was.
        """
        if self.cancelled:
            raise DownloadCancelledError("the download was stopped because its task was killed")

    def sleep(self, seconds: float) -> None:
        """Wait, unless the download is cancelled meanwhile.

        :raises DownloadCancelledError: it was cancelled.
        """
        try:
            self._wake_ups.get(timeout=seconds)
        except queue.Empty:
            return
        self.raise_if_cancelled()

    @contextmanager
    def on_cancel(self, callback: Callable[[], None]) -> Iterator[None]:
        """Also call ``callback`` if the download is cancelled while the block runs."""
        self._callbacks.append(callback)
        try:
            self.raise_if_cancelled()
            yield
        finally:
            self._callbacks.remove(callback)
