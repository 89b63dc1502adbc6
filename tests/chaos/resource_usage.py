"""Counts what a process holds: memory, descriptors, threads, tasks, objects."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Any

from tests.bench.measurements import resident_memory

LIBRARY_CLASSES = frozenset(
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
PROVIDER_MODULES = tuple(
    f"airflow_provider_buildpixel.{folder}."
    for folder in ("api", "builds", "channel", "downloads", "triggers", "waits")
)
"""Besides these classes, all classes of the provider that hold a connection, a task or a wait."""


@dataclass(frozen=True)
class ResourceUsage:
    """The resources of this process at one moment.

    :param rss: resident memory in bytes, after a garbage collection.
    :param objects: all objects that Python's garbage collector tracks.
    :param by_class: the number of objects of each class that holds a resource.
    """

    rss: int
    descriptors: int
    threads: int
    tasks: int
    objects: int
    by_class: Counter[str]


def resource_usage() -> ResourceUsage:
    """Return the current usage; to be called in the event loop."""
    gc.collect()
    objects = gc.get_objects()
    names = Counter(_class_name(type(each)) for each in objects)
    by_class = Counter({name: count for name, count in names.items() if _holds_resource(name)})
    return ResourceUsage(
        rss=resident_memory(),
        descriptors=len(os.listdir("/proc/self/fd")) - 1,  # noqa: PTH208  # names, no paths
        threads=threading.active_count(),
        tasks=len(asyncio.all_tasks()),
        objects=len(objects),
        by_class=by_class,
    )


def growth(before: ResourceUsage, after: ResourceUsage, *, least: int = 1) -> dict[str, int]:
    """Return the classes of which there are at least ``least`` more objects."""
    more = after.by_class - before.by_class
    return {name: count for name, count in more.items() if count >= least}


def slope(points: list[tuple[float, float]]) -> float:
    """Return the slope of the linear regression through all points."""
    count = len(points)
    mean_x, mean_y = (sum(values) / count for values in zip(*points, strict=True))
    variance = sum((x - mean_x) ** 2 for x, _ in points)
    covariance = sum((x - mean_x) * (y - mean_y) for x, y in points)
    return covariance / variance if variance else 0.0


def _holds_resource(name: str) -> bool:
    return name in LIBRARY_CLASSES or name.startswith(PROVIDER_MODULES)


def _class_name(cls: type[Any]) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
