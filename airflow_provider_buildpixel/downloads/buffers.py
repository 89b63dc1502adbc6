"""Hands buffers from one producer to several consumers, each in a thread, with constant memory.

Hashing, writing and decompressing all let go of Python's lock, so they run beside each other and
beside the network. Nothing is copied: a consumer sees the very bytes that were received, and a
buffer is filled again when the last consumer has moved on.
"""

from __future__ import annotations

import mmap
import queue
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Self

from airflow_provider_buildpixel.api.text import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future
    from types import TracebackType

    Consumer = Callable[[Iterator[memoryview]], None]


BUFFER_SIZE = 4 * MIB
MIN_BUFFERS = 6
"""Buffers at least; one for each connection, and two that are being consumed."""


class AbandonedError(Exception):
    """Tells a consumer that no more will come and that what came is not to be kept."""


class Buffer:
    """One buffer. Its memory is only taken where it is written to."""

    def __init__(self) -> None:
        self.memory = memoryview(mmap.mmap(-1, BUFFER_SIZE))
        self._users = 0
        self._lock = threading.Lock()

    def lend(self, users: int) -> None:
        """Give it to so many consumers."""
        self._users = users

    def release(self) -> bool:
        """Take it back from one consumer; say whether it was the last."""
        with self._lock:
            self._users -= 1
            return self._users == 0


class BufferPool:
    """The buffers, and the threads that consume them.

    :param consumers: take all buffers one after the other, to the end.
    """

    def __init__(self, consumers: Sequence[Consumer], slots: int = MIN_BUFFERS) -> None:
        self._free: queue.SimpleQueue[Buffer | None] = queue.SimpleQueue()
        for _ in range(slots):
            self._free.put(Buffer())
        self._lines: list[queue.SimpleQueue[tuple[Buffer, int] | bool]] = [
            queue.SimpleQueue() for _ in consumers
        ]
        self._threads = ThreadPoolExecutor(len(consumers), "buildpixel-belt")
        self._ends: list[Future[None]] = []
        for consumer, line in zip(consumers, self._lines, strict=True):
            end = self._threads.submit(consumer, self._views(line))
            end.add_done_callback(lambda _: self.wake())
            self._ends.append(end)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the consumers, unless they have finished, and wait for them."""
        self._tell_all(keep=False)
        wait(self._ends)
        self._threads.shutdown()

    def wake(self) -> None:
        """Make a waiting :meth:`blank` look around; safe in a signal handler."""
        self._free.put(None)

    def acquire(self) -> Buffer | None:
        """Give a buffer to fill, None when woken before there was one.

        :raises Exception: what a consumer raised.
        """
        slot = self._free.get()
        if slot is None:
            self._raise()
        return slot

    def send(self, slot: Buffer, count: int) -> None:
        """Hand the first bytes of a buffer to all consumers."""
        if count == 0:
            self._free.put(slot)
            return
        slot.lend(len(self._lines))
        for line in self._lines:
            line.put((slot, count))

    def finish(self) -> None:
        """Tell the consumers that this was all, and wait until they are done.

        :raises Exception: what a consumer raised.
        """
        self._tell_all(keep=True)
        for end in self._ends:
            end.result()

    def _tell_all(self, *, keep: bool) -> None:
        for line in self._lines:
            line.put(keep)

    def _raise(self) -> None:
        for end in self._ends:
            if end.done():
                self.wake()  # who else is waiting
                end.result()

    def _views(self, line: queue.SimpleQueue[tuple[Buffer, int] | bool]) -> Iterator[memoryview]:
        while not isinstance(item := line.get(), bool):
            slot, count = item
            yield slot.memory[:count]
            if slot.release():
                self._free.put(slot)
        if not item:
            raise AbandonedError
