"""A packet that the library sends after its connection was closed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp

from airflow_provider_buildpixel.channel.async_channel import (
    AsyncChannel,
    _AsyncConnectResult,
    _close_client,
)
from airflow_provider_buildpixel.channel.metrics import Metrics
from airflow_provider_buildpixel.waits.subscription import Subscriptions

if TYPE_CHECKING:
    from airflow_provider_buildpixel.api.settings import Settings


async def test_a_late_packet(settings: Settings) -> None:
    """It fails, instead of opening a session that nobody would ever close."""
    client = await AsyncChannel(settings, Subscriptions(), Metrics())._client(_AsyncConnectResult())
    await _close_client(client, None)
    said = await client.eio._send_request("POST", settings.base_url)
    assert isinstance(said, str)
    assert not isinstance(client.eio.http, aiohttp.ClientSession)
