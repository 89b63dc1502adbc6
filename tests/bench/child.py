"""Runs one contender with N waits in one loop and prints what it cost, as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

from tests.bench import contenders
from tests.bench.gauges import Lag, Spent, percentile, rss

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger

PATIENCE = 240.0


def ask(order: str, **parameters: Any) -> Any:
    """Order something of the server."""
    request = Request(  # ours
        f"{os.environ['BENCH_URL']}/_bench/{order}",
        data=json.dumps(parameters).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urlopen(request) as answer:  # ours
        return json.load(answer)


async def order(name: str, **parameters: Any) -> Any:
    """Order something of the server, off the loop."""
    return await asyncio.to_thread(ask, name, **parameters)


class Run:
    """N waits of one contender, phase by phase.

    :param plan: ``name``, ``n``, seconds of ``idle`` after as many to ``settle``, or of ``flood``.
    """

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.n = int(plan["n"])
        self.ids: list[str] = []
        self.ended: dict[str, float] = {}
        self.found: dict[str, Any] = {}
        self.tasks: set[asyncio.Task[None]] = set()

    async def drive(self, build_id: str, trigger: BaseTrigger) -> None:
        """Drive a trigger to its event, as the triggerer does."""
        async for _ in trigger.run():
            self.ended[build_id] = time.monotonic()
            return

    async def measure(self) -> dict[str, Any]:
        """Go through the phases."""
        self.ids = await order("reset", n=self.n + 1)
        contenders.BareTrigger.opening = asyncio.Lock()
        contenders.BareTrigger.waiters = {}
        await self.first()
        await self.start()
        if self.plan.get("idle"):
            await self.idle()
        if self.plan.get("flood"):
            await self.flood()
        if self.plan["name"] in {"ours", "bare", "reading"}:
            await self.one_by_one()
        if self.plan["name"] == "ours":
            await self.cut()
        if self.plan["name"] == "polling":
            await self.some_end()
        if self.plan["name"] in {"ours", "bare", "reading", "polling"} and not self.plan.get(
            "flood"
        ):
            await self.storm()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        return self.found

    def wait_for(self, build_id: str) -> None:
        """Start one wait."""
        trigger = contenders.make(self.plan["name"], build_id)
        work = self.drive(build_id, trigger)
        self.tasks.add(asyncio.get_running_loop().create_task(work))

    async def first(self) -> None:
        """Start one wait by itself: what happens once for a process is not counted for each."""
        contenders.make(self.plan["name"], self.ids[-1])
        async with Lag() as lag:
            self.wait_for(self.ids.pop())
            await asyncio.sleep(2.0)
        self.lagged("first", lag)
        contenders.LINES = 0
        await order("count")

    async def start(self) -> None:
        """Start all waits at once, and wait until each of them really waits."""
        before, spent = rss(), Spent()
        async with Lag() as lag:
            for count, build_id in enumerate(self.ids, 1):
                self.wait_for(build_id)
                if count % 50 == 0:  # as many as the triggerer starts before a turn
                    await asyncio.sleep(0)
            await self.until(self.waiting)
        self.found["start cpu"], self.found["start wall"] = spent.cpu, spent.wall
        self.found["rss"] = rss() - before
        self.lagged("start", lag)
        self.found["start server"] = await order("count")

    def waiting(self) -> bool:
        """Tell whether all waits have got to where they wait."""
        match self.plan["name"]:
            case "event":
                return True
            case "bare":
                return bool(ask("peek")["joined"] > self.n)
            case "reading":
                return contenders.ReadingTrigger.reads > self.n
            case "dbt":
                return bool(ask("peek")["requests"] >= self.n)
            case "polling":
                return self.n <= contenders.LINES
            case _:
                return self.n <= contenders.LINES and bool(ask("peek")["joined"] > self.n)

    async def until(self, true: Any) -> None:
        """Wait until something is true, without a busy look at it."""
        end = time.monotonic() + PATIENCE
        while not (true() if self.plan["name"] == "event" else await asyncio.to_thread(true)):
            if time.monotonic() > end:
                raise TimeoutError(f"{self.plan}: not within {PATIENCE:g} s")
            await asyncio.sleep(0.1)

    def lagged(self, phase: str, lag: Lag) -> None:
        """Keep the lag of a phase."""
        self.found[f"{phase} lag"] = {
            "clock": lag.clock,
            "cpu": lag.cpu,
            "own": lag.own,
            "collector": lag.collector,
        }

    async def idle(self) -> None:
        """Do nothing for a while."""
        await asyncio.sleep(self.plan.get("settle", 0.0))
        await order("count")
        spent = Spent()
        await asyncio.sleep(self.plan["idle"])
        self.found["idle cpu"], self.found["idle wall"] = spent.cpu, spent.wall
        self.found["idle server"] = await order("count")

    def take(self, count: int) -> list[str]:
        """Give builds that have not ended yet, spread over all."""
        left = [build_id for build_id in self.ids if build_id not in self.ended]
        return left[:: max(1, len(left) // max(1, count))][:count]

    async def gone(self, ids: list[str]) -> None:
        """Wait until the waits for these builds are over."""
        end = time.monotonic() + PATIENCE
        while any(build_id not in self.ended for build_id in ids):
            if time.monotonic() > end:
                left = sum(build_id not in self.ended for build_id in ids)
                raise TimeoutError(f"{self.plan}: {left} waits did not end")
            await asyncio.sleep(0.05)

    async def latencies(self, ids: list[str]) -> list[float]:
        """Give the seconds from the server's change to the trigger's event."""
        changed = await order("changed")
        return [self.ended[build_id] - changed[build_id] for build_id in ids]

    async def one_by_one(self) -> None:
        """Let builds end one at a time."""
        ids = self.take(min(200, self.n // 4))
        await order("end", ids=ids, gap=0.02)
        await self.gone(ids)
        found = await self.latencies(ids)
        self.found["one p50"], self.found["one p99"] = (
            percentile(found, 0.5),
            percentile(found, 0.99),
        )
        await order("count")

    async def cut(self) -> None:
        """Cut the connection; some builds end while it is down."""
        ids = self.take(20)
        async with Lag() as lag:
            at = await order("drop")
            await order("end", ids=ids, gap=None, mute=True)
            await self.gone(ids)
            await self.until(lambda: ask("peek")["joined"] >= self.n - len(self.ended))
            self.found["cut wall"] = max(self.ended[build_id] for build_id in ids) - at
            await asyncio.sleep(5)
        self.lagged("cut", lag)
        self.found["cut changed"] = len(ids)
        self.found["cut server"] = await order("count")

    async def some_end(self) -> None:
        """While polling, let some builds end, and count over one interval."""
        ids = self.take(20)
        await order("count")
        await order("end", ids=ids, gap=None)
        await asyncio.sleep(contenders.INTERVAL * 1.5)
        self.found["some ended"] = len(ids)
        self.found["some server"] = await order("count")
        await self.gone(ids)

    async def storm(self) -> None:
        """Let all the other builds end at once."""
        ids = self.take(self.n)
        await order("count")
        spent = Spent()
        async with Lag() as lag:
            await order("end", ids=ids, gap=None)
            await self.gone(ids)
        found = await self.latencies(ids)
        self.found["storm cpu"], self.found["storm waits"] = spent.cpu, len(ids)
        self.found["storm last"] = max(found)
        self.lagged("storm", lag)
        self.found["storm server"] = await order("count")

    async def flood(self) -> None:
        """Let one build log much, while others end one at a time."""
        noisy, *_ = self.ids
        seconds = self.plan["flood"]
        ids = self.take(int(seconds * 5))[1:]
        contenders.LINES, before, spent = 0, rss(), Spent()
        await order("flood", build_id=noisy, rate=10_000, seconds=seconds)
        await asyncio.sleep(seconds / 3)
        middle = rss()
        await order("end", ids=ids, gap=seconds / 2 / len(ids))
        await self.gone(ids)
        await asyncio.sleep(max(0.0, seconds - spent.wall))
        self.found |= {
            "flood cpu": spent.cpu,
            "flood wall": spent.wall,
            "flood lines": contenders.LINES,
        }
        self.found["flood rss"] = (middle - before, rss() - before)
        found = await self.latencies(ids)
        self.found["flood p99"] = percentile(found, 0.99)


def main() -> None:
    """Run one plan."""
    contenders.count_lines()
    found = asyncio.run(Run(json.loads(sys.argv[1])).measure())
    sys.stdout.write(f"RESULT {json.dumps(found)}\n")


if __name__ == "__main__":
    main()
