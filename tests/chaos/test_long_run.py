"""The short form of the long run: resources do not grow with the number of reconnects."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

import pytest

from airflow_provider_buildpixel.sandbox import Plan, Sandbox
from tests.chaos.resource_usage import growth, resource_usage
from tests.chaos.wait_pool import WaitPool

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.chaos.resource_usage import ResourceUsage

WAITS, CONNECTIONS = 200, 20
DEPLOYS = 4
POLL_INTERVAL = 4.0
OBJECTS_PER_CONNECTION = 200
"""The least number of Python objects that a leaked connection keeps."""

TIMEOUT = 240.0
RECONNECTS = (DEPLOYS + 1) * CONNECTIONS
TOLERANCE = RECONNECTS // 4
"""Allowed growth: less than a leak in each reconnect would cause."""


@dataclass
class LocalService:
    """The sandbox in this process, in its own thread."""

    sandbox: Sandbox
    builds: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The base URL."""
        return self.sandbox.url

    def push(self, branch: str) -> str:
        """Queue a build that runs until it is ended."""
        setting = self.sandbox.settings("MyGame")[0]["id"]
        self.builds.append(self.sandbox.push(setting, triggered_by="cron", branch=branch))
        return self.builds[-1]

    def issue_token(self) -> str:
        """Return a new token."""
        return self.sandbox.issue_token()

    def revoke(self, token: str) -> None:
        """Revoke a token."""
        self.sandbox.revoke(token)

    def all_joined(self) -> bool:
        """Return whether every wait has joined its room, over one socket for each connection."""
        return self.sandbox.sockets == CONNECTIONS and all(map(self.sandbox.joined, self.builds))

    def deploy(self, number: int) -> None:
        """Disconnect all sockets, alternately with and without a disconnect packet."""
        self.sandbox.drop_sockets() if number % 2 else self.sandbox.kick_sockets()

    def close_idle(self) -> None:
        """Close idle HTTP connections, as load balancers do: clients keep a varying number."""
        server = self.sandbox._running.server

        def close() -> None:
            busy = {request.transport for request in server.socket_middleware._in_progress.values()}
            runner = server._api.server
            for connection in list(runner.connections if runner else ()):
                if connection.transport is not None and connection.transport not in busy:
                    connection.transport.abort()

        self.sandbox._running.run(close)

    def finish(self) -> None:
        """Complete all builds."""
        for build_id in self.builds:
            self.sandbox.set_status(build_id, "complete")


async def wait_until(condition: Callable[[], bool]) -> bool:
    """Wait for a condition; return whether it became true before the timeout."""
    end = time.monotonic() + TIMEOUT
    while not await asyncio.to_thread(condition):
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.1)
    return True


async def deploy_and_wait(service: LocalService, number: int) -> None:
    """Deploy, and wait until all waits have joined again."""
    await asyncio.to_thread(service.deploy, number)
    assert await wait_until(service.all_joined)


async def usage_when_idle(service: LocalService) -> ResourceUsage:
    """Return the usage after the reads that follow a reconnect."""
    await asyncio.sleep(POLL_INTERVAL + 1.0)
    return await usage_after_cleanup(service, None, 0)


async def usage_after_cleanup(
    service: LocalService, before: ResourceUsage | None, tolerance: int, objects: float = inf
) -> ResourceUsage:
    """Measure until the growth is within the tolerance, or time is up; return the last usage."""
    end = time.monotonic() + TIMEOUT / 2
    while True:
        await asyncio.to_thread(service.close_idle)
        await asyncio.sleep(0.3)
        # The sandbox is in this process, and its list of requests grows.
        service.sandbox.forget_requests()
        after = resource_usage()
        if before is None:
            return after
        more = max(
            after.tasks - before.tasks,
            after.threads - before.threads,
            after.descriptors - before.descriptors,
            *growth(before, after).values(),
            0,
        )
        objects_ok = after.objects - before.objects < objects
        if (more < tolerance and objects_ok) or time.monotonic() > end:
            return after


def check_growth(before: ResourceUsage, after: ResourceUsage, tolerance: int) -> None:
    """Compare the usage at two times."""
    assert after.tasks - before.tasks < tolerance
    assert after.threads - before.threads < tolerance
    assert after.descriptors - before.descriptors < tolerance
    assert growth(before, after, least=tolerance) == {}


@pytest.mark.timeout(600)
async def test_nothing_grows() -> None:
    """Reconnects and new tokens leak nothing, and neither do waits that have ended."""
    with Sandbox(default=Plan("hangs", queue=0.0, run=1.0, lines=2)) as sandbox:
        service = LocalService(sandbox)
        pool = WaitPool(service, CONNECTIONS, poll_interval=POLL_INTERVAL)
        initial = resource_usage()
        await pool.start(WAITS)
        assert await wait_until(lambda: len(service.builds) == WAITS and service.all_joined())
        await deploy_and_wait(service, 0)
        first = await usage_when_idle(service)
        for number in range(DEPLOYS):
            await deploy_and_wait(service, number)
        for number in range(CONNECTIONS):
            await pool.rotate_token(number)
        await deploy_and_wait(service, 0)
        after = await usage_after_cleanup(
            service, first, TOLERANCE, TOLERANCE * OBJECTS_PER_CONNECTION
        )
        check_growth(first, after, TOLERANCE)
        assert after.objects - first.objects < TOLERANCE * OBJECTS_PER_CONNECTION
        await asyncio.to_thread(service.finish)
        await pool.finish()
        # One cached lookup of each connection is kept for the lifetime of the event loop.
        last = await usage_after_cleanup(service, initial, TOLERANCE + CONNECTIONS)
    check_growth(initial, last, TOLERANCE + CONNECTIONS)
    assert pool.counts == {"complete": WAITS, "rotations": CONNECTIONS}
