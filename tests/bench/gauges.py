"""What one process measures about itself."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from pathlib import Path
from typing import Self

PAGE = os.sysconf("SC_PAGE_SIZE")
TICK = 0.005


def rss() -> int:
    """Give the resident memory in bytes, garbage left out."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def percentile(values: list[float], share: float) -> float:
    """Give the value below which so large a share lies."""
    known = sorted(values)
    return known[min(len(known) - 1, int(len(known) * share))] if known else float("nan")


class Lag:
    """How long the loop was not free, at most, in several ways.

    On a machine that others use as well, a clock counts their turns too (``clock``), so the CPU
    time between two ticks is kept (``cpu``), and that without Python's own garbage collector,
    which walks through all that Airflow has loaded as well (``own``).
    """

    def __init__(self) -> None:
        self.clock = self.cpu = self.own = self.collector = 0.0
        self._collected = self._since = 0.0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        gc.callbacks.append(self._collects)
        self._task = asyncio.get_running_loop().create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        gc.callbacks.remove(self._collects)
        if self._task is not None:
            self._task.cancel()

    def _collects(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self._since = time.thread_time()
        else:
            spent = time.thread_time() - self._since
            self._collected += spent
            self.collector = max(self.collector, spent)

    async def _watch(self) -> None:
        while True:
            clock, cpu, collected = time.monotonic(), time.thread_time(), self._collected
            await asyncio.sleep(TICK)
            spent = time.thread_time() - cpu
            self.clock = max(self.clock, time.monotonic() - clock - TICK)
            self.cpu = max(self.cpu, spent)
            self.own = max(self.own, spent - (self._collected - collected))


class Spent:
    """CPU and wall time of a stretch."""

    def __init__(self) -> None:
        self._cpu, self._clock = time.process_time(), time.monotonic()

    @property
    def cpu(self) -> float:
        """Seconds of CPU so far, of all threads."""
        return time.process_time() - self._cpu

    @property
    def wall(self) -> float:
        """Seconds so far."""
        return time.monotonic() - self._clock
