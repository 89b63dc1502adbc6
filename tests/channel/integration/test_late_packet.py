"""A packet that the library sends after its connection was closed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp

from airflow_provider_buildpixel.channel.async_channel import AsyncChannel
from airflow_provider_buildpixel.channel.async_client import AsyncConnectResult, close_client
from airflow_provider_buildpixel.channel.metrics import Metrics
from airflow_provider_buildpixel.waits.subscription import Subscriptions

if TYPE_CHECKING:
    from airflow_provider_buildpixel.api.settings import Settings


async def test_a_late_packet(settings: Settings) -> None:
    """The packet fails; the library does not open a session that nothing would close."""
    channel = AsyncChannel(settings, Subscriptions(), Metrics())
    client = await channel._new_client(AsyncConnectResult())
    await close_client(client, None)
    answer = await client.eio._send_request("POST", settings.base_url)
    assert isinstance(answer, str)
    assert not isinstance(client.eio.http, aiohttp.ClientSession)
