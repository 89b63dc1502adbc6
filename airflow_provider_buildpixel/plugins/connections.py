"""Airflow connections in the API server: looked up for each request, with one client each."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from airflow_provider_buildpixel.exceptions import InvalidRequest
from airflow_provider_buildpixel.hooks.connections import parse_connection, warn_if_unverified

if TYPE_CHECKING:
    from airflow_provider_buildpixel.api.aio import AsyncClient
    from airflow_provider_buildpixel.api.settings import Settings


INVALID_ID = "-"
"""Looked up in place of a text that cannot be a connection id."""

_CONN_ID = re.compile(r"[A-Za-z0-9_#!()\-.:\\]{1,250}")

log = logging.getLogger(__name__)


def look_up_settings(conn_id: str, required_type: str | None = None) -> Settings | None:
    """Return a connection's settings; None if it does not exist or cannot be used. Blocking.

    The reason is only logged.

    :param required_type: the required connection type. Without it, the password of a connection of
        another type could be sent to a host that it is not meant for.
    """
    try:
        conn = BaseHook.get_connection(conn_id if _CONN_ID.fullmatch(conn_id) else INVALID_ID)
        return parse_connection(conn) if required_type in {None, conn.conn_type} else None
    except AirflowNotFoundException:
        return None
    except InvalidRequest as error:
        log.warning("%s", error)
        return None


class ApiClients:
    """The API clients of one worker process, by connection id."""

    def __init__(self) -> None:
        self._clients: dict[str, AsyncClient] = {}

    async def get(self, conn_id: str, settings: Settings) -> AsyncClient:
        """Return the client of a connection; a new one if the connection has changed."""
        from airflow_provider_buildpixel.api.aio import AsyncClient

        current = self._clients.get(conn_id)
        if current is not None and current.settings == settings:
            return current
        warn_if_unverified(settings, conn_id, log)
        client = self._clients[conn_id] = AsyncClient(settings)
        if current is not None:
            await current.close()
        return client

    def server_time(self, conn_id: str) -> datetime:
        """Return the time of the service's clock, or the local time before its first response."""
        client = self._clients.get(conn_id)
        return datetime.fromtimestamp(client.server_now(), UTC) if client else datetime.now(UTC)

    async def close(self) -> None:
        """Close all clients."""
        for client in self._clients.values():
            await client.close()
