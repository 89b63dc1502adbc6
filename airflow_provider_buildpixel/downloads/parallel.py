"""Downloads a file over several connections, one block at a time each; yields blocks in order."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from queue import SimpleQueue
from typing import TYPE_CHECKING, Self

from airflow_provider_buildpixel.downloads.buffers import BUFFER_SIZE
from airflow_provider_buildpixel.downloads.http_range import (
    NoBytes,
    RangeRequest,
    ResponseMeaning,
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
    """A connection failed, or its response was not as requested; one connection can continue."""


class ParallelDownload:
    """Several connections, each of which downloads the next block that no other one has claimed.

    :param open_store: opens a store, called once for each connection.
    :param span: offset of the first byte, and the offset after the last one.
    :param file: what is known about the file.
    :param connections: their number.
    """

    def __init__(
        self,
        open_store: Callable[[], ArtifactStore],
        url: str,
        span: tuple[int, int],
        file: FileInfo,
        pool: BufferPool,
        connections: int,
        new_stall_detector: Callable[[], StallDetector],
    ) -> None:
        self._open_store, self._url, self._file, self._pool = open_store, url, file, pool
        self._new_stall_detector = new_stall_detector
        self._next, self._end = span
        self._block_count = -(-(span[1] - span[0]) // BUFFER_SIZE)
        self._lock = threading.Lock()
        self._stopped = False
        self._stores: set[ArtifactStore] = set()
        # In the order of the file: a block is queued before any of its bytes are requested.
        self._blocks: SimpleQueue[Future[tuple[Buffer, int]] | None] = SimpleQueue()
        self._threads = ThreadPoolExecutor(connections, "buildpixel-connection")
        self._workers = [self._threads.submit(self._download_blocks) for _ in range(connections)]
        for worker in self._workers:
            worker.add_done_callback(lambda _: self._blocks.put(None))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the connections, and return unread buffers to the pool."""
        self.interrupt()
        self._threads.shutdown()
        while not self._blocks.empty():
            block = self._blocks.get()
            if block is not None and not block.cancelled() and block.exception() is None:
                self._pool.put_back(block.result()[0])

    def interrupt(self) -> None:
        """Break all connections; safe in a signal handler."""
        self._stopped = True
        for store in tuple(self._stores):
            store.interrupt()
        self._pool.wake()
        self._blocks.put(None)

    def iter_blocks(self) -> Iterator[tuple[Buffer, int]]:
        """Yield each block's buffer and length in order, until the end or an interruption.

        :raises PartError: a connection failed.
        """
        remaining = self._block_count
        while remaining > 0:
            block = self._blocks.get()
            if block is None:
                self._raise_worker_error()
                return
            yield block.result()
            remaining -= 1

    def _raise_worker_error(self) -> None:
        """Raise a consumer's error: the workers get it first, when they acquire a buffer."""
        for worker in self._workers:
            if worker.done():
                worker.result()

    def _download_blocks(self) -> None:
        with closing(self._open_store()) as store:
            self._stores.add(store)
            while (claimed := self._claim_block()) is not None:
                start, stop, buffer, block = claimed
                try:
                    self._download_block(store, start, stop, buffer)
                    block.set_result((buffer, stop - start))
                except (PartError, *CONNECTION_ERRORS) as error:
                    self._pool.put_back(buffer)
                    block.set_exception(PartError(error_reason(error)))
                    return
                finally:
                    block.cancel()  # no effect on a finished one; else the reader would hang

    def _claim_block(self) -> tuple[int, int, Buffer, Future[tuple[Buffer, int]]] | None:
        """Claim the next block and a buffer for it, as one step.

        Otherwise later blocks could hold all buffers while the first one waits for its own.
        """
        with self._lock:
            buffer = self._acquire_buffer()
            if buffer is None:
                return None
            if self._stopped or self._next >= self._end:
                self._pool.put_back(buffer)
                return None
            start, self._next = self._next, min(self._next + BUFFER_SIZE, self._end)
            block: Future[tuple[Buffer, int]] = Future()
            self._blocks.put(block)
            return start, self._next, buffer, block

    def _acquire_buffer(self) -> Buffer | None:
        while not self._stopped:
            buffer = self._pool.acquire()
            if buffer is not None:
                return buffer
        return None

    def _download_block(self, store: ArtifactStore, start: int, stop: int, buffer: Buffer) -> None:
        request = RangeRequest(start, stop)
        response = store.open(self._url, request)
        try:
            self._read_block(response, request, buffer.memory[: stop - start])
        except (PartError, *CONNECTION_ERRORS):
            response.close()
            raise

    def _read_block(self, response: StoreResponse, request: RangeRequest, view: memoryview) -> None:
        result = classify_response(response.status, response.headers, request, self._file)
        if isinstance(result, NoBytes):
            raise PartError(f"HTTP {response.status}, {result.meaning.value}")
        if (result.start, result.length) != (request.start, len(view)):
            raise PartError(f"HTTP {response.status}, {ResponseMeaning.BAD_RANGE.value}")
        response.limit(len(view))
        if not response.fill(view, self._new_stall_detector()):
            raise PartError("the connection ended early or became too slow")
