"""Polls the list of builds once for all watchers of a connection."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_buildpixel.api.aio import AsyncClient
from airflow_provider_buildpixel.api.endpoints import get_build
from airflow_provider_buildpixel.api.errors import RateLimited
from airflow_provider_buildpixel.api.retry import Retries
from airflow_provider_buildpixel.asset_events.cursor import Cursor
from airflow_provider_buildpixel.asset_events.shared_list import read_missed, read_start
from airflow_provider_buildpixel.builds.request import Match
from airflow_provider_buildpixel.builds.search import read_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable

    from airflow_provider_buildpixel.api.model import Build
    from airflow_provider_buildpixel.api.settings import Settings
    from airflow_provider_buildpixel.asset_events.cursor import Watched
    from airflow_provider_buildpixel.asset_events.shared_list import ListRead, SharedList
    from airflow_provider_buildpixel.builds.list_order import Since
    from airflow_provider_buildpixel.builds.request import BuildFilter


T = TypeVar("T")

RETRY_SECONDS = 30.0
"""Seconds for which one request of a list is retried; after that the next poll tries again."""

FIRST_PAUSE = 1.0
"""Seconds after a 429 answer that names no time."""

CONCURRENT_READS = 8


class PollResult:
    """The builds of one poll; whatever else is read is read once for all watchers."""

    def __init__(self, client: AsyncClient, listed: ListRead) -> None:
        self._client = client
        self._semaphore = asyncio.Semaphore(CONCURRENT_READS)
        self._reads: dict[Hashable, asyncio.Task[Any]] = {}
        self._lines: dict[str, str | None] = {}
        self._reading_lines = asyncio.Lock()
        # Before any watcher's first read: a build that is live in that read ends later.
        self._polled_at = None if client.clock_offset is None else client.server_now()
        self.builds = listed.builds
        self.is_full = listed.is_full

    async def read_build(self, build_id: str) -> Build:
        """Return a build with all its fields."""
        return await self._read_once(build_id, lambda: self._fetch(build_id))

    async def _fetch(self, build_id: str) -> Build:
        call = get_build(build_id)
        async with self._semaphore:
            try:
                # The next poll is the retry: a build that cannot be read must not delay others.
                return await self._client.attempt(call)
            except RateLimited as error:
                pause = FIRST_PAUSE if error.wait is None else error.wait
                if pause > RETRY_SECONDS:
                    raise
                await asyncio.sleep(pause)
            return await self._client.perform(call)

    async def read_match(self, build_filter: BuildFilter, build_id: str) -> tuple[Build, bool]:
        """Return a build, and whether it matches; its build setting may tell its stream."""
        build = await self.read_build(build_id)
        match = build_filter.compare(build, self._lines)
        if match is Match.MAYBE and build_filter.branch:
            async with self._reading_lines:
                await self._client.run(read_lines([build], self._lines))
            match = build_filter.compare(build, self._lines)
        return build, match is Match.YES

    def page_url(self, build: Build) -> str | None:
        """Return the URL of the build's dashboard page, if the connection has a template."""
        return self._client.settings.build_page_url(build.id, build.project_id)

    async def start_cursor(self, watched: Watched) -> Cursor:
        """Return a cursor that starts now, from the newest builds and all that have not ended."""
        client, build_filter = self._client, watched.build_filter
        builds = await self._read_once(
            build_filter.list_call(), lambda: client.run(read_start(build_filter))
        )
        return Cursor.start(builds, watched, self._polled_at)

    async def builds_since(self, build_filter: BuildFilter, since: Since) -> list[Build]:
        """Return the builds that a stopped watcher may have missed."""
        return await self._client.run(read_missed(build_filter, since))

    async def _read_once(self, key: Hashable, read: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return what was read for a key; only the first request of a key reads."""
        task = self._reads.get(key)
        if task is None:
            task = self._reads[key] = asyncio.create_task(read())
            task.add_done_callback(_ignore_error)
        result: T = await asyncio.shield(task)
        return result


def _ignore_error(task: asyncio.Task[Any]) -> None:
    """Prevent a log line about an error for which no watcher waits any more."""
    if not task.cancelled():
        task.exception()


def new_client(settings: Settings) -> AsyncClient:
    """Return the client that polls; its caller closes it."""
    return AsyncClient(settings, retries=Retries(RETRY_SECONDS))


async def poll_builds(client: AsyncClient, shared_list: SharedList) -> PollResult:
    """Read the list from its newest build down to the newest of the last poll."""
    return PollResult(client, await client.run(shared_list.read(time.monotonic())))
