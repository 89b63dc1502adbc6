"""Looks at the list of builds again and again, for all watchers of a connection at once."""

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
    from airflow_provider_buildpixel.api.endpoints import Call
    from airflow_provider_buildpixel.api.model import Build, Page
    from airflow_provider_buildpixel.api.settings import Settings


RETRY_SECONDS = 30.0
"""Seconds of trouble that one request sits out; after that the next look takes over."""

CONCURRENT_READS = 8
MAX_BUILDS = 1000
"""Builds that one look reads at most, where the list starts with the newest."""


class PollResult:
    """What the list showed; a build is read in full at most once, for whoever asks."""

    def __init__(self, client: AsyncClient, builds: list[Build]) -> None:
        self._client = client
        self._turn = asyncio.Semaphore(CONCURRENT_READS)
        self._read: dict[str, asyncio.Task[Build | None]] = {}
        self.builds = builds

    async def read(self, build_id: str) -> Build | None:
        """Give a build in full; None if it is gone."""
        task = self._read.get(build_id)
        if task is None:
            task = self._read[build_id] = asyncio.create_task(self._fetch(build_id))
        return await asyncio.shield(task)

    async def _fetch(self, build_id: str) -> Build | None:
        async with self._turn:
            try:
                return await self._client.perform(get_build(build_id))
            except NotFound:
                return None

    def page(self, build: Build) -> str | None:
        """Give the build's dashboard page, if the connection knows where it is."""
        return self._client.settings.build_page(build.id, build.project_id)

    async def begin(self, interest: BuildFilter) -> Cursor:
        """Start a watcher from now: its newest builds, and all that are under way."""
        newest, depth = await read_newest(self._client, interest, "", 1)
        live: list[Build] = []
        for status in LIVE_STATUSES:
            async for build in self._client.pages(_listed(interest, status)):
                live.append(build)
                if len(live) >= MAX_BUILDS:
                    break
        return Cursor.begin(newest, live, interest, depth=depth)

    async def since(self, known: str, interest: BuildFilter, limit: int) -> list[Build]:
        """Give what may concern a watcher that was away, as far back as the limit."""
        return (await read_newest(self._client, interest, known, limit))[0]


class BuildPoller:
    """The one poll of a connection.

    :param settings: where to and as whom.
    :param newest: the newest build that an earlier poll has shown.
    """

    def __init__(self, settings: Settings, newest: str = "") -> None:
        self.settings = settings
        self.newest = newest
        self._client = AsyncClient(settings, retries=Retries(RETRY_SECONDS))

    async def look(self) -> PollResult:
        """Read the list from its newest build to those that the last look has shown."""
        limit = MAX_BUILDS if self.newest else 1
        builds, _ = await read_newest(self._client, BuildFilter(), self.newest, limit)
        self.newest = max([self.newest, *(build.id for build in builds)])
        return PollResult(self._client, builds)

    async def close(self) -> None:
        """Give back the connections."""
        await self._client.close()


async def read_newest(
    client: AsyncClient, interest: BuildFilter, known: str, limit: int
) -> tuple[list[Build], str]:
    """Read a list as far as it is needed; with it goes the id down to which all is known."""
    reach = NewestBuilds(known, limit)
    scan = ListScan(partial(_listed, interest), reach.take)
    await client.scan(scan)
    return reach.builds, scan.depth


def _listed(interest: BuildFilter, status: str | None = None) -> Call[Page[Build]]:
    return list_builds(
        project_id=interest.project_id,
        build_setting_id=interest.build_setting_id,
        branch=interest.branch,
        status=status,
    )
