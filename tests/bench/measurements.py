"""Measurements of this process: memory, event-loop lag, CPU and elapsed time."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from pathlib import Path
from typing import Self

PAGE = os.sysconf("SC_PAGE_SIZE")
SLEEP_SECONDS = 0.005


def rss() -> int:
    """Return the resident memory in bytes, after a garbage collection."""
    gc.collect()
    return resident_memory()


def resident_memory() -> int:
    """Return the resident memory in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def percentile(values: list[float], fraction: float) -> float:
    """Return the value below which this fraction of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * fraction))] if ordered else float("nan")


class LoopLag:
    """The longest time for which the event loop was blocked, in seconds.

    The elapsed time (``elapsed``) includes other processes' use of the CPU. ``cpu`` is CPU time;
    ``without_collector`` is that without Python's garbage collector, which also visits all objects
    that Airflow has loaded; ``collector`` is the longest garbage collection.
    """

    def __init__(self) -> None:
        self.elapsed = self.cpu = self.without_collector = self.collector = 0.0
        self._collected = self._collection_started_at = 0.0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        gc.callbacks.append(self._on_collection)
        self._task = asyncio.get_running_loop().create_task(self._measure())
        return self

    async def __aexit__(self, *_: object) -> None:
        gc.callbacks.remove(self._on_collection)
        if self._task is not None:
            self._task.cancel()

    def _on_collection(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self._collection_started_at = time.thread_time()
        else:
            spent = time.thread_time() - self._collection_started_at
            self._collected += spent
            self.collector = max(self.collector, spent)

    async def _measure(self) -> None:
        while True:
            elapsed, cpu, collected = time.monotonic(), time.thread_time(), self._collected
            await asyncio.sleep(SLEEP_SECONDS)
            spent = time.thread_time() - cpu
            self.elapsed = max(self.elapsed, time.monotonic() - elapsed - SLEEP_SECONDS)
            self.cpu = max(self.cpu, spent)
            self.without_collector = max(
                self.without_collector, spent - (self._collected - collected)
            )


class Stopwatch:
    """CPU and elapsed time since its creation."""

    def __init__(self) -> None:
        self._cpu, self._started_at = time.process_time(), time.monotonic()

    @property
    def cpu(self) -> float:
        """CPU seconds of all threads."""
        return time.process_time() - self._cpu

    @property
    def elapsed(self) -> float:
        """Elapsed seconds."""
        return time.monotonic() - self._started_at
