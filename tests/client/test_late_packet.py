"""A packet that the library sends after its connection was closed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp

from airflow_provider_buildpixel.client.aio_feed import Channel, _closed, _Outcome
from airflow_provider_buildpixel.client.mailbox import Mailboxes
from airflow_provider_buildpixel.client.tally import Tally

if TYPE_CHECKING:
    from airflow_provider_buildpixel.core.settings import Settings


async def test_a_late_packet(settings: Settings) -> None:
    """It fails, instead of opening a session that nobody would ever close."""
    client = await Channel(settings, Mailboxes(), Tally())._client(_Outcome())
    await _closed(client, None)
    said = await client.eio._send_request("POST", settings.base_url)
    assert isinstance(said, str)
    assert not isinstance(client.eio.http, aiohttp.ClientSession)
