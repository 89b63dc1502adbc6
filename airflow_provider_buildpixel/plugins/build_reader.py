"""Reads BuildPixel for the pages: few requests, shared by all viewers, each with a short timeout.

All state is only a cache: any other worker process can serve the next request.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_buildpixel.api.endpoints import get_artifact, get_build
from airflow_provider_buildpixel.api.paging import at_most
from airflow_provider_buildpixel.builds.list_order import ListOrder, read_builds
from airflow_provider_buildpixel.builds.request import BuildFilter
from airflow_provider_buildpixel.builds.search import newer_build
from airflow_provider_buildpixel.exceptions import BuildPixelError, Unreachable
from airflow_provider_buildpixel.page import history
from airflow_provider_buildpixel.plugins.cached_reads import CachedReads
from airflow_provider_buildpixel.plugins.connections import ApiClients, look_up_settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime

    from airflow_provider_buildpixel.api.endpoints import Call
    from airflow_provider_buildpixel.api.model import Artifact, Build
    from airflow_provider_buildpixel.api.paging import Steps
    from airflow_provider_buildpixel.api.settings import Settings
    from airflow_provider_buildpixel.builds.list_order import Since


T = TypeVar("T")

THREADS = 4
"""Threads for the database and connections; Airflow's own routes keep theirs."""

READ_TIMEOUT = 10.0
"""Timeout of one request in seconds: a viewer waits for it."""

MAX_REQUESTS = 8
"""Requests for one part of a page, which is shown with what they find: a viewer waits for it.

A list of each status takes five, besides the list of all.
"""

CONN_TYPE = "buildpixel"
"""Required type: users who may edit connections can request any, and others are never used."""

CONNECTION_TTL = 10.0
LIVE_TTL = 1.5
ENDED_TTL = 5.0
LIST_TTL = 20.0
ERROR_TTL = 2.0
"""Seconds for which a value is cached for all viewers."""


class PageReader:
    """The cached reads of one worker process of the API server."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="buildpixel-pages")
        self._clients = ApiClients()
        self._settings: CachedReads[Settings | None] = CachedReads(lambda _: CONNECTION_TTL)
        self._builds: CachedReads[Build | BuildPixelError] = CachedReads(_build_ttl)
        self._lists: CachedReads[tuple[Build, ...] | BuildPixelError] = CachedReads(_list_ttl)
        self._newer: CachedReads[Build | BuildPixelError | None] = CachedReads(_list_ttl)

    async def run_in_thread(self, work: Callable[..., T], *args: Any) -> T:
        """Run a blocking function in a thread and return its result."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)

    async def get_settings(self, conn_id: str) -> Settings | None:
        """Return a connection's settings; None if it does not exist or cannot be used."""
        return await self._settings.get(
            conn_id, lambda: self.run_in_thread(look_up_settings, conn_id, CONN_TYPE)
        )

    async def get_build(self, conn_id: str, settings: Settings, build_id: str) -> Build:
        """Return a build.

        :raises BuildPixelError: it cannot be read.
        """
        key = (conn_id, settings, build_id)
        call = get_build(build_id)
        return _raise_error(
            await self._builds.get(
                key, lambda: _error_as_value(self._request(conn_id, settings, call))
            )
        )

    async def get_recent_builds(
        self, conn_id: str, settings: Settings, build: Build
    ) -> tuple[Build, ...]:
        """Return the newest builds of a build's setting; none if they cannot be read now."""
        if build.project_id is None or build.build_setting_id is None:
            return ()
        # The key includes whether it has ended: an earlier list shows it as running.
        key = (conn_id, settings, build.build_setting_id, build.branch, build.status.terminal)
        result = await self._lists.get(
            key, lambda: _error_as_value(self._read_recent(conn_id, settings, build))
        )
        return () if isinstance(result, BuildPixelError) else result

    async def get_newer_build(self, conn_id: str, settings: Settings, build: Build) -> Build | None:
        """Return the build that superseded this one; None if it is not found, or a read fails."""
        if not build.status.superseded:
            return None
        steps = at_most(MAX_REQUESTS, newer_build(build))
        result = await self._newer.get(
            (conn_id, settings, build.id),
            lambda: _error_as_value(self._run(conn_id, settings, steps)),
        )
        return None if isinstance(result, BuildPixelError) else result

    async def get_artifact(self, conn_id: str, settings: Settings, build_id: str) -> Artifact:
        """Return a build's artifact with a new signed URL: a secret, so it is not cached.

        :raises BuildPixelError: there is no artifact, or it cannot be read.
        """
        return await self._request(conn_id, settings, get_artifact(build_id))

    def server_time(self, conn_id: str) -> datetime:
        """Return the time of the service's clock."""
        return self._clients.server_time(conn_id)

    async def close(self) -> None:
        """Close the HTTP connections and stop the threads."""
        await self._clients.close()
        self._threads.shutdown(wait=False)

    async def _read_recent(
        self, conn_id: str, settings: Settings, build: Build
    ) -> tuple[Build, ...]:
        """Return the newest builds of a setting, among those that a few requests show."""
        same_setting = BuildFilter(build.project_id, build.build_setting_id)
        known = {"branch": build.branch, "platform": build.platform, "buildType": build.build_type}
        order = ListOrder({name: value for name, value in known.items() if value is not None})
        seen: dict[str, Build] = {}

        def needed(builds: Mapping[str, Build]) -> Since:
            seen.update(builds)
            return history.since_shown(builds)

        steps = read_builds(same_setting.list_call, needed, order, all_live=False)
        found = await self._run(conn_id, settings, at_most(MAX_REQUESTS, steps))
        return history.newest(seen | (found or {}))

    async def _run(self, conn_id: str, settings: Settings, steps: Steps[T]) -> T:
        client = await self._clients.get(conn_id, settings)
        return await client.run(steps, partial(self._request, conn_id, settings))

    async def _request(self, conn_id: str, settings: Settings, call: Call[T]) -> T:
        client = await self._clients.get(conn_id, settings)
        try:
            async with asyncio.timeout(READ_TIMEOUT):
                return await client.attempt(call)
        except TimeoutError:
            raise Unreachable(
                f"no answer from BuildPixel within {READ_TIMEOUT:.0f} s", sent=True, timed_out=True
            ) from None


async def _error_as_value(read: Awaitable[T]) -> T | BuildPixelError:
    """Return an error as a value, so that it is cached like a result."""
    try:
        return await read
    except BuildPixelError as error:
        return error


def _raise_error(result: T | BuildPixelError) -> T:
    if isinstance(result, BuildPixelError):
        raise result
    return result


def _build_ttl(result: Build | BuildPixelError) -> float:
    if isinstance(result, BuildPixelError):
        return ERROR_TTL
    return ENDED_TTL if result.status.terminal else LIVE_TTL


def _list_ttl(result: tuple[Build, ...] | Build | BuildPixelError | None) -> float:
    return ERROR_TTL if isinstance(result, BuildPixelError) else LIST_TTL
