"""A running watcher with the sandbox, and a simulated state store."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Any, Self

import pytest

from airflow_provider_buildpixel.sandbox import Plan, Sandbox, Variants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

events = pytest.importorskip(
    "airflow_provider_buildpixel.triggers.events", reason="Airflow 2.11 has no asset watchers"
)

POLL_INTERVAL = 0.05
TIMEOUT = 60.0
"""Limit of each wait in seconds, long enough for a busy machine."""


class Store:
    """The state store of one asset; it outlives the trigger."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    async def aget(self, key: str, default: Any = None) -> Any:
        """Return a value."""
        return json.loads(self.values[key]) if key in self.values else default

    async def aset(self, key: str, value: Any) -> None:
        """Store a value as JSON."""
        self.values[key] = json.dumps(value)


class Stores:
    """The state stores of a trigger's assets, with the attributes of Airflow's accessor."""

    def __init__(self, *stores: Store) -> None:
        self._by_name = {f"asset-{n}": store for n, store in enumerate(stores)}
        self._by_uri: dict[str, Store] = {}


class Watcher:
    """A running trigger whose events are collected until it is stopped."""

    def __init__(self, *stores: Store, **kwargs: Any) -> None:
        self.trigger = events.BuildPixelBuildEventTrigger(poll_interval=POLL_INTERVAL, **kwargs)
        self.trigger.save_delay = 0.0  # there is no table in which an event must be stored first
        self.trigger.asset_state_store = Stores(*stores) if stores else None
        self.payloads: list[dict[str, Any]] = []
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        async with aclosing(self.trigger.run()) as stream:
            async for event in stream:
                async with self._changed:
                    self.payloads.append(event.payload)
                    self._changed.notify_all()

    @property
    def ids(self) -> list[str]:
        """The ids of the reported builds."""
        return [payload["build_id"] for payload in self.payloads]

    async def wait_for(self, count: int) -> list[str]:
        """Wait until it has reported this many builds; return their ids."""
        async with asyncio.timeout(TIMEOUT), self._changed:
            await self._changed.wait_for(lambda: len(self.payloads) >= count)
        return self.ids

    async def wait_for_start(self) -> None:
        """Wait until it has started, and its cursor is saved if there is a store."""
        await self._wait_until(lambda: self.trigger._saved is not None)

    async def wait_for_polls(self, sandbox: Sandbox, count: int = 2) -> None:
        """Wait for this many further requests of lists."""
        before = len(sandbox.requests_to("GET /builds"))
        await self._wait_until(lambda: len(sandbox.requests_to("GET /builds")) >= before + count)

    async def wait_until_seen(self, build_id: str) -> None:
        """Wait until it has seen that a build is live."""
        await self._wait_until(lambda: build_id in self.trigger._cursor.tracked)

    async def _wait_until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(TIMEOUT):
            while not condition():  # noqa: ASYNC110  # no event for it
                await asyncio.sleep(0.01)


@contextmanager
def started(monkeypatch: pytest.MonkeyPatch, **variants: Any) -> Iterator[Sandbox]:
    """Yield a sandbox in which builds end when the test sets their status."""
    with Sandbox(default=Plan(outcome="stays_pending"), variants=Variants(**variants)) as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_BUILDPIXEL_DEFAULT", sandbox.connection_uri)
        yield sandbox


def push(sandbox: Sandbox, status: str | None = None, number: int = 0) -> str:
    """Start a build on a new branch, and end it with a status; return its id.

    :param number: the number of the build setting of MyGame.
    """
    setting = sandbox.settings("MyGame")[number]
    build_id = sandbox.push(setting["id"], branch=f"line-{len(sandbox.builds())}")
    if status is not None:
        sandbox.set_status(build_id, status)
    return build_id
