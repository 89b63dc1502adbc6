"""Airflow connections as settings; in the triggerer one look-up serves many triggers."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_buildpixel import __version__
from airflow_provider_buildpixel.api.settings import Settings

if TYPE_CHECKING:
    from airflow_provider_buildpixel.api.model import Identity
    from airflow_provider_buildpixel.api.settings import ConnectionLike


LOOKUP_TTL = 60.0
"""Seconds that a look-up in the triggerer serves: one costs tens of milliseconds."""

REFUSED_LOOKUP_TTL = 1.0
"""Seconds that a look-up serves after its token was refused: many triggers ask at once."""

USER_AGENT = f"airflow-provider-buildpixel/{__version__}"


def parse_connection(conn: ConnectionLike) -> Settings:
    """Read a connection."""
    return Settings.from_connection(conn, USER_AGENT)


def warn_if_unverified(settings: Settings, conn_id: str, log: Any) -> None:
    """Say in a log that a connection does without certificates, wherever it is used."""
    if settings.verify is False:
        log.warning(
            "Connection %s does not verify certificates (extra verify is false): anyone on the "
            "way can read the token",
            conn_id,
        )


def get_settings(conn_id: str) -> Settings:
    """Look a connection up, blocking."""
    return parse_connection(BaseHook.get_connection(conn_id))


def _look_up_for_loop(conn_id: str) -> Settings:
    """Look a connection up in a thread, and load the client there, too: that takes half a second.

    Whoever looks a connection up from a loop is about to use the client on it.
    """
    import_module("airflow_provider_buildpixel.waits.monitor")
    return get_settings(conn_id)


@dataclass(frozen=True)
class _Lookup:
    task: asyncio.Task[Settings]
    since: float

    def usable(self, refused: Settings | None) -> bool:
        """Tell whether this look-up may serve: not failed, not too old, not the refused one."""
        if self.task.done() and (self.task.cancelled() or self.task.exception() is not None):
            return False
        age = time.monotonic() - self.since
        if refused is None or not self.task.done() or self.task.result() != refused:
            return age < LOOKUP_TTL
        return age < REFUSED_LOOKUP_TTL


_LOOKUPS: dict[tuple[asyncio.AbstractEventLoop, str], _Lookup] = {}


async def get_settings_async(conn_id: str, *, refused: Settings | None = None) -> Settings:
    """Look a connection up without blocking the loop.

    :param refused: settings whose token was refused: look again, it may have been replaced.
    """
    loop = asyncio.get_running_loop()
    known = _LOOKUPS.get((loop, conn_id))
    if known is None or not known.usable(refused):
        for key in [key for key in _LOOKUPS if key[0].is_closed()]:
            del _LOOKUPS[key]
        # A thread and the plain call: right on every version of Airflow, and in dag.test.
        task = loop.create_task(asyncio.to_thread(_look_up_for_loop, conn_id))
        known = _LOOKUPS[loop, conn_id] = _Lookup(task, time.monotonic())
    return await asyncio.shield(known.task)


def connection_message(identity: Identity) -> str:
    """Say whom a token belongs to, and what it cannot do."""
    who = identity.email or identity.name or identity.user_id or "an unnamed user"
    message = (
        f"Connected as {who}, organization {identity.organization or 'unknown'}, "
        f"plan {identity.plan or 'unknown'}, role {identity.role or 'unknown'}"
    )
    if identity.can_trigger:
        return message
    return f"{message}. Warning: a viewer can follow builds and fetch artifacts, but not trigger"
