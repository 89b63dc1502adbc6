"""Both shells behind one coroutine face, so that one test body runs over either."""

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

    from airflow_provider_buildpixel.api.endpoints import Call
    from airflow_provider_buildpixel.api.model import Build, Page
    from airflow_provider_buildpixel.api.settings import Settings
    from airflow_provider_buildpixel.waits.actions import Expired
    from airflow_provider_buildpixel.waits.reporter import LogMessage

T = TypeVar("T")
PATIENCE = 20.0
"""Seconds after which a wait of a test gives up."""

ROOMY = 5.0
"""Seconds for one request: enough on a busy machine, too."""

BRIEF = 0.5
"""Seconds for one request where a test leaves some without an answer."""

brief = pytest.mark.parametrize("request_timeout", [BRIEF], ids=["brief"])
"""Gives the requests of a test no more than that."""


@dataclass(frozen=True)
class Quick(Wait):
    """A wait as the product has it, but with less time between its steps."""

    poll_interval: float = 0.1
    join_wait: float = 0.3
    absence: float = 60.0
    seconds: float = PATIENCE

    def tracker(
        self,
        now: float,
        wall: float,
        jitter: Callable[[], float],
    ) -> BuildTracker:
        """Make its machine."""
        pacing = Pacing(
            poll_interval=self.poll_interval,
            join_wait=self.join_wait,
            hint_gap=0.1,
            absence=self.absence,
        )
        return BuildTracker(
            now,
            pacing=pacing,
            until=now + self.seconds,
            live=self.channel != "polling",
            socket_only=self.channel == "socketio",
            jitter=jitter,
        )


class Waiting:
    """A wait of a test, and what it was told."""

    def __init__(
        self,
        build_id: str,
        channel: str = "auto",
        *,
        poll_interval: float = 0.1,
        join_wait: float = 0.3,
        absence: float = 60.0,
        seconds: float = PATIENCE,
    ) -> None:
        self.build_id = build_id
        self.channel = channel
        self.wait = Quick(
            build_id,
            channel,
            poll_interval,
            join_wait=join_wait,
            absence=absence,
            seconds=seconds,
        )
        self.records: list[LogMessage] = []

    @property
    def told(self) -> str:
        """All that the task's log would say."""
        return "\n".join(record.text for record in self.records)


class Shell(Protocol):
    """What a test may ask of a shell."""

    settings: Settings

    async def perform(self, call: Call[T]) -> T:
        """Send a request, again where that is safe."""

    async def attempt(self, call: Call[T]) -> T:
        """Send a request once."""

    async def members(self, call: Call[Page[T]], most: int | None = None) -> list[T]:
        """List."""

    async def wait(self, wait: Wait, tell: Callable[[LogMessage], None]) -> Done | Expired:
        """Wait for a build."""

    async def close(self) -> None:
        """Give everything back."""


class BlockingShell:
    """The blocking client, in a thread."""

    def __init__(self, settings: Settings, budget: float = 20.0) -> None:
        self.settings = settings
        self.client = Client(settings, retries=Retries(budget), jitter=lambda: 0.0)

    async def perform(self, call: Call[T]) -> T:
        """Send a request, again where that is safe."""
        return await asyncio.to_thread(self.client.perform, call)

    async def attempt(self, call: Call[T]) -> T:
        """Send a request once."""
        return await asyncio.to_thread(self.client.attempt, call)

    async def members(self, call: Call[Page[T]], most: int | None = None) -> list[T]:
        """List, all or so many."""
        return await asyncio.to_thread(lambda: list(islice(self.client.pages(call), most)))

    async def wait(self, wait: Wait, tell: Callable[[LogMessage], None]) -> Done | Expired:
        """Wait for a build."""
        return await asyncio.to_thread(wait_for_build, self.client, wait, tell)

    async def close(self) -> None:
        """Give everything back."""
        self.client.close()


class AsyncioShell:
    """The asyncio client and its hub, on the test's loop."""

    def __init__(self, settings: Settings, budget: float = 20.0) -> None:
        self.settings = settings
        self.client = AsyncClient(settings, retries=Retries(budget), jitter=lambda: 0.0)

    async def perform(self, call: Call[T]) -> T:
        """Send a request, again where that is safe."""
        return await self.client.perform(call)

    async def attempt(self, call: Call[T]) -> T:
        """Send a request once."""
        return await self.client.attempt(call)

    async def members(self, call: Call[Page[T]], most: int | None = None) -> list[T]:
        """List, all or so many."""
        found: list[T] = []
        async for member in self.client.pages(call):
            found.append(member)
            if len(found) == most:
                break
        return found

    async def wait(self, wait: Wait, tell: Callable[[LogMessage], None]) -> Done | Expired:
        """Wait for a build."""
        async with monitor_for(self.settings) as monitor:
            return await monitor.wait(wait, tell)

    async def close(self) -> None:
        """Give everything back."""
        await self.client.close()


SHELLS: dict[str, type[BlockingShell | AsyncioShell]] = {
    "blocking": BlockingShell,
    "asyncio": AsyncioShell,
}


@asynccontextmanager
async def opened(kind: str, settings: Settings, budget: float = 20.0) -> AsyncIterator[Shell]:
    """Give a shell and close it."""
    shell: Shell = SHELLS[kind](settings, budget)
    try:
        yield shell
    finally:
        await shell.close()


async def until(fact: Callable[[], Any], seconds: float = 8.0) -> None:
    """Return once something is so."""
    end = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > end:
            raise AssertionError(f"not so within {seconds} s")
        await asyncio.sleep(0.01)


async def end_of(shell: Shell, waiting: Waiting) -> Done | Expired:
    """Wait for a build at the pace of tests."""
    return await shell.wait(waiting.wait, waiting.records.append)


def built(end: Done | Expired) -> Build:
    """Give the build of a wait that came to its end."""
    assert isinstance(end, Done), end
    return end.build
