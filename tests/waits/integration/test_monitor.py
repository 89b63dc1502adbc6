"""The shared hub: one connection for many, nothing left behind, nothing that blocks the loop."""

from __future__ import annotations

import asyncio
import gc
import time
from pathlib import Path
from typing import TYPE_CHECKING

import engineio.base_client
import pytest
from blockbuster import blockbuster_ctx

from airflow_provider_buildpixel.channel.async_channel import AsyncChannel
from airflow_provider_buildpixel.channel.metrics import Metrics
from airflow_provider_buildpixel.waits.monitor import _MONITORS, BuildMonitor, monitor_for
from airflow_provider_buildpixel.waits.subscription import Subscriptions
from airflow_provider_buildpixel.waits.wait import Wait
from tests.channel.integration.test_channels import openings
from tests.clients.shells import AsyncioShell, Waiting, built, end_of, until
from tests.waits.integration.test_waits import reads

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from typing import Any

    from airflow_provider_buildpixel.api.settings import Settings
    from airflow_provider_buildpixel.sandbox import Sandbox


def waits(settings: Settings, build_id: str, channel: str = "auto") -> Coroutine[Any, Any, Any]:
    """Wait for a build on the hub of the running loop."""
    return end_of(AsyncioShell(settings), Waiting(build_id, channel, poll_interval=30.0))


def queue(sandbox: Sandbox, count: int) -> list[str]:
    """Queue builds that do not supersede one another."""
    setting = sandbox.setting("MyGame", platform="Win64", buildType="Shipping")["id"]
    return [sandbox.push(setting, branch=f"branch-{number}") for number in range(count)]


async def lag(report: list[float]) -> None:
    """Note what the loop works before it comes back after a moment, until cancelled.

    That is processor time of its own: a busy machine, or the sandbox's thread, adds nothing.
    """
    while True:
        begun = time.thread_time()
        await asyncio.sleep(0.01)
        report.append(time.thread_time() - begun)


async def test_500_waits(sandbox: Sandbox, settings: Settings) -> None:
    """500 waits share one socket and 8 HTTP connections, and none of them holds up the loop."""
    settings = type(settings)(settings.base_url, settings.token)
    builds = queue(sandbox, 500)
    lags: list[float] = []
    probe = asyncio.create_task(lag(lags))
    tasks = [asyncio.create_task(waits(settings, build)) for build in builds]
    await until(lambda: all(sandbox.joined(build) for build in builds))
    await asyncio.sleep(0.5)
    ports = _peers(sandbox)
    started = len(sandbox.requests)
    for build in builds:
        sandbox.set_status(build, "complete")
    ends = await asyncio.gather(*tasks)
    probe.cancel()
    assert {built(end).status for end in ends} == {"complete"}
    assert openings(sandbox) == 1
    assert len(ports) <= 9
    assert started <= 550
    assert max(lags) < 0.25


async def test_reports(
    sandbox: Sandbox, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What happens is reported soon; what stays as it is, is not reported again and again."""
    reports: list[tuple[int, bool | None, int]] = []
    looks: list[BuildMonitor] = []
    news = BuildMonitor._news

    def look(monitor: BuildMonitor) -> bool:
        looks.append(monitor)
        return news(monitor)

    monkeypatch.setattr(BuildMonitor, "_news", look)
    monkeypatch.setattr("airflow_provider_buildpixel.waits.monitor.REPORT_INTERVAL", 0.0)
    monkeypatch.setattr("airflow_provider_buildpixel.waits.monitor.QUIET_REPORT_INTERVAL", 0.05)

    def note(metrics: Metrics) -> None:
        looks.clear()
        reports.append((metrics.waits, metrics.up, metrics.events["log"]))

    (build,) = queue(sandbox, 1)
    async with monitor_for(settings, note):
        task = asyncio.create_task(waits(settings, build))
        await until(lambda: sandbox.joined(build) and reads(sandbox))
        await until(lambda: len(looks) > 5)  # since the last report
        assert reports[-1] == (1, True, 0)
        sandbox.log(build, "a line")
        await until(lambda: reports[-1] == (1, True, 1))
        sandbox.set_status(build, "complete")
        assert built(await task).status == "complete"
        await until(lambda: reports[-1][0] == 0)


def _peers(sandbox: Sandbox) -> set[str]:
    """Give this process's connections to the sandbox."""
    port = int(sandbox.url.rpartition(":")[2])
    rows = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
    return {row[1] for row in rows if row[2].endswith(f":{port:04X}") and row[3] == "01"}


@pytest.mark.parametrize("channel", ["auto", "polling"])
async def test_cancelled_at_any_step(sandbox: Sandbox, settings: Settings, channel: str) -> None:
    """A wait cancelled after any number of the loop's steps leaves no room, box or user behind."""
    (build,) = queue(sandbox, 1)
    async with monitor_for(settings) as monitor:
        for steps in [*range(60), 100, 200, 400]:
            task = asyncio.create_task(waits(settings, build, channel))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert build not in monitor.subscriptions
        await until(lambda: not sandbox.joined(build))
        sandbox.set_status(build, "complete")
        assert built(await waits(settings, build, channel)).status == "complete"


@pytest.mark.parametrize("steps", range(6))
async def test_closed_as_it_comes_up(sandbox: Sandbox, settings: Settings, steps: int) -> None:
    """A channel that is closed at the very moment at which it comes up is closed all the same."""
    (build,) = queue(sandbox, 1)
    subscriptions = Subscriptions()
    subscription, _ = subscriptions.open(build)
    channel = AsyncChannel(settings, subscriptions, Metrics())
    channel.subscribe(build, subscription.put, first=True)
    while not _accepted():  # each turn of the loop counts
        await asyncio.sleep(0)
    for _ in range(steps):
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await channel.close()


def _accepted() -> bool:
    """Tell whether a server has accepted one of this process's Socket.IO clients."""
    engines = engineio.base_client.connected_clients
    return any(engine.handlers["connect"].__self__.namespaces for engine in engines)


@pytest.mark.parametrize("seconds", [0.0, 0.005, 0.02, 0.15])
@pytest.mark.parametrize(
    "fault", [None, "sockets-hang", "sockets-refused", "sockets-blocked-polling-ok", "hang"]
)
def test_a_loop_that_ends(
    sandbox: Sandbox, settings: Settings, seconds: float, fault: str | None
) -> None:
    """A loop that ends at any moment of a wait closes everything; nothing warns."""
    (build,) = queue(sandbox, 1)
    if fault is not None:
        sandbox.fault(fault)

    async def main() -> None:
        task = asyncio.create_task(waits(settings, build))
        await asyncio.sleep(seconds)
        assert not task.done()

    asyncio.run(main())
    gc.collect()
    sandbox.heal()
    assert not [key for key in _MONITORS if key[1] == settings]


def test_one_loop_after_the_other(sandbox: Sandbox, settings: Settings) -> None:
    """Loops that follow one another, as in dag.test, each get a hub that works."""

    async def main(build: str) -> None:
        async with monitor_for(settings):
            task = asyncio.create_task(waits(settings, build))
            await until(lambda: sandbox.joined(build))
            sandbox.set_status(build, "complete")
            assert built(await task).status == "complete"

    for build in queue(sandbox, 5):
        asyncio.run(main(build))
    assert openings(sandbox) == 5


def test_an_abandoned_wait(sandbox: Sandbox, settings: Settings) -> None:
    """A generator that is given up with the hub in its hands, as dag.test does, leaves nothing."""
    (build,) = queue(sandbox, 1)
    sandbox.set_status(build, "complete")

    async def main() -> None:
        async def run() -> Any:
            async with monitor_for(settings) as monitor:
                yield await monitor.wait(Wait(build), lambda _: None)

        async for _ in run():
            break

    asyncio.run(main())
    gc.collect()


async def test_the_linger(sandbox: Sandbox, settings: Settings) -> None:
    """The connection stays for the next wait, and ends a little after the last one."""
    one, two = queue(sandbox, 2)
    for build in (one, two):
        task = asyncio.create_task(waits(settings, build))
        await until(lambda build=build: sandbox.joined(build))  # type: ignore[misc]
        sandbox.set_status(build, "complete")
        await task
    assert openings(sandbox) == 1
    await until(lambda: sandbox.sockets == 0)
    assert not [key for key in _MONITORS if key[1] == settings]


async def test_two_waits_for_one_build(sandbox: Sandbox, settings: Settings) -> None:
    """Two waits for one build share its room, which stays joined until the second leaves."""
    (build,) = queue(sandbox, 1)
    first, second = (asyncio.create_task(waits(settings, build)) for _ in range(2))
    await until(lambda: sandbox.joined(build) and reads(sandbox))
    first.cancel()
    await asyncio.sleep(0.1)
    assert sandbox.joined(build) == 1
    sandbox.set_status(build, "complete")
    assert built(await second).status == "complete"


async def test_a_429_holds_back_every_wait(sandbox: Sandbox, settings: Settings) -> None:
    """A 429 stops the reads of all waits of the token for the time that it names."""
    builds = queue(sandbox, 12)
    sandbox.fault("429", times=1, retry_after=1)
    tasks = [asyncio.create_task(waits(settings, build, "polling")) for build in builds]
    await until(lambda: any(request.status == 429 for request in sandbox.requests))
    for build in builds:
        sandbox.set_status(build, "complete")
    await asyncio.gather(*tasks)
    limited = [request.at for request in sandbox.requests if request.status == 429]
    later = [request.at for request in sandbox.requests if request.status == 200]
    assert len(limited) <= 8
    assert min(later) - limited[-1] >= 1


async def test_a_log_is_filled_in_after_a_cut(sandbox: Sandbox, settings: Settings) -> None:
    """Lines that were missed while the socket was down are told, of one among many, too."""
    builds = queue(sandbox, 20)
    waiting = Waiting(builds[0], poll_interval=30.0)
    others = [asyncio.create_task(waits(settings, build)) for build in builds[1:]]
    task = asyncio.create_task(end_of(AsyncioShell(settings), waiting))
    await until(lambda: all(sandbox.joined(build) for build in builds))
    sandbox.log(builds[0], "before the cut")
    await until(lambda: "before the cut" in waiting.told)
    sandbox.fault("sockets-refused", seconds=0.3)
    sandbox.drop_sockets()
    sandbox.log(builds[0], "in the dark")
    await until(lambda: "in the dark" in waiting.told)
    for build in builds:
        sandbox.set_status(build, "complete")
    assert {built(end).status for end in await asyncio.gather(task, *others)} == {"complete"}
    assert waiting.told.count("before the cut") == 1


@pytest.fixture
def unblocked() -> Iterator[None]:
    """Let any call that blocks the loop raise."""
    with blockbuster_ctx("airflow_provider_buildpixel.client"):
        yield


async def test_no_blocking_call(sandbox: Sandbox, settings: Settings, unblocked: None) -> None:
    """No call of the asyncio shell blocks the loop: connecting, reading, failing, closing."""
    (build,) = queue(sandbox, 1)
    sandbox.fault("500", times=2)
    task = asyncio.create_task(waits(settings, build))
    await until(lambda: sandbox.joined(build) and reads(sandbox))
    sandbox.drop_sockets()
    await until(lambda: openings(sandbox) >= 2)
    sandbox.set_status(build, "complete")
    assert built(await task).status == "complete"
    await until(lambda: sandbox.sockets == 0)
