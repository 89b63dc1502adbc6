"""What a process holds, counted: memory, descriptors, threads, tasks, objects."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGE = os.sysconf("SC_PAGE_SIZE")
HOLDERS = frozenset(
    {
        "aiohttp.client.ClientSession",
        "aiohttp.client_proto.ResponseHandler",
        "aiohttp.client_ws.ClientWebSocketResponse",
        "aiohttp.connector.TCPConnector",
        "asyncio.selector_events._SelectorSocketTransport",
        "engineio.async_client.AsyncClient",
        "socketio.async_client.AsyncClient",
        "_asyncio.Task",
    }
)
OURS = ("airflow_provider_buildpixel.client.", "airflow_provider_buildpixel.triggers.")
"""Besides these classes, all of ours that hold a connection, a task or a wait."""


@dataclass(frozen=True)
class Reading:
    """One look.

    :param rss: resident memory in bytes, garbage left out.
    :param objects: all that Python's collector knows.
    :param holders: of these, how many of each class that holds something.
    """

    rss: int
    descriptors: int
    threads: int
    tasks: int
    objects: int
    holders: Counter[str]


def reading() -> Reading:
    """Look at this process; to be called in its loop."""
    gc.collect()
    known = gc.get_objects()
    names = Counter(_name(type(one)) for one in known)
    holders = Counter({name: count for name, count in names.items() if _holds(name)})
    return Reading(
        rss=int(Path("/proc/self/statm").read_text().split()[1]) * PAGE,
        descriptors=len(os.listdir("/proc/self/fd")) - 1,  # names, no paths
        threads=threading.active_count(),
        tasks=len(asyncio.all_tasks()),
        objects=len(known),
        holders=holders,
    )


def grown(before: Reading, after: Reading, *, least: int = 1) -> dict[str, int]:
    """Give the classes of which there are more, by at least so many."""
    more = after.holders - before.holders
    return {name: count for name, count in more.items() if count >= least}


def slope(points: list[tuple[float, float]]) -> float:
    """Give the growth of the second value for one of the first, over all points."""
    count = len(points)
    mean_x, mean_y = (sum(values) / count for values in zip(*points, strict=True))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    together = sum((x - mean_x) * (y - mean_y) for x, y in points)
    return together / spread if spread else 0.0


def _holds(name: str) -> bool:
    return name in HOLDERS or name.startswith(OURS)


def _name(kind: type[Any]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
