"""The poll that all watchers of a connection share."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow_provider_buildpixel.asset_events.shared_list import SharedList
from airflow_provider_buildpixel.exceptions import Unauthorized
from airflow_provider_buildpixel.hooks.connections import get_settings_async, warn_if_unverified

if TYPE_CHECKING:
    from airflow_provider_buildpixel.api.aio import AsyncClient
    from airflow_provider_buildpixel.api.settings import Settings
    from airflow_provider_buildpixel.asset_events.poller import PollResult


log = logging.getLogger(__name__)


class SharedPoll:
    """The poll of one connection, whose token may be replaced while it runs."""

    def __init__(self, conn_id: str) -> None:
        self._conn_id = conn_id
        self._shared_list = SharedList()
        self._client: AsyncClient | None = None

    async def poll(self) -> PollResult:
        """Return the builds of the next poll."""
        settings = await get_settings_async(self._conn_id)
        try:
            return await self._poll_with(settings)
        except Unauthorized:
            replaced = await get_settings_async(self._conn_id, refused=settings)
            if replaced == settings:
                raise
        log.info("The token was refused; continuing with the connection's new token")
        return await self._poll_with(replaced)

    async def _poll_with(self, settings: Settings) -> PollResult:
        from airflow_provider_buildpixel.asset_events import poller  # loads aiohttp

        if (client := self._client) is None or client.settings != settings:
            warn_if_unverified(settings, self._conn_id, log)
            self._client = poller.new_client(settings)
            if client is not None:
                await client.close()
            client = self._client
        return await poller.poll_builds(client, self._shared_list)

    async def close(self) -> None:
        """Close the HTTP connections."""
        if self._client is not None:
            await self._client.close()
