"""Loads Airflow connections as settings; triggers on one event loop share a cached look-up."""

from __future__ import annotations

import asyncio
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseHook

import airflow_provider_buildpixel.exceptions  # noqa: F401  # adds Airflow's base classes
from airflow_provider_buildpixel import __version__
from airflow_provider_buildpixel.api.settings import Settings

if TYPE_CHECKING:
    from airflow_provider_buildpixel.api.model import Identity
    from airflow_provider_buildpixel.api.settings import ConnectionLike


LOOKUP_TTL = 60.0
"""Seconds for which a look-up is cached: one takes tens of milliseconds."""

REFUSED_LOOKUP_TTL = 1.0
"""Seconds for which a look-up with a rejected token is cached: many triggers retry at once."""

USER_AGENT = f"airflow-provider-buildpixel/{__version__}"


def parse_connection(conn: ConnectionLike) -> Settings:
    """Return the settings of an Airflow connection.

    :raises InvalidRequest: a field is missing or invalid.
    """
    return Settings.from_connection(conn, USER_AGENT)


def warn_if_unverified(settings: Settings, conn_id: str, log: Any) -> None:
    """Log a warning if the connection does not verify certificates."""
    if settings.verify is False:
        log.warning(
            "Connection %s does not verify certificates (extra verify is false): anyone on the "
            "network path can read the token",
            conn_id,
        )


def get_settings(conn_id: str) -> Settings:
    """Look an Airflow connection up, blocking, and return its settings."""
    return parse_connection(BaseHook.get_connection(conn_id))


def _look_up_in_thread(conn_id: str) -> Settings:
    """Look a connection up, and import the client that the event loop will use next.

    The import takes half a second, so it must not happen on the loop.
    """
    import_module("airflow_provider_buildpixel.waits.monitor")
    return get_settings(conn_id)


_LOOKUPS: dict[tuple[asyncio.AbstractEventLoop, str], tuple[asyncio.Task[Settings], float]] = {}
"""The look-ups by event loop and connection id, and when each has started."""


def _is_usable(task: asyncio.Task[Settings], started_at: float, refused: Settings | None) -> bool:
    """Whether a look-up did not fail, is recent, and did not return the refused settings.

    :param refused: settings whose token was rejected.
    """
    if task.done() and (task.cancelled() or task.exception() is not None):
        return False
    age = time.monotonic() - started_at
    if refused is None or not task.done() or task.result() != refused:
        return age < LOOKUP_TTL
    return age < REFUSED_LOOKUP_TTL


async def get_settings_async(conn_id: str, *, refused: Settings | None = None) -> Settings:
    """Look an Airflow connection up without blocking the event loop, and return its settings.

    :param refused: settings whose token was rejected; they are looked up again, because the token
        may have been replaced.
    """
    loop = asyncio.get_running_loop()
    lookup = _LOOKUPS.get((loop, conn_id))
    if lookup is None or not _is_usable(*lookup, refused):
        for key in [key for key in _LOOKUPS if key[0].is_closed()]:
            del _LOOKUPS[key]
        # The blocking call in a thread works in every version of Airflow, and in dag.test.
        task = loop.create_task(asyncio.to_thread(_look_up_in_thread, conn_id))
        lookup = _LOOKUPS[loop, conn_id] = task, time.monotonic()
    return await asyncio.shield(lookup[0])


def connection_message(identity: Identity) -> str:
    """Return the result of a connection test: user, organization, plan, role, and a warning."""
    user = identity.email or identity.name or identity.user_id or "an unnamed user"
    message = (
        f"Connected as {user}, organization {identity.organization or 'unknown'}, "
        f"plan {identity.plan or 'unknown'}, role {identity.role or 'unknown'}"
    )
    if identity.can_trigger:
        return message
    return f"{message}. Warning: a viewer can read builds and artifacts, but not trigger builds"
