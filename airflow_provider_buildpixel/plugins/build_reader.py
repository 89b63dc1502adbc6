"""What the pages read of BuildPixel: little, once for all viewers, and never for long.

Nothing in here outlives a request that another worker process could need.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_buildpixel.api.endpoints import get_artifact, get_build, list_builds
from airflow_provider_buildpixel.api.paging import Pager
from airflow_provider_buildpixel.builds.outcome import newer_build
from airflow_provider_buildpixel.exceptions import BuildPixelError, Unreachable
from airflow_provider_buildpixel.page.history import RecentBuilds
from airflow_provider_buildpixel.plugins.cached_reads import CachedReads
from airflow_provider_buildpixel.plugins.connections import ApiClients, look_up

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from airflow_provider_buildpixel.api.endpoints import Call
    from airflow_provider_buildpixel.api.model import Artifact, Build, Page
    from airflow_provider_buildpixel.api.settings import Settings


T = TypeVar("T")

THREADS = 4
"""For the database and connections: what waits there leaves Airflow's own routes their threads."""

READ_TIMEOUT = 10.0
"""Seconds for one request: a viewer waits for it."""

CONN_TYPE = "buildpixel"
"""Whoever may edit connections can ask for any: none of another type is taken for one of ours."""

CONNECTION_TTL = 10.0
LIVE_TTL = 1.5
ENDED_TTL = 5.0
LIST_TTL = 20.0
ERROR_TTL = 2.0
"""Seconds that something that was read serves everybody."""


class PageReader:
    """The reading end of one worker process of the API server."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="buildpixel-pages")
        self._clients = ApiClients()
        self._settings: CachedReads[Settings | None] = CachedReads(lambda _: CONNECTION_TTL)
        self._builds: CachedReads[Build | BuildPixelError] = CachedReads(_build_ttl)
        self._lists: CachedReads[tuple[Build, ...] | BuildPixelError] = CachedReads(_list_ttl)

    async def in_thread(self, work: Callable[..., T], *args: Any) -> T:
        """Do what blocks."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)

    async def settings(self, conn_id: str) -> Settings | None:
        """Look a connection up; None if it is not there, or cannot be used."""
        return await self._settings.get(
            conn_id, lambda: self.in_thread(look_up, conn_id, CONN_TYPE)
        )

    async def build(self, conn_id: str, settings: Settings, build_id: str) -> Build:
        """Give a build.

        :raises BuildPixelError: it could not be read.
        """
        key = (conn_id, settings, build_id)
        call = get_build(build_id)
        return _raise_error(
            await self._builds.get(
                key, lambda: _error_as_value(self._attempt(conn_id, settings, call))
            )
        )

    async def previous(self, conn_id: str, settings: Settings, build: Build) -> tuple[Build, ...]:
        """Give the newest builds of a build's setting; none if they cannot be had just now."""
        if build.project_id is None or build.build_setting_id is None:
            return ()
        call = list_builds(project_id=build.project_id, build_setting_id=build.build_setting_id)
        return await self._listed(conn_id, settings, call, over=build.status.terminal)

    async def newer(self, conn_id: str, settings: Settings, build: Build) -> Build | None:
        """Give the build that superseded one; None if none did, or it cannot be had just now."""
        if not build.status.superseded:
            return None
        call = list_builds(
            project_id=build.project_id,
            platform=build.platform,
            build_type=build.build_type,
            branch=build.branch,
        )
        return newer_build(build, await self._listed(conn_id, settings, call, over=True))

    async def artifact(self, conn_id: str, settings: Settings, build_id: str) -> Artifact:
        """Make a signed URL: a secret, which is not kept.

        :raises BuildPixelError: there is no artifact, or BuildPixel could not be asked.
        """
        return await self._attempt(conn_id, settings, get_artifact(build_id))

    def now(self, conn_id: str) -> datetime:
        """Give the service's clock."""
        return self._clients.now(conn_id)

    async def close(self) -> None:
        """Give back threads and connections."""
        await self._clients.close()
        self._threads.shutdown(wait=False)

    async def _listed(
        self, conn_id: str, settings: Settings, call: Call[Page[Build]], *, over: bool
    ) -> tuple[Build, ...]:
        # A build that ended meanwhile is another question: the list of before shows it running.
        key = (conn_id, settings, call, over)
        found = await self._lists.get(
            key, lambda: _error_as_value(self._newest(conn_id, settings, call))
        )
        return () if isinstance(found, BuildPixelError) else found

    async def _newest(
        self, conn_id: str, settings: Settings, call: Call[Page[Build]]
    ) -> tuple[Build, ...]:
        newest, pager = RecentBuilds(), Pager(call)
        while pager.call is not None:
            page = await self._attempt(conn_id, settings, pager.call)
            if newest.take(pager.take_page(page)):
                break
        return newest.builds

    async def _attempt(self, conn_id: str, settings: Settings, call: Call[T]) -> T:
        client = await self._clients.of(conn_id, settings)
        try:
            async with asyncio.timeout(READ_TIMEOUT):
                return await client.attempt(call)
        except TimeoutError:
            raise Unreachable(
                f"no answer from BuildPixel within {READ_TIMEOUT:.0f} s", sent=True, timed_out=True
            ) from None


async def _error_as_value(reading: Awaitable[T]) -> T | BuildPixelError:
    """Give an error as a value, so that it too serves everybody for a moment."""
    try:
        return await reading
    except BuildPixelError as error:
        return error


def _raise_error(found: T | BuildPixelError) -> T:
    if isinstance(found, BuildPixelError):
        raise found
    return found


def _build_ttl(found: Build | BuildPixelError) -> float:
    if isinstance(found, BuildPixelError):
        return ERROR_TTL
    return ENDED_TTL if found.status.terminal else LIVE_TTL


def _list_ttl(found: tuple[Build, ...] | BuildPixelError) -> float:
    return ERROR_TTL if isinstance(found, BuildPixelError) else LIST_TTL
