"""Passes buffers from one producer to several consumer threads, with constant memory.

Hashing, writing and decompressing all release Python's global lock, so they run in parallel with
each other and with the network. Nothing is copied: every consumer reads the bytes where they were
received, and a buffer is filled again when its last consumer has released it.
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
"""Least number of buffers; with several connections, one for each and two being consumed."""


class AbandonedError(Exception):
    """Raised in a consumer when the transfer ends early: what it has read must not be kept."""


class Buffer:
    """One buffer. The system allocates its memory only where it is written to."""

    def __init__(self) -> None:
        self.memory = memoryview(mmap.mmap(-1, BUFFER_SIZE))
        self._users = 0
        self._lock = threading.Lock()

    def set_users(self, users: int) -> None:
        """Set the number of consumers that will release the buffer."""
        self._users = users

    def release(self) -> bool:
        """Release the buffer for one consumer; return whether it was the last one."""
        with self._lock:
            self._users -= 1
            return self._users == 0


class BufferPool:
    """The buffers, and the threads that consume them.

    :param consumers: each runs in a thread and reads all submitted buffers in order, to the end.
    """

    def __init__(self, consumers: Sequence[Consumer], count: int = MIN_BUFFERS) -> None:
        self._free: queue.SimpleQueue[Buffer | None] = queue.SimpleQueue()
        for _ in range(count):
            self._free.put(Buffer())
        self._queues: list[queue.SimpleQueue[tuple[Buffer, int] | bool]] = [
            queue.SimpleQueue() for _ in consumers
        ]
        self._threads = ThreadPoolExecutor(len(consumers), "buildpixel-consumer")
        self._results: list[Future[None]] = []
        for consumer, submitted in zip(consumers, self._queues, strict=True):
            result = self._threads.submit(consumer, self._read_queue(submitted))
            result.add_done_callback(lambda _: self.wake())
            self._results.append(result)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the consumers, unless they have finished, and wait for them."""
        self._end_queues(complete=False)
        wait(self._results)
        self._threads.shutdown()

    def wake(self) -> None:
        """Wake a waiting :meth:`acquire`; safe in a signal handler."""
        self._free.put(None)

    def acquire(self) -> Buffer | None:
        """Return a free buffer, None when woken before there was one.

        :raises Exception: what a consumer raised.
        """
        buffer = self._free.get()
        if buffer is None:
            self._raise_consumer_error()
        return buffer

    def put_back(self, buffer: Buffer) -> None:
        """Return an acquired buffer to the pool without any content."""
        self._free.put(buffer)

    def submit(self, buffer: Buffer, count: int) -> None:
        """Pass the first ``count`` bytes of a buffer to all consumers."""
        if count == 0:
            self.put_back(buffer)
            return
        buffer.set_users(len(self._queues))
        for submitted in self._queues:
            submitted.put((buffer, count))

    def finish(self) -> None:
        """Signal the end of the data to the consumers, and wait until they are done.

        :raises Exception: what a consumer raised.
        """
        self._end_queues(complete=True)
        for result in self._results:
            result.result()

    def _end_queues(self, *, complete: bool) -> None:
        for submitted in self._queues:
            submitted.put(complete)

    def _raise_consumer_error(self) -> None:
        for result in self._results:
            if result.done():
                self.wake()  # other threads may be waiting too
                result.result()

    def _read_queue(
        self, submitted: queue.SimpleQueue[tuple[Buffer, int] | bool]
    ) -> Iterator[memoryview]:
        while not isinstance(item := submitted.get(), bool):
            buffer, count = item
            yield buffer.memory[:count]
            if buffer.release():
                self._free.put(buffer)
        if not item:
            raise AbandonedError
