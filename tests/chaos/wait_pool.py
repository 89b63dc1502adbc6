"""Many real waits in one event loop, as in a triggerer that runs this provider's triggers."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_buildpixel.hooks.buildpixel_async import BuildPixelAsyncHook
from airflow_provider_buildpixel.triggers.buildpixel import BuildPixelBuildTrigger
from tests.chaos.providers import first_event

if TYPE_CHECKING:
    from collections.abc import Coroutine


class Service(Protocol):
    """The sandbox, in this process or in another; each method may block."""

    @property
    def url(self) -> str:
        """The base URL."""

    def push(self, branch: str) -> str:
        """Queue a build on its own branch; return its id."""

    def issue_token(self) -> str:
        """Return a new token."""

    def revoke(self, token: str) -> None:
        """Revoke a token."""


@dataclass
class WaitPool:
    """Waits over several connections; a wait that ends is replaced by a new one.

    :param connections: number of connections; each has its own build monitor and socket.
    :param replace: whether waits that end are replaced.
    """

    service: Service
    connections: int
    poll_interval: float = 30.0
    replace: bool = True
    counts: Counter[str] = field(default_factory=Counter)
    tokens: list[str] = field(default_factory=list)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    push_limit: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))

    async def start(self, waits: int) -> None:
        """Start so many waits."""
        self.tokens = [
            await asyncio.to_thread(self.service.issue_token) for _ in range(self.connections)
        ]
        for number, token in enumerate(self.tokens):
            self._store_connection(number, token)
        for number in range(waits):
            self._create_task(self._run_waits(number))

    async def rotate_token(self, number: int) -> None:
        """Store a new token in a connection, and revoke the old one."""
        before, after = self.tokens[number], await asyncio.to_thread(self.service.issue_token)
        self.tokens[number] = after
        self._store_connection(number, after)
        await asyncio.to_thread(self.service.revoke, before)
        self.counts["rotations"] += 1

    async def finish(self) -> None:
        """Wait until all waits have ended."""
        self.replace = False
        await asyncio.gather(*self.tasks)
        for number in range(self.connections):
            del os.environ[_variable(number)]

    def _store_connection(self, number: int, token: str) -> None:
        fields = {"conn_type": "buildpixel", "host": self.service.url, "password": token}
        os.environ[_variable(number)] = json.dumps(fields)

    def _create_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.counts["failed"] += 1
            self.counts[repr(task.exception())[:200]] += 1

    async def _run_waits(self, number: int) -> None:
        round_ = 0
        while True:
            async with self.push_limit:
                branch = f"feature/{number}-{round_}"
                build_id = await asyncio.to_thread(self.service.push, branch)
            await self.wait(build_id, f"pool_{number % self.connections}")
            round_ += 1
            if not self.replace:
                return

    async def wait(self, build_id: str, conn_id: str) -> None:
        """Wait for one build as a task does: after an error event it reads it and continues."""
        while True:
            trigger = BuildPixelBuildTrigger(
                build_id=build_id, buildpixel_conn_id=conn_id, poll_interval=self.poll_interval
            )
            event = await first_event(trigger)
            if event["status"] == "complete":
                self.counts["complete"] += 1
                return
            self.counts["resumed"] += 1
            async with BuildPixelAsyncHook(conn_id) as hook:
                await hook.get_build(build_id)


def _variable(number: int) -> str:
    return f"AIRFLOW_CONN_POOL_{number}"
