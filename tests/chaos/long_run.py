"""A thousand waits for a day of the sandbox: ``python -m tests.chaos.long_run``.

    python -m tests.chaos.long_run [--waits 1000] [--hours 24] [--speed 120] [--write docs/chaos.md]

The waits are real ``BuildPixelBuildTrigger.run()``s in one event loop, as in a triggerer. The
sandbox runs in another process, with a faster clock. The provider's own timers (polls, pauses
between reconnects) run in real time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

from tests.bench import pages
from tests.bench.http_json import post_json
from tests.chaos.isolation import ROOT, isolated
from tests.chaos.resource_usage import resource_usage, slope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.chaos.resource_usage import ResourceUsage
    from tests.chaos.wait_pool import WaitPool

HOUR = 3600.0
BUILD_HOURS = (1.0, 4.0)
"""Shortest and longest duration of a build, in hours."""

DEPLOY_INTERVAL = 36.0
"""Real seconds between deploys: after a shorter connection, the reconnect is delayed longer."""

MEASURE_BEFORE_DEPLOY = 8.0
"""Real seconds between the measurement and the deploy that follows it."""

CLOCK_JUMP = 600.0
"""Seconds by which the service's clock jumps at some deploys, in addition to its speed."""

DEPLOYS = ("kick_sockets", "drop_sockets", "restart", "refuse")


class RemoteService:
    """The sandbox in a separate process, over its control routes."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._setting = self.view("settings")["MyGame"][0]["id"]
        self._random = random.Random(8)  # noqa: S311  # the same durations in each run

    def call(self, verb: str, **arguments: Any) -> Any:
        """Call a control route; repeat while the service refuses connections."""
        while True:
            try:
                return self._post(verb, arguments)
            except OSError:
                time.sleep(0.5)

    def _post(self, verb: str, arguments: dict[str, Any]) -> Any:
        return post_json(f"{self.url}/_sandbox/{verb}", arguments)

    def view(self, name: str) -> Any:
        """Return a view of the sandbox's state."""
        with urlopen(f"{self.url}/_sandbox/{name}") as response:  # noqa: S310  # our own server
            return json.load(response)

    def push(self, branch: str) -> str:
        """Queue a build that runs for some hours."""
        run = self._random.uniform(*BUILD_HOURS) * HOUR
        self.call("plan", run=run, queue=60.0, lines=8, setting_id=self._setting)
        return str(self.call("push", setting_id=self._setting, triggered_by="cron", branch=branch))

    def issue_token(self) -> str:
        """Return a new token."""
        return str(self.call("issue_token"))

    def revoke(self, token: str) -> None:
        """Revoke a token."""
        self.call("revoke", token=token)

    def deploy(self, kind: str) -> None:
        """Simulate a deployment of the service, in one of several ways."""
        match kind:
            case "restart":
                with suppress(OSError):  # the fault also cuts this connection
                    self._post("fault", {"name": "refuse-connections", "seconds": 3.0})
            case "refuse":
                self.call("fault", name="sockets-refused", seconds=5.0, status=502)
                self.call("drop_sockets")
            case _:
                self.call(kind)


@contextmanager
def sandbox_process(speed: float) -> Iterator[RemoteService]:
    """Run the sandbox in a separate process."""
    command = [sys.executable, "-m", "airflow_provider_buildpixel.sandbox", "serve", "--port", "0"]
    with subprocess.Popen(
        [*command, "--speed", f"{speed:g}"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[3].rstrip(",")
        try:
            yield RemoteService(url)
        finally:
            process.terminate()


@dataclass(frozen=True)
class Sample:
    """The measurements at one time.

    :param hour: hours of the sandbox's clock since the start.
    :param sockets: socket connections of the service.
    :param counts: number of events so far.
    """

    hour: float
    sockets: int
    counts: dict[str, int]
    resource_usage: ResourceUsage


async def run_day(
    pool: WaitPool, service: RemoteService, hours: float, speed: float
) -> list[Sample]:
    """Run one day with deploys, token rotations and clock jumps; measure before each deploy."""
    started_at, samples, skipped = time.monotonic(), list[Sample](), 0.0
    number = 0
    while True:
        await asyncio.sleep(DEPLOY_INTERVAL - MEASURE_BEFORE_DEPLOY)
        hour = ((time.monotonic() - started_at) * speed + skipped) / HOUR
        state = await asyncio.to_thread(service.view, "state")
        samples.append(Sample(hour, state["sockets"], dict(pool.counts), resource_usage()))
        sys.stderr.write(f"{row(samples[-1])}\n")
        if hour >= hours:
            return samples
        await asyncio.to_thread(service.deploy, DEPLOYS[number % len(DEPLOYS)])
        pool.counts["deploys"] += 1
        pool.counts["reconnects"] += state["sockets"]
        if number % 3 == 2:
            await asyncio.to_thread(service.call, "advance", seconds=CLOCK_JUMP)
            skipped += CLOCK_JUMP
        await asyncio.sleep(MEASURE_BEFORE_DEPLOY)
        await pool.rotate_token(number % pool.connections)
        number += 1


def row(sample: Sample) -> str:
    """Return one sample as a row of the table."""
    usage, counts = sample.resource_usage, sample.counts
    cells = (
        f"{sample.hour:.1f}",
        counts.get("complete", 0),
        counts.get("deploys", 0),
        counts.get("reconnects", 0),
        counts.get("rotations", 0),
        sample.sockets,
        f"{usage.rss / 2**20:.1f}",
        usage.descriptors,
        usage.threads,
        usage.tasks,
        usage.objects,
    )
    return f"| {' | '.join(map(str, cells))} |"


COLUMNS = (
    "hour", "waits ended", "deploys", "reconnects", "rotations", "sockets", "RSS, MiB",
    "descriptors", "threads", "tasks", "objects",
)  # fmt: skip


def summary(samples: list[Sample]) -> str:
    """Return a table of the growth per reconnect and per wait, over the last three quarters."""
    later = samples[len(samples) // 4 :]
    lines = [
        "| growth over the last three quarters | per reconnect | per wait ended |",
        "|---|---|---|",
    ]
    metrics: dict[str, Callable[[Sample], float]] = {
        "RSS, bytes": lambda sample: sample.resource_usage.rss,
        "descriptors": lambda sample: sample.resource_usage.descriptors,
        "threads": lambda sample: sample.resource_usage.threads,
        "tasks": lambda sample: sample.resource_usage.tasks,
        "objects": lambda sample: sample.resource_usage.objects,
    }
    for name, value_of in metrics.items():
        rates = [
            slope([(sample.counts.get(per, 0), value_of(sample)) for sample in later])
            for per in ("reconnects", "complete")
        ]
        lines.append(f"| {name} | {' | '.join(f'{rate:.3f}' for rate in rates)} |")
    return "\n".join(lines)


async def run(waits: int, connections: int, hours: float, speed: float) -> str:
    """Run the test and return the tables."""
    from tests.chaos.wait_pool import WaitPool

    with sandbox_process(speed) as service:
        pool = WaitPool(service, connections)
        before = resource_usage()
        await pool.start(waits)
        samples = await run_day(pool, service, hours, speed)
        for task in pool.tasks:
            task.cancel()
        await asyncio.gather(*pool.tasks, return_exceptions=True)
        await asyncio.sleep(5.0)
        after = resource_usage()
    head = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    last = samples[-1].counts
    summary_text = (
        f"{waits} concurrent waits over {connections} connections, at {speed:g} times real time. "
        f"Failed waits: {last.get('failed', 0)}. Waits that ended with an error and were resumed: "
        f"{last.get('resumed', 0)}. At the end: {after.descriptors} descriptors "
        f"({before.descriptors} before the start), {after.tasks} tasks, {after.threads} threads."
    )
    return "\n\n".join((summary_text, "\n".join([*head, *map(row, samples)]), summary(samples)))


def main() -> None:
    """Run the test, print the tables, and write them to the page."""
    parser = argparse.ArgumentParser(description="Many waits for a long time.")
    parser.add_argument("--waits", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=10, help="one socket each")
    parser.add_argument("--hours", type=float, default=24.0, help="hours of the sandbox's clock")
    parser.add_argument("--speed", type=float, default=120.0, help="sandbox seconds a second")
    parser.add_argument("--write", type=Path, help="file for the tables")
    arguments = parser.parse_args()
    with isolated():
        from tests.bench.implementations import count_lines

        count_lines()
        text = asyncio.run(
            run(arguments.waits, arguments.connections, arguments.hours, arguments.speed)
        )
    sys.stdout.write(f"{text}\n")
    if arguments.write:
        pages.write_part(arguments.write, "long run", text)


if __name__ == "__main__":
    main()
