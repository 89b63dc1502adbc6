"""A thousand waits for a day of the sandbox: ``python -m tests.chaos.long_run``.

    python -m tests.chaos.long_run [--waits 1000] [--hours 24] [--speed 120] [--write docs/chaos.md]

The waits are real ``BuildPixelBuildTrigger.run()``s in one loop, as in a triggerer; the sandbox is
another process, whose clock runs faster. Whatever the provider does by its own clock (polls,
pauses between reconnects) goes at its real pace.
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
from urllib.request import Request, urlopen

from tests.chaos.gauges import reading, slope
from tests.chaos.setting import ROOT, isolated, written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.chaos.crowd import Crowd
    from tests.chaos.gauges import Reading

HOUR = 3600.0
LIVES = (1.0, 4.0)
"""Hours that a build lives."""

DEPLOY = 36.0
"""Real seconds between deploys: a channel that stood for less is brought back more slowly."""

CALM = 8.0
"""Real seconds before a deploy at which is measured."""

SKEW = 600.0
"""Seconds by which the service's clock jumps at some deploys, besides running faster."""

DEPLOYS = ("kick_sockets", "drop_sockets", "restart", "refuse")


class RemoteTown:
    """The sandbox in a process of its own, over its control routes."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._setting = self.view("settings")["MyGame"][0]["id"]
        self._jitter = random.Random(8)  # the same lives in each run

    def order(self, verb: str, **arguments: Any) -> Any:
        """Order something, again if nothing can connect just now."""
        while True:
            try:
                return self._ordered(verb, arguments)
            except OSError:
                time.sleep(0.5)

    def _ordered(self, verb: str, arguments: dict[str, Any]) -> Any:
        request = Request(  # ours
            f"{self.url}/_sandbox/{verb}",
            data=json.dumps(arguments).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urlopen(request) as answer:  # ours
            return json.load(answer)

    def view(self, name: str) -> Any:
        """Look at something."""
        with urlopen(f"{self.url}/_sandbox/{name}") as answer:  # ours
            return json.load(answer)

    def push(self, branch: str) -> str:
        """Queue a build that lives for some hours."""
        run = self._jitter.uniform(*LIVES) * HOUR
        self.order("plan", run=run, queue=60.0, lines=8, setting_id=self._setting)
        return str(self.order("push", setting_id=self._setting, triggered_by="cron", branch=branch))

    def issue_token(self) -> str:
        """Give a new token."""
        return str(self.order("issue_token"))

    def revoke(self, token: str) -> None:
        """Revoke a token."""
        self.order("revoke", token=token)

    def deploy(self, how: str) -> None:
        """Deploy a new version of the service, in one of several ways."""
        match how:
            case "restart":
                with suppress(OSError):  # which cuts the connection that this goes over
                    self._ordered("fault", {"name": "refuse-connections", "seconds": 3.0})
            case "refuse":
                self.order("fault", name="sockets-refused", seconds=5.0, status=502)
                self.order("drop_sockets")
            case _:
                self.order(how)


@contextmanager
def town(speed: float) -> Iterator[RemoteTown]:
    """Run the sandbox."""
    command = [sys.executable, "-m", "airflow_provider_buildpixel.sandbox", "serve", "--port", "0"]
    with subprocess.Popen(
        [*command, "--speed", f"{speed:g}"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[3].rstrip(",")
        try:
            yield RemoteTown(url)
        finally:
            process.terminate()


@dataclass(frozen=True)
class Look:
    """What was seen at some time.

    :param hour: of the sandbox, from the start.
    :param sockets: connections at the service.
    :param counts: what has happened so far.
    """

    hour: float
    sockets: int
    counts: dict[str, int]
    reading: Reading


async def live(crowd: Crowd, service: RemoteTown, hours: float, speed: float) -> list[Look]:
    """Let the day pass: deploys, rotations, jumps of the clock; look before each deploy."""
    began, looks, skipped = time.monotonic(), list[Look](), 0.0
    number = 0
    while True:
        await asyncio.sleep(DEPLOY - CALM)
        hour = ((time.monotonic() - began) * speed + skipped) / HOUR
        state = await asyncio.to_thread(service.view, "state")
        looks.append(Look(hour, state["sockets"], dict(crowd.counts), reading()))
        sys.stderr.write(f"{line(looks[-1])}\n")
        if hour >= hours:
            return looks
        await asyncio.to_thread(service.deploy, DEPLOYS[number % len(DEPLOYS)])
        crowd.counts["deploys"] += 1
        crowd.counts["reconnects"] += state["sockets"]
        if number % 3 == 2:
            await asyncio.to_thread(service.order, "advance", seconds=SKEW)
            skipped += SKEW
        await asyncio.sleep(CALM)
        await crowd.rotate(number % crowd.connections)
        number += 1


def line(look: Look) -> str:
    """Render one look as a row of the table."""
    found, counts = look.reading, look.counts
    cells = (
        f"{look.hour:.1f}",
        counts.get("complete", 0),
        counts.get("deploys", 0),
        counts.get("reconnects", 0),
        counts.get("rotations", 0),
        look.sockets,
        f"{found.rss / 2**20:.1f}",
        found.descriptors,
        found.threads,
        found.tasks,
        found.objects,
    )
    return f"| {' | '.join(map(str, cells))} |"


HEADS = (
    "hour", "waits ended", "deploys", "reconnects", "rotations", "sockets", "RSS, MiB",
    "descriptors", "threads", "tasks", "objects",
)  # fmt: skip


def summary(looks: list[Look]) -> str:
    """Say what grew, per reconnect and per wait, over the last three quarters."""
    steady = looks[len(looks) // 4 :]
    lines = [
        "| growth over the last three quarters | per reconnect | per wait ended |",
        "|---|---|---|",
    ]
    measures: dict[str, Callable[[Look], float]] = {
        "RSS, bytes": lambda look: look.reading.rss,
        "descriptors": lambda look: look.reading.descriptors,
        "threads": lambda look: look.reading.threads,
        "tasks": lambda look: look.reading.tasks,
        "objects": lambda look: look.reading.objects,
    }
    for name, measure in measures.items():
        rates = [
            slope([(look.counts.get(per, 0), measure(look)) for look in steady])
            for per in ("reconnects", "complete")
        ]
        lines.append(f"| {name} | {' | '.join(f'{rate:.3f}' for rate in rates)} |")
    return "\n".join(lines)


async def run(waits: int, connections: int, hours: float, speed: float) -> str:
    """Run it and give the tables."""
    from tests.chaos.crowd import Crowd

    with town(speed) as service:
        crowd = Crowd(service, connections)
        before = reading()
        await crowd.come(waits)
        looks = await live(crowd, service, hours, speed)
        for task in crowd.tasks:
            task.cancel()
        await asyncio.gather(*crowd.tasks, return_exceptions=True)
        await asyncio.sleep(5.0)
        after = reading()
    heads = [f"| {' | '.join(HEADS)} |", "|---" * len(HEADS) + "|"]
    last = looks[-1].counts
    ends = (
        f"{waits} waits at a time over {connections} connections, {speed:g} times real time. "
        f"Waits that failed: {last.get('failed', 0)}. Waits woken by trouble and taken up "
        f"again: {last.get('woken', 0)}. After the end {after.descriptors} descriptors "
        f"({before.descriptors} before the start), {after.tasks} tasks, {after.threads} threads."
    )
    return "\n\n".join((ends, "\n".join([*heads, *map(line, looks)]), summary(looks)))


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(description="Many waits for a long time.")
    parser.add_argument("--waits", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=10, help="one socket each")
    parser.add_argument("--hours", type=float, default=24.0, help="of the sandbox")
    parser.add_argument("--speed", type=float, default=120.0, help="sandbox seconds a second")
    parser.add_argument("--write", type=Path, help="file for the tables")
    given = parser.parse_args()
    with isolated():
        from tests.bench.contenders import count_lines

        count_lines()
        text = asyncio.run(run(given.waits, given.connections, given.hours, given.speed))
    sys.stdout.write(f"{text}\n")
    if given.write:
        written(given.write, "long run", text)


if __name__ == "__main__":
    main()
