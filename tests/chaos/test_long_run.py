"""The short form of the long run: many reconnects, and nothing that grows with them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

import pytest

from airflow_provider_buildpixel.sandbox import Plan, Sandbox
from tests.chaos.crowd import Crowd
from tests.chaos.gauges import grown, reading

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.chaos.gauges import Reading

WAITS, CONNECTIONS = 200, 20
DEPLOYS = 4
INTERVAL = 4.0
OBJECTS = 200
"""What a leaked connection has at least, in objects of all kinds."""

PATIENCE = 240.0
RECONNECTS = (DEPLOYS + 1) * CONNECTIONS
A_FEW = RECONNECTS // 4
"""What may come and go, and is less than anything that each reconnect would leave behind."""


@dataclass
class LocalTown:
    """The sandbox in this process, in its own thread."""

    sandbox: Sandbox
    builds: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where it is."""
        return self.sandbox.url

    def push(self, branch: str) -> str:
        """Queue a build that runs until it is ended."""
        setting = self.sandbox.settings("MyGame")[0]["id"]
        self.builds.append(self.sandbox.push(setting, triggered_by="cron", branch=branch))
        return self.builds[-1]

    def issue_token(self) -> str:
        """Give a new token."""
        return self.sandbox.issue_token()

    def revoke(self, token: str) -> None:
        """Revoke a token."""
        self.sandbox.revoke(token)

    def followed(self) -> bool:
        """Whether every wait is in its room again, over one socket for each connection."""
        return self.sandbox.sockets == CONNECTIONS and all(map(self.sandbox.joined, self.builds))

    def deploy(self, number: int) -> None:
        """Send everyone away, in one way or the other."""
        self.sandbox.drop_sockets() if number % 2 else self.sandbox.kick_sockets()

    def close_idle(self) -> None:
        """Close the connections of REST, as balancers do with idle ones: so many may be kept."""
        server = self.sandbox._running.server

        def close() -> None:
            busy = {request.transport for request in server.gateway._passing.values()}
            runner = server._api.server
            for connection in list(runner.connections if runner else ()):
                if connection.transport is not None and connection.transport not in busy:
                    connection.transport.abort()

        self.sandbox._running.run(close)

    def finish(self) -> None:
        """Let all builds end well."""
        for build_id in self.builds:
            self.sandbox.set_status(build_id, "complete")


async def until(true: Callable[[], bool]) -> bool:
    """Wait for something that takes as long as the machine is busy; say whether it came."""
    end = time.monotonic() + PATIENCE
    while not await asyncio.to_thread(true):
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.1)
    return True


async def deployed(town: LocalTown, number: int) -> None:
    """Deploy, and wait until all waits have come back."""
    await asyncio.to_thread(town.deploy, number)
    assert await until(town.followed)


async def calm(town: LocalTown) -> Reading:
    """Look when the reads that follow a reconnect are over."""
    await asyncio.sleep(INTERVAL + 1.0)
    return await down_to(town, None, 0)


async def down_to(
    town: LocalTown, before: Reading | None, few: int, objects: float = inf
) -> Reading:
    """Look until no more is there than before, and a few; give the last look in any case."""
    end = time.monotonic() + PATIENCE / 2
    while True:
        await asyncio.to_thread(town.close_idle)
        await asyncio.sleep(0.3)
        # The sandbox is in this process, and its book grows with every request.
        town.sandbox.forget_requests()
        after = reading()
        if before is None:
            return after
        more = max(
            after.tasks - before.tasks,
            after.threads - before.threads,
            after.descriptors - before.descriptors,
            *grown(before, after).values(),
            0,
        )
        fewer = after.objects - before.objects < objects
        if (more < few and fewer) or time.monotonic() > end:
            return after


def check(before: Reading, after: Reading, few: int) -> None:
    """Compare two looks."""
    assert after.tasks - before.tasks < few
    assert after.threads - before.threads < few
    assert after.descriptors - before.descriptors < few
    assert grown(before, after, least=few) == {}


@pytest.mark.timeout(600)
async def test_nothing_grows() -> None:
    """Reconnects and new tokens leave nothing behind, and the end of all waits nothing at all."""
    with Sandbox(default=Plan("hangs", queue=0.0, run=1.0, lines=2)) as sandbox:
        town = LocalTown(sandbox)
        crowd = Crowd(town, CONNECTIONS, poll_interval=INTERVAL)
        start = reading()
        await crowd.come(WAITS)
        assert await until(lambda: len(town.builds) == WAITS and town.followed())
        await deployed(town, 0)
        first = await calm(town)
        for number in range(DEPLOYS):
            await deployed(town, number)
        for number in range(CONNECTIONS):
            await crowd.rotate(number)
        await deployed(town, 0)
        after = await down_to(town, first, A_FEW, A_FEW * OBJECTS)
        check(first, after, A_FEW)
        assert after.objects - first.objects < A_FEW * OBJECTS
        await asyncio.to_thread(town.finish)
        await crowd.go()
        # One look-up of each connection is kept, for as long as its loop lives.
        last = await down_to(town, start, A_FEW + CONNECTIONS)
    check(start, last, A_FEW + CONNECTIONS)
    assert crowd.counts == {"complete": WAITS, "rotations": CONNECTIONS}
