"""The shared monitor: one connection for many waits, no leftovers, no blocking calls."""

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
from tests.channel.integration.test_channels import connection_attempts
from tests.clients.adapters import AsyncAdapter, RecordedWait, ended_build, run_wait, wait_until
from tests.waits.integration.test_waits import reads

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from typing import Any

    from airflow_provider_buildpixel.api.settings import Settings
    from airflow_provider_buildpixel.sandbox import Sandbox


def wait_for(settings: Settings, build_id: str, channel: str = "auto") -> Coroutine[Any, Any, Any]:
    """Wait for a build with the monitor of the running loop."""
    return run_wait(AsyncAdapter(settings), RecordedWait(build_id, channel, poll_interval=30.0))


def queue_builds(sandbox: Sandbox, count: int) -> list[str]:
    """Queue builds that do not supersede one another; return their ids."""
    setting = sandbox.setting("MyGame", platform="Win64", buildType="Shipping")["id"]
    return [sandbox.push(setting, branch=f"branch-{number}") for number in range(count)]


async def measure_lag(lags: list[float]) -> None:
    """Append the processor time that the loop uses between two steps of this task.

    Processor time of the thread: other processes and the thread of the sandbox do not count.
    """
    while True:
        before = time.thread_time()
        await asyncio.sleep(0.01)
        lags.append(time.thread_time() - before)


async def test_500_waits(sandbox: Sandbox, settings: Settings) -> None:
    """500 waits share one websocket and 8 HTTP connections, and do not block the event loop."""
    settings = type(settings)(settings.base_url, settings.token)
    builds = queue_builds(sandbox, 500)
    lags: list[float] = []
    measuring = asyncio.create_task(measure_lag(lags))
    tasks = [asyncio.create_task(wait_for(settings, build)) for build in builds]
    await wait_until(lambda: all(sandbox.joined(build) for build in builds))
    await asyncio.sleep(0.5)
    ports = _peers(sandbox)
    requests_at_start = len(sandbox.requests)
    for build in builds:
        sandbox.set_status(build, "complete")
    ends = await asyncio.gather(*tasks)
    measuring.cancel()
    assert {ended_build(end).status for end in ends} == {"complete"}
    assert connection_attempts(sandbox) == 1
    assert len(ports) <= 9
    assert requests_at_start <= 550
    assert max(lags) < 0.25


async def test_reports(
    sandbox: Sandbox, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changes of the metrics are reported soon; unchanged metrics are not reported again."""
    reports: list[tuple[int, bool | None, int]] = []
    checks: list[BuildMonitor] = []
    has_changed = BuildMonitor._has_changed

    def check(monitor: BuildMonitor) -> bool:
        checks.append(monitor)
        return has_changed(monitor)

    monkeypatch.setattr(BuildMonitor, "_has_changed", check)
    monkeypatch.setattr("airflow_provider_buildpixel.waits.monitor.REPORT_INTERVAL", 0.0)
    monkeypatch.setattr("airflow_provider_buildpixel.waits.monitor.QUIET_REPORT_INTERVAL", 0.05)

    def report(metrics: Metrics) -> None:
        checks.clear()
        reports.append((metrics.waits, metrics.up, metrics.events["log"]))

    (build,) = queue_builds(sandbox, 1)
    async with monitor_for(settings, report):
        task = asyncio.create_task(wait_for(settings, build))
        await wait_until(lambda: sandbox.joined(build) and reads(sandbox))
        await wait_until(lambda: len(checks) > 5)  # since the last report
        assert reports[-1] == (1, True, 0)
        sandbox.log(build, "a line")
        await wait_until(lambda: reports[-1] == (1, True, 1))
        sandbox.set_status(build, "complete")
        assert ended_build(await task).status == "complete"
        await wait_until(lambda: reports[-1][0] == 0)


def _peers(sandbox: Sandbox) -> set[str]:
    """Return the local addresses of this process's connections to the sandbox."""
    port = int(sandbox.url.rpartition(":")[2])
    rows = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
    return {row[1] for row in rows if row[2].endswith(f":{port:04X}") and row[3] == "01"}


@pytest.mark.parametrize("channel", ["auto", "polling"])
async def test_cancelled_at_any_step(sandbox: Sandbox, settings: Settings, channel: str) -> None:
    """A wait cancelled after any number of loop steps leaves no room and no subscription."""
    (build,) = queue_builds(sandbox, 1)
    async with monitor_for(settings) as monitor:
        for steps in [*range(60), 100, 200, 400]:
            task = asyncio.create_task(wait_for(settings, build, channel))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert build not in monitor.subscriptions
        await wait_until(lambda: not sandbox.joined(build))
        sandbox.set_status(build, "complete")
        assert ended_build(await wait_for(settings, build, channel)).status == "complete"


@pytest.mark.parametrize("steps", range(6))
async def test_closed_while_connecting(sandbox: Sandbox, settings: Settings, steps: int) -> None:
    """A channel can be closed at the very moment at which it connects."""
    (build,) = queue_builds(sandbox, 1)
    subscriptions = Subscriptions()
    subscription, _ = subscriptions.add(build)
    channel = AsyncChannel(settings, subscriptions, Metrics())
    channel.subscribe(build, subscription.put, first=True)
    while not _accepted():  # noqa: ASYNC110  # each step of the loop counts
        await asyncio.sleep(0)
    for _ in range(steps):
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await channel.close()


def _accepted() -> bool:
    """Return whether a server has accepted one of this process's Socket.IO clients."""
    engines = engineio.base_client.connected_clients
    return any(engine.handlers["connect"].__self__.namespaces for engine in engines)


@pytest.mark.parametrize("seconds", [0.0, 0.005, 0.02, 0.15])
@pytest.mark.parametrize(
    "fault", [None, "sockets-hang", "sockets-refused", "sockets-blocked-polling-ok", "hang"]
)
def test_a_loop_that_ends(
    sandbox: Sandbox, settings: Settings, seconds: float, fault: str | None
) -> None:
    """A loop that ends at any moment of a wait closes everything, without warnings."""
    (build,) = queue_builds(sandbox, 1)
    if fault is not None:
        sandbox.fault(fault)

    async def main() -> None:
        task = asyncio.create_task(wait_for(settings, build))
        await asyncio.sleep(seconds)
        assert not task.done()

    asyncio.run(main())
    gc.collect()
    sandbox.heal()
    assert not [key for key in _MONITORS if key[1] == settings]


def test_one_loop_after_the_other(sandbox: Sandbox, settings: Settings) -> None:
    """Each of several loops in a row, as in dag.test, gets a working monitor."""

    async def main(build: str) -> None:
        async with monitor_for(settings):
            task = asyncio.create_task(wait_for(settings, build))
            await wait_until(lambda: sandbox.joined(build))
            sandbox.set_status(build, "complete")
            assert ended_build(await task).status == "complete"

    for build in queue_builds(sandbox, 5):
        asyncio.run(main(build))
    assert connection_attempts(sandbox) == 5


def test_an_abandoned_wait(sandbox: Sandbox, settings: Settings) -> None:
    """A generator that is abandoned inside the monitor, as dag.test does, leaves nothing open."""
    (build,) = queue_builds(sandbox, 1)
    sandbox.set_status(build, "complete")

    async def main() -> None:
        async def run() -> Any:
            async with monitor_for(settings) as monitor:
                yield await monitor.wait(Wait(build), lambda _: None)

        async for _ in run():
            break

    asyncio.run(main())
    gc.collect()


async def test_idle_close(sandbox: Sandbox, settings: Settings) -> None:
    """The connection stays open for the next wait, and closes a little after the last one."""
    one, two = queue_builds(sandbox, 2)
    for build in (one, two):
        task = asyncio.create_task(wait_for(settings, build))
        await wait_until(lambda build=build: sandbox.joined(build))  # type: ignore[misc]
        sandbox.set_status(build, "complete")
        await task
    assert connection_attempts(sandbox) == 1
    await wait_until(lambda: sandbox.sockets == 0)
    assert not [key for key in _MONITORS if key[1] == settings]


async def test_two_waits_for_one_build(sandbox: Sandbox, settings: Settings) -> None:
    """Two waits for one build share its room, which stays joined until the second leaves."""
    (build,) = queue_builds(sandbox, 1)
    first, second = (asyncio.create_task(wait_for(settings, build)) for _ in range(2))
    await wait_until(lambda: sandbox.joined(build) and reads(sandbox))
    first.cancel()
    await asyncio.sleep(0.1)
    assert sandbox.joined(build) == 1
    sandbox.set_status(build, "complete")
    assert ended_build(await second).status == "complete"


async def test_a_429_delays_every_wait(sandbox: Sandbox, settings: Settings) -> None:
    """A 429 delays the reads of all waits of the token until its Retry-After has passed."""
    builds = queue_builds(sandbox, 12)
    sandbox.fault("429", times=1, retry_after=1)
    tasks = [asyncio.create_task(wait_for(settings, build, "polling")) for build in builds]
    await wait_until(lambda: any(request.status == 429 for request in sandbox.requests))
    for build in builds:
        sandbox.set_status(build, "complete")
    await asyncio.gather(*tasks)
    refused = [request.at for request in sandbox.requests if request.status == 429]
    answered = [request.at for request in sandbox.requests if request.status == 200]
    assert len(refused) <= 8
    assert min(answered) - refused[-1] >= 1


async def test_missed_log_lines_after_a_cut(sandbox: Sandbox, settings: Settings) -> None:
    """Lines that the channel missed while disconnected are reported, also for one of many waits."""
    builds = queue_builds(sandbox, 20)
    wait = RecordedWait(builds[0], poll_interval=30.0)
    others = [asyncio.create_task(wait_for(settings, build)) for build in builds[1:]]
    task = asyncio.create_task(run_wait(AsyncAdapter(settings), wait))
    await wait_until(lambda: all(sandbox.joined(build) for build in builds))
    sandbox.log(builds[0], "before the cut")
    await wait_until(lambda: "before the cut" in wait.log_text)
    sandbox.fault("sockets-refused", seconds=0.3)
    sandbox.drop_sockets()
    sandbox.log(builds[0], "during the cut")
    await wait_until(lambda: "during the cut" in wait.log_text)
    for build in builds:
        sandbox.set_status(build, "complete")
    assert {ended_build(end).status for end in await asyncio.gather(task, *others)} == {"complete"}
    assert wait.log_text.count("before the cut") == 1


@pytest.fixture
def no_blocking_calls() -> Iterator[None]:
    """Raise at any call that blocks the event loop."""
    folders = [f"airflow_provider_buildpixel.{name}" for name in ("api", "channel", "waits")]
    with blockbuster_ctx(folders):
        yield


async def test_no_blocking_call(
    sandbox: Sandbox, settings: Settings, no_blocking_calls: None
) -> None:
    """No call of the asyncio client blocks the loop: connecting, reading, failing, closing."""
    (build,) = queue_builds(sandbox, 1)
    sandbox.fault("500", times=2)
    task = asyncio.create_task(wait_for(settings, build))
    await wait_until(lambda: sandbox.joined(build) and reads(sandbox))
    sandbox.drop_sockets()
    await wait_until(lambda: connection_attempts(sandbox) >= 2)
    sandbox.set_status(build, "complete")
    assert ended_build(await task).status == "complete"
    await wait_until(lambda: sandbox.sockets == 0)
