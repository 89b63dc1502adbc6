"""Many real waits in one loop: what a triggerer full of our triggers does for a day."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_buildpixel.hooks.buildpixel_async import BuildPixelAsyncHook
from airflow_provider_buildpixel.triggers.buildpixel import BuildPixelBuildTrigger

if TYPE_CHECKING:
    from collections.abc import Coroutine


class Town(Protocol):
    """The sandbox, wherever it runs; each method may block."""

    @property
    def url(self) -> str:
        """Where it is."""

    def push(self, branch: str) -> str:
        """Queue a build of a branch of its own, and give its id."""

    def issue_token(self) -> str:
        """Give a new token."""

    def revoke(self, token: str) -> None:
        """Revoke a token."""


@dataclass
class Crowd:
    """Waits over several connections, each replaced by a new one when its build ends.

    :param connections: how many; each has a hub and a socket of its own.
    :param keep_on: whether waits that end are replaced.
    """

    town: Town
    connections: int
    poll_interval: float = 30.0
    keep_on: bool = True
    counts: Counter[str] = field(default_factory=Counter)
    tokens: list[str] = field(default_factory=list)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    pushing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))

    async def come(self, waits: int) -> None:
        """Start so many waits."""
        self.tokens = [
            await asyncio.to_thread(self.town.issue_token) for _ in range(self.connections)
        ]
        for number, token in enumerate(self.tokens):
            self._connect(number, token)
        for number in range(waits):
            self._start(self._stay(number))

    async def rotate(self, number: int) -> None:
        """Give a connection a new token, and revoke the old one."""
        before, after = self.tokens[number], await asyncio.to_thread(self.town.issue_token)
        self.tokens[number] = after
        self._connect(number, after)
        await asyncio.to_thread(self.town.revoke, before)
        self.counts["rotations"] += 1

    async def go(self) -> None:
        """Wait until all waits are over."""
        self.keep_on = False
        await asyncio.gather(*self.tasks)
        for number in range(self.connections):
            del os.environ[_variable(number)]

    def _connect(self, number: int, token: str) -> None:
        given = {"conn_type": "buildpixel", "host": self.town.url, "password": token}
        os.environ[_variable(number)] = json.dumps(given)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.counts["failed"] += 1
            self.counts[repr(task.exception())[:200]] += 1

    async def _stay(self, number: int) -> None:
        round_ = 0
        while True:
            async with self.pushing:
                branch = f"feature/{number}-{round_}"
                build_id = await asyncio.to_thread(self.town.push, branch)
            await self.wait(build_id, f"crowd_{number % self.connections}")
            round_ += 1
            if not self.keep_on:
                return

    async def wait(self, build_id: str, conn_id: str) -> None:
        """Wait for one build as a task does: woken by trouble, it reads and goes on."""
        while True:
            trigger = BuildPixelBuildTrigger(
                build_id=build_id, buildpixel_conn_id=conn_id, poll_interval=self.poll_interval
            )
            event = await first(trigger)
            if event["status"] == "complete":
                self.counts["complete"] += 1
                return
            self.counts["woken"] += 1
            async with BuildPixelAsyncHook(conn_id) as hook:
                await hook.get_build(build_id)


def _variable(number: int) -> str:
    return f"AIRFLOW_CONN_CROWD_{number}"


async def first(trigger: BuildPixelBuildTrigger) -> dict[str, Any]:
    """Give the payload of a trigger's one event."""
    running: Any = trigger.run()
    async with aclosing(running) as events:
        async for event in events:
            return dict(event.payload)
    raise RuntimeError("the trigger returned without an event")
