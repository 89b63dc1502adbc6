"""Polls the list of builds once for all watchers of a connection."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from airflow_provider_buildpixel.api.aio import AsyncClient
from airflow_provider_buildpixel.api.endpoints import get_build, list_builds
from airflow_provider_buildpixel.api.errors import NotFound
from airflow_provider_buildpixel.api.model import LIVE_STATUSES
from airflow_provider_buildpixel.api.paging import ListScan
from airflow_provider_buildpixel.api.retry import Retries
from airflow_provider_buildpixel.asset_events.cursor import BuildFilter, Cursor, NewestBuilds

if TYPE_CHECKING:
    from airflow_provider_buildpixel.api.endpoints import Call, Page
    from airflow_provider_buildpixel.api.model import Build
    from airflow_provider_buildpixel.api.settings import Settings


RETRY_SECONDS = 30.0
"""Seconds for which one request is retried; after that the next poll tries again."""

CONCURRENT_READS = 8
MAX_BUILDS = 1000
"""Builds that one poll reads at most, if the list starts with the newest."""


class PollResult:
    """The builds of one poll; each is read by id at most once, for all watchers."""

    def __init__(self, client: AsyncClient, builds: list[Build]) -> None:
        self._client = client
        self._semaphore = asyncio.Semaphore(CONCURRENT_READS)
        self._reads: dict[str, asyncio.Task[Build | None]] = {}
        self.builds = builds

    async def read_build(self, build_id: str) -> Build | None:
        """Return a build with all its fields; None if it is not found."""
        task = self._reads.get(build_id)
        if task is None:
            task = self._reads[build_id] = asyncio.create_task(self._fetch(build_id))
        return await asyncio.shield(task)

    async def _fetch(self, build_id: str) -> Build | None:
        async with self._semaphore:
            try:
                return await self._client.perform(get_build(build_id))
            except NotFound:
                return None

    def page_url(self, build: Build) -> str | None:
        """Return the URL of the build's dashboard page, if the connection has a template."""
        return self._client.settings.build_page_url(build.id, build.project_id)

    async def start_cursor(self, build_filter: BuildFilter) -> Cursor:
        """Return a cursor that starts now, from the newest builds and all that have not ended."""
        newest, complete_down_to = await read_newest(self._client, build_filter, "", 1)
        live: list[Build] = []
        for status in LIVE_STATUSES:
            async for build in self._client.iter_items(_list_call(build_filter, status)):
                live.append(build)
                if len(live) >= MAX_BUILDS:
                    break
        return Cursor.start(newest, live, build_filter, complete_down_to=complete_down_to)

    async def builds_after(
        self, known_id: str, build_filter: BuildFilter, limit: int
    ) -> list[Build]:
        """Return the builds that a stopped watcher may have missed, up to the limit."""
        return (await read_newest(self._client, build_filter, known_id, limit))[0]


def new_client(settings: Settings) -> AsyncClient:
    """Return the client that polls; its caller closes it."""
    return AsyncClient(settings, retries=Retries(RETRY_SECONDS))


async def poll_builds(client: AsyncClient, known_id: str) -> PollResult:
    """Read the list from its newest build down to the newest of the last poll.

    :param known_id: the id of that build; empty before the first poll.
    """
    limit = MAX_BUILDS if known_id else 1
    builds, _ = await read_newest(client, BuildFilter(), known_id, limit)
    return PollResult(client, builds)


async def read_newest(
    client: AsyncClient, build_filter: BuildFilter, known_id: str, limit: int
) -> tuple[list[Build], str]:
    """Read a list as far as needed; return it and the id down to which it is complete."""
    newest = NewestBuilds(known_id, limit)
    scan = ListScan(partial(_list_call, build_filter), newest.add_page)
    await client.scan(scan)
    return newest.builds, scan.complete_down_to


def _list_call(build_filter: BuildFilter, status: str | None = None) -> Call[Page[Build]]:
    return list_builds(
        project_id=build_filter.project_id,
        build_setting_id=build_filter.build_setting_id,
        branch=build_filter.branch,
        status=status,
    )
