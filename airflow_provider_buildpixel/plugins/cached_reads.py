"""Shares one read among requests for the same value, and caches it for a short time."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable


T = TypeVar("T")

MAX_ENTRIES = 512
"""Maximum number of cached values."""


class CachedReads(Generic[T]):
    """A cache in which concurrent requests for the same key cause one read.

    It only saves requests. Each worker process of the API server has its own.

    :param ttl: returns how many seconds a value stays valid, counted from the start of its read.
    """

    def __init__(self, ttl: Callable[[T], float]) -> None:
        self._ttl = ttl
        # By key: the read, and when it started.
        self._reads: OrderedDict[Hashable, tuple[asyncio.Task[T], float]] = OrderedDict()

    async def get(self, key: Hashable, read: Callable[[], Awaitable[T]]) -> T:
        """Return the cached value, or the result of a read that is running, or read it."""
        entry = self._reads.get(key)
        if entry is None or not self._is_valid(*entry):
            entry = asyncio.ensure_future(_run(read)), time.monotonic()
            self._reads[key] = entry
            if len(self._reads) > MAX_ENTRIES:
                self._reads.popitem(last=False)
        self._reads.move_to_end(key)
        # The first requester may be cancelled; the read continues for the others.
        return await asyncio.shield(entry[0])

    def _is_valid(self, task: asyncio.Task[T], started_at: float) -> bool:
        if not task.done():
            return True
        if task.cancelled() or task.exception() is not None:
            return False
        return time.monotonic() - started_at < self._ttl(task.result())


async def _run(read: Callable[[], Awaitable[T]]) -> T:
    return await read()
