"""Fetches a file over several connections at once, a block each, and gives the blocks in order."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from queue import SimpleQueue
from typing import TYPE_CHECKING, Self

from airflow_provider_buildpixel.client.belt import SLOT
from airflow_provider_buildpixel.client.store import BROKEN, reason
from airflow_provider_buildpixel.core.ranges import Body, Wish, meaning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from airflow_provider_buildpixel.client.belt import Belt, Slot
    from airflow_provider_buildpixel.client.store import Store, Stream
    from airflow_provider_buildpixel.core.pace import Pace
    from airflow_provider_buildpixel.core.ranges import Known


class LaneError(Exception):
    """A connection broke, or its answer was not what was asked for; one stream can go on."""


class Lanes:
    """So many connections, each of which fetches the next block that nobody has begun.

    :param opened: makes a store, one for each connection.
    :param span: the first byte, and the one after the last.
    """

    def __init__(
        self,
        opened: Callable[[], Store],
        url: str,
        span: tuple[int, int],
        known: Known,
        belt: Belt,
        count: int,
        pace: Callable[[], Pace],
    ) -> None:
        self._opened, self._url, self._known, self._belt = opened, url, known, belt
        self._pace = pace
        self._next, self._end = span
        self._count = -(-(span[1] - span[0]) // SLOT)
        self._lock = threading.Lock()
        self._stopped = False
        self._stores: set[Store] = set()
        # In the order of the file: a block has its place here before anything of it is fetched.
        self._blocks: SimpleQueue[Future[tuple[Slot, int]] | None] = SimpleQueue()
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

    def blocks(self) -> Iterator[tuple[Slot, int]]:
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
                except (LaneError, *BROKEN) as error:
                    self._belt.send(slot, 0)
                    block.set_exception(LaneError(reason(error)))
                    return
                finally:
                    block.cancel()  # where something unforeseen was raised

    def _begin(self) -> tuple[int, int, Slot, Future[tuple[Slot, int]]] | None:
        """Take the next block and a buffer for it: together, so that the first in line has one."""
        with self._lock:
            slot = self._blank()
            if slot is None:
                return None
            if self._stopped or self._next >= self._end:
                self._belt.send(slot, 0)
                return None
            start, self._next = self._next, min(self._next + SLOT, self._end)
            block: Future[tuple[Slot, int]] = Future()
            self._blocks.put(block)
            return start, self._next, slot, block

    def _blank(self) -> Slot | None:
        while not self._stopped:
            slot = self._belt.blank()
            if slot is not None:
                return slot
        return None

    def _fetch(self, store: Store, start: int, stop: int, slot: Slot) -> None:
        stream = store.open(self._url, Wish(start, stop))
        try:
            self._read(stream, start, slot.memory[: stop - start])
        except (LaneError, *BROKEN):
            stream.close()
            raise

    def _read(self, stream: Stream, start: int, view: memoryview) -> None:
        wish = Wish(start, start + len(view))
        means = meaning(stream.status, stream.headers, wish, self._known)
        if not isinstance(means, Body) or (means.start, means.length) != (start, len(view)):
            raise LaneError(f"HTTP {stream.status}, {type(means).__name__}")
        stream.expect(len(view))
        if not stream.fill(view, self._pace()):
            raise LaneError("it ended early or became too slow")
