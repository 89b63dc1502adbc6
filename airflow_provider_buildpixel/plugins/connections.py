"""Airflow connections as the API server uses them: looked up anew, and one client for each."""

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
"""Looked up instead of what cannot be the id of a connection."""

_CONN_ID = re.compile(r"[A-Za-z0-9_#!()\-.:\\]{1,250}")

log = logging.getLogger(__name__)


def look_up(conn_id: str, only_type: str | None = None) -> Settings | None:
    """Look a connection up, blocking; why one cannot be used is for the log alone.

    :param only_type: what type it must have, where its password could else get to a host that it
        is not meant for.
    """
    try:
        conn = BaseHook.get_connection(conn_id if _CONN_ID.fullmatch(conn_id) else INVALID_ID)
        return parse_connection(conn) if only_type in {None, conn.conn_type} else None
    except AirflowNotFoundException:
        return None
    except InvalidRequest as error:
        log.warning("%s", error)
        return None


class ApiClients:
    """The clients of one worker process, by connection."""

    def __init__(self) -> None:
        self._clients: dict[str, AsyncClient] = {}

    async def of(self, conn_id: str, settings: Settings) -> AsyncClient:
        """Give the client of a connection; a new one where the connection has changed."""
        from airflow_provider_buildpixel.api.aio import AsyncClient

        known = self._clients.get(conn_id)
        if known is not None and known.settings == settings:
            return known
        warn_if_unverified(settings, conn_id, log)
        fresh = self._clients[conn_id] = AsyncClient(settings)
        if known is not None:
            await known.close()
        return fresh

    def now(self, conn_id: str) -> datetime:
        """Give the service's clock, as of its last answer; ours, where there was none."""
        client = self._clients.get(conn_id)
        return datetime.fromtimestamp(client.server_now(), UTC) if client else datetime.now(UTC)

    async def close(self) -> None:
        """Give back the connections."""
        for client in self._clients.values():
            await client.close()
