"""Both clients behind one coroutine interface, so that a test runs with either."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pytest

from airflow_provider_buildpixel.api.aio import AsyncClient
from airflow_provider_buildpixel.api.blocking import Client
from airflow_provider_buildpixel.api.retry import Retries
from airflow_provider_buildpixel.waits.actions import Done, Pacing
from airflow_provider_buildpixel.waits.blocking import wait_for_build
from airflow_provider_buildpixel.waits.monitor import monitor_for
from airflow_provider_buildpixel.waits.tracker import BuildTracker
from airflow_provider_buildpixel.waits.wait import Wait

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from airflow_provider_buildpixel.api.endpoints import Call, Page
    from airflow_provider_buildpixel.api.model import Build
    from airflow_provider_buildpixel.api.settings import Settings
    from airflow_provider_buildpixel.waits.actions import Expired
    from airflow_provider_buildpixel.waits.reporter import LogMessage

T = TypeVar("T")
WAIT_TIMEOUT = 20.0
"""Seconds after which a wait of a test expires."""

LONG_TIMEOUT = 5.0
"""Request timeout in seconds that is long enough on a busy machine."""

SHORT_TIMEOUT = 0.5
"""Request timeout in seconds for tests with requests that get no answer."""

short_timeout = pytest.mark.parametrize("request_timeout", [SHORT_TIMEOUT], ids=["short"])
"""Runs a test with the short request timeout."""


@dataclass(frozen=True)
class FastWait(Wait):
    """A wait with shorter pauses than in production."""

    poll_interval: float = 0.1
    join_wait: float = 0.3
    not_found_grace: float = 60.0
    timeout: float = WAIT_TIMEOUT

    def tracker(
        self,
        now: float,
        wall: float,  # noqa: ARG002  # as of the method it overrides
        jitter: Callable[[], float],
    ) -> BuildTracker:
        """Return a tracker for this wait."""
        pacing = Pacing(
            poll_interval=self.poll_interval,
            join_wait=self.join_wait,
            hint_gap=0.1,
            not_found_grace=self.not_found_grace,
        )
        return BuildTracker(
            now,
            pacing=pacing,
            deadline=now + self.timeout,
            uses_channel=self.channel != "polling",
            socket_only=self.channel == "socketio",
            jitter=jitter,
        )


class RecordedWait:
    """A wait of a test, and its log messages."""

    def __init__(
        self,
        build_id: str,
        channel: str = "auto",
        *,
        poll_interval: float = 0.1,
        join_wait: float = 0.3,
        not_found_grace: float = 60.0,
        timeout: float = WAIT_TIMEOUT,
    ) -> None:
        self.build_id = build_id
        self.channel = channel
        self.wait = FastWait(
            build_id,
            channel,
            poll_interval,
            join_wait=join_wait,
            not_found_grace=not_found_grace,
            timeout=timeout,
        )
        self.messages: list[LogMessage] = []

    @property
    def log_text(self) -> str:
        """The text of the task's log."""
        return "\n".join(message.text for message in self.messages)


class ClientAdapter(Protocol):
    """The interface that both clients have in tests."""

    settings: Settings

    async def perform(self, call: Call[T]) -> T:
        """Perform a call, with retries where they are safe."""

    async def attempt(self, call: Call[T]) -> T:
        """Perform a call without retries."""

    async def list_items(self, call: Call[Page[T]], limit: int | None = None) -> list[T]:
        """Return the items of all pages, or the first ones."""

    async def wait(self, wait: Wait, report: Callable[[LogMessage], None]) -> Done | Expired:
        """Wait until a build ends or the deadline passes."""

    async def close(self) -> None:
        """Close all connections."""


class BlockingAdapter:
    """The blocking client, in a thread."""

    def __init__(self, settings: Settings, budget: float = 20.0) -> None:
        self.settings = settings
        self.client = Client(settings, retries=Retries(budget), jitter=lambda: 0.0)

    async def perform(self, call: Call[T]) -> T:
        """Perform a call, with retries where they are safe."""
        return await asyncio.to_thread(self.client.perform, call)

    async def attempt(self, call: Call[T]) -> T:
        """Perform a call without retries."""
        return await asyncio.to_thread(self.client.attempt, call)

    async def list_items(self, call: Call[Page[T]], limit: int | None = None) -> list[T]:
        """Return the items of all pages, or the first ones."""
        return await asyncio.to_thread(lambda: list(islice(self.client.iter_items(call), limit)))

    async def wait(self, wait: Wait, report: Callable[[LogMessage], None]) -> Done | Expired:
        """Wait until a build ends or the deadline passes."""
        return await asyncio.to_thread(wait_for_build, self.client, wait, report)

    async def close(self) -> None:
        """Close all connections."""
        self.client.close()


class AsyncAdapter:
    """The asyncio client and the monitor, on the event loop of the test."""

    def __init__(self, settings: Settings, budget: float = 20.0) -> None:
        self.settings = settings
        self.client = AsyncClient(settings, retries=Retries(budget), jitter=lambda: 0.0)

    async def perform(self, call: Call[T]) -> T:
        """Perform a call, with retries where they are safe."""
        return await self.client.perform(call)

    async def attempt(self, call: Call[T]) -> T:
        """Perform a call without retries."""
        return await self.client.attempt(call)

    async def list_items(self, call: Call[Page[T]], limit: int | None = None) -> list[T]:
        """Return the items of all pages, or the first ones."""
        items: list[T] = []
        async for item in self.client.iter_items(call):
            items.append(item)
            if len(items) == limit:
                break
        return items

    async def wait(self, wait: Wait, report: Callable[[LogMessage], None]) -> Done | Expired:
        """Wait until a build ends or the deadline passes."""
        async with monitor_for(self.settings) as monitor:
            return await monitor.wait(wait, report)

    async def close(self) -> None:
        """Close all connections."""
        await self.client.close()


ADAPTERS: dict[str, type[BlockingAdapter | AsyncAdapter]] = {
    "blocking": BlockingAdapter,
    "asyncio": AsyncAdapter,
}


@asynccontextmanager
async def open_client(
    kind: str, settings: Settings, budget: float = 20.0
) -> AsyncIterator[ClientAdapter]:
    """Yield a client and close it at the end.

    :param kind: a key of ``ADAPTERS``.
    :param budget: seconds for retries.
    """
    client: ClientAdapter = ADAPTERS[kind](settings, budget)
    try:
        yield client
    finally:
        await client.close()


async def wait_until(condition: Callable[[], Any], seconds: float = 8.0) -> None:
    """Return once a condition is true.

    :raises AssertionError: it is not true within the time.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not true within {seconds} s")
        await asyncio.sleep(0.01)


async def run_wait(client: ClientAdapter, wait: RecordedWait) -> Done | Expired:
    """Run a wait and record its messages."""
    return await client.wait(wait.wait, wait.messages.append)


def ended_build(end: Done | Expired) -> Build:
    """Return the build of a wait that did not expire."""
    assert isinstance(end, Done), end
    return end.build
