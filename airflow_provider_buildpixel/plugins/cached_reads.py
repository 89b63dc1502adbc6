"""One read for all who want the same at about the same time."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable


T = TypeVar("T")

MAX_ENTRIES = 512
"""Values that are kept at most."""


@dataclass(frozen=True)
class _CachedRead(Generic[T]):
    task: asyncio.Task[T]
    since: float


class CachedReads(Generic[T]):
    """Keeps what was read for a while; many who ask for the same cause one read.

    It only saves requests: each worker process of the API server has its own, and none needs it.

    :param good_for: tells of a value for how many seconds, from when it was asked for, it serves.
    """

    def __init__(self, good_for: Callable[[T], float]) -> None:
        self._good_for = good_for
        self._reads: OrderedDict[Hashable, _CachedRead[T]] = OrderedDict()

    async def get(self, key: Hashable, read: Callable[[], Awaitable[T]]) -> T:
        """Give what was read lately, or what is being read, or read it."""
        known = self._reads.get(key)
        if known is None or not self._serves(known):
            known = _CachedRead(asyncio.ensure_future(_run(read)), time.monotonic())
            self._reads[key] = known
            if len(self._reads) > MAX_ENTRIES:
                self._reads.popitem(last=False)
        self._reads.move_to_end(key)
        # Whoever asked first may have gone before the answer came; the others still want it.
        return await asyncio.shield(known.task)

    def _serves(self, known: _CachedRead[T]) -> bool:
        if not known.task.done():
            return True
        if known.task.cancelled() or known.task.exception() is not None:
            return False
        return time.monotonic() - known.since < self._good_for(known.task.result())


async def _run(read: Callable[[], Awaitable[T]]) -> T:
    return await read()
