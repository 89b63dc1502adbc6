"""Fetches a file over several connections at once, a block each, and gives the blocks in order."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from queue import SimpleQueue
from typing import TYPE_CHECKING, Self

from airflow_provider_buildpixel.downloads.buffers import BUFFER_SIZE
from airflow_provider_buildpixel.downloads.http_range import (
    RangeBody,
    RangeRequest,
    classify_response,
)
from airflow_provider_buildpixel.downloads.store import CONNECTION_ERRORS, error_reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from airflow_provider_buildpixel.downloads.buffers import Buffer, BufferPool
    from airflow_provider_buildpixel.downloads.http_range import FileInfo
    from airflow_provider_buildpixel.downloads.store import ArtifactStore, StoreResponse
    from airflow_provider_buildpixel.downloads.throughput import StallDetector


class PartError(Exception):
    """A connection broke, or its answer was not what was asked for; one stream can go on."""


class ParallelDownload:
    """So many connections, each of which fetches the next block that nobody has begun.

    :param opened: makes a store, one for each connection.
    :param span: the first byte, and the one after the last.
    """

    def __init__(
        self,
        opened: Callable[[], ArtifactStore],
        url: str,
        span: tuple[int, int],
        known: FileInfo,
        belt: BufferPool,
        count: int,
        pace: Callable[[], StallDetector],
    ) -> None:
        self._opened, self._url, self._known, self._belt = opened, url, known, belt
        self._pace = pace
        self._next, self._end = span
        self._count = -(-(span[1] - span[0]) // BUFFER_SIZE)
        self._lock = threading.Lock()
        self._stopped = False
        self._stores: set[ArtifactStore] = set()
        # In the order of the file: a block has its place here before anything of it is fetched.
        self._blocks: SimpleQueue[Future[tuple[Buffer, int]] | None] = SimpleQueue()
        self._threads = ThreadPoolExecutor(count, "buildpixel-lane")
        self._ends = [self._threads.submit(self._work) for _ in range(count)]
        for end in self._ends:
            end.add_done_callback(lambda _: self._blocks.put(None))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the connections, and give back the buffers that nobody took."""
        self.interrupt()
        self._threads.shutdown()
        while not self._blocks.empty():
            block = self._blocks.get()
            if block is not None and not block.cancelled() and block.exception() is None:
                self._belt.send(block.result()[0], 0)

    def interrupt(self) -> None:
        """Break all connections; safe in a signal handler."""
        self._stopped = True
        for store in tuple(self._stores):
            store.interrupt()
        self._belt.wake()
        self._blocks.put(None)

    def blocks(self) -> Iterator[tuple[Buffer, int]]:
        """Give the blocks in order, until the end of the file or an interruption.

        :raises LaneError: a connection broke.
        """
        left = self._count
        while left > 0:
            block = self._blocks.get()
            if block is None:
                self._raise()
                return
            yield block.result()
            left -= 1

    def _raise(self) -> None:
        """Raise what a consumer of the belt raised, which the connections hear first."""
        for end in self._ends:
            if end.done():
                end.result()

    def _work(self) -> None:
        with closing(self._opened()) as store:
            self._stores.add(store)
            while (begun := self._begin()) is not None:
                start, stop, slot, block = begun
                try:
                    self._fetch(store, start, stop, slot)
                    block.set_result((slot, stop - start))
                except (PartError, *CONNECTION_ERRORS) as error:
                    self._belt.send(slot, 0)
                    block.set_exception(PartError(error_reason(error)))
                    return
                finally:
                    block.cancel()  # where something unforeseen was raised

    def _begin(self) -> tuple[int, int, Buffer, Future[tuple[Buffer, int]]] | None:
        """Take the next block and a buffer for it: together, so that the first in line has one."""
        with self._lock:
            slot = self._acquire()
            if slot is None:
                return None
            if self._stopped or self._next >= self._end:
                self._belt.send(slot, 0)
                return None
            start, self._next = self._next, min(self._next + BUFFER_SIZE, self._end)
            block: Future[tuple[Buffer, int]] = Future()
            self._blocks.put(block)
            return start, self._next, slot, block

    def _acquire(self) -> Buffer | None:
        while not self._stopped:
            slot = self._belt.acquire()
            if slot is not None:
                return slot
        return None

    def _fetch(self, store: ArtifactStore, start: int, stop: int, slot: Buffer) -> None:
        stream = store.open(self._url, RangeRequest(start, stop))
        try:
            self._read(stream, start, slot.memory[: stop - start])
        except (PartError, *CONNECTION_ERRORS):
            stream.close()
            raise

    def _read(self, stream: StoreResponse, start: int, view: memoryview) -> None:
        wish = RangeRequest(start, start + len(view))
        means = classify_response(stream.status, stream.headers, wish, self._known)
        if not isinstance(means, RangeBody) or (means.start, means.length) != (start, len(view)):
            raise PartError(f"HTTP {stream.status}, {type(means).__name__}")
        stream.expect(len(view))
        if not stream.fill(view, self._pace()):
            raise PartError("it ended early or became too slow")
