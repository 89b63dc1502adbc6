"""Measures one implementation with N waits in one event loop; prints the results as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from tests.bench import implementations
from tests.bench.http_json import post_json
from tests.bench.measurements import LoopLag, Stopwatch, percentile, rss

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger

TIMEOUT = 240.0


def call_server(command: str, **parameters: Any) -> Any:
    """Send a command to the server; return its result."""
    return post_json(f"{os.environ['BENCH_URL']}/_bench/{command}", parameters)


async def call(name: str, **parameters: Any) -> Any:
    """Send a command to the server without blocking the event loop."""
    return await asyncio.to_thread(call_server, name, **parameters)


class Measurement:
    """N waits of one implementation, measured phase by phase.

    :param plan: ``name``, ``n``, seconds of ``idle`` after as many to ``settle``, or of ``flood``.
    """

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.n = int(plan["n"])
        self.ids: list[str] = []
        self.ended: dict[str, float] = {}
        self.measured: dict[str, Any] = {}
        self.tasks: set[asyncio.Task[None]] = set()

    async def run_trigger(self, build_id: str, trigger: BaseTrigger) -> None:
        """Run a trigger to its event, as the triggerer does."""
        async for _ in trigger.run():
            self.ended[build_id] = time.monotonic()
            return

    async def measure(self) -> dict[str, Any]:
        """Run all phases; return the measurements."""
        self.ids = await call("reset", n=self.n + 1)
        implementations.BareTrigger.connect_lock = asyncio.Lock()
        implementations.BareTrigger.futures = {}
        await self.first()
        await self.start()
        if self.plan.get("idle"):
            await self.idle()
        if self.plan.get("flood"):
            await self.flood()
        if self.plan["name"] in {"socket", "bare", "reading"}:
            await self.end_one_by_one()
        if self.plan["name"] == "socket":
            await self.disconnect()
        if self.plan["name"] == "polling":
            await self.end_some()
        if self.plan["name"] in {"socket", "bare", "reading", "polling"} and not self.plan.get(
            "flood"
        ):
            await self.end_all()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        return self.measured

    def start_wait(self, build_id: str) -> None:
        """Start one wait."""
        trigger = implementations.trigger_for(self.plan["name"], build_id)
        work = self.run_trigger(build_id, trigger)
        self.tasks.add(asyncio.get_running_loop().create_task(work))

    async def first(self) -> None:
        """Start a single wait first: the costs of the first wait in a process are not counted."""
        implementations.trigger_for(self.plan["name"], self.ids[-1])
        async with LoopLag() as lag:
            self.start_wait(self.ids.pop())
            await asyncio.sleep(2.0)
        self.record_lag("first", lag)
        implementations.LINES = 0
        await call("count")

    async def start(self) -> None:
        """Start all waits at once, and wait until each of them waits for its build."""
        before, stopwatch = rss(), Stopwatch()
        async with LoopLag() as lag:
            for count, build_id in enumerate(self.ids, 1):
                self.start_wait(build_id)
                if count % 50 == 0:  # as many as the triggerer starts before it yields
                    await asyncio.sleep(0)
            await self.wait_until(self.all_waiting)
        self.measured["start cpu"], self.measured["start elapsed"] = (
            stopwatch.cpu,
            stopwatch.elapsed,
        )
        self.measured["rss"] = rss() - before
        self.record_lag("start", lag)
        self.measured["start server"] = await call("count")

    def all_waiting(self) -> bool:
        """Return whether all waits have finished their start."""
        match self.plan["name"]:
            case "event":
                return True
            case "bare":
                return bool(call_server("peek")["joined"] > self.n)
            case "reading":
                return implementations.ReadingTrigger.reads > self.n
            case "dbt":
                return bool(call_server("peek")["requests"] >= self.n)
            case "polling":
                return self.n <= implementations.LINES
            case _:
                return self.n <= implementations.LINES and bool(
                    call_server("peek")["joined"] > self.n
                )

    async def wait_until(self, condition: Any) -> None:
        """Wait for a condition without blocking the event loop."""
        end = time.monotonic() + TIMEOUT
        while not (
            condition() if self.plan["name"] == "event" else await asyncio.to_thread(condition)
        ):
            if time.monotonic() > end:
                raise TimeoutError(f"{self.plan}: not within {TIMEOUT:g} s")
            await asyncio.sleep(0.1)

    def record_lag(self, phase: str, lag: LoopLag) -> None:
        """Record the event-loop lag of a phase."""
        self.measured[f"{phase} lag"] = {
            "elapsed": lag.elapsed,
            "cpu": lag.cpu,
            "without_collector": lag.without_collector,
            "collector": lag.collector,
        }

    async def idle(self) -> None:
        """Do nothing for a while."""
        await asyncio.sleep(self.plan.get("settle", 0.0))
        await call("count")
        stopwatch = Stopwatch()
        await asyncio.sleep(self.plan["idle"])
        self.measured["idle cpu"], self.measured["idle elapsed"] = stopwatch.cpu, stopwatch.elapsed
        self.measured["idle server"] = await call("count")

    def unfinished(self, count: int) -> list[str]:
        """Return builds that have not ended yet, evenly spread."""
        left = [build_id for build_id in self.ids if build_id not in self.ended]
        return left[:: max(1, len(left) // max(1, count))][:count]

    async def wait_for_ends(self, ids: list[str]) -> None:
        """Wait until the waits for these builds have ended."""
        end = time.monotonic() + TIMEOUT
        while any(build_id not in self.ended for build_id in ids):
            if time.monotonic() > end:
                left = sum(build_id not in self.ended for build_id in ids)
                raise TimeoutError(f"{self.plan}: {left} waits did not end")
            await asyncio.sleep(0.05)

    async def event_delays(self, ids: list[str]) -> list[float]:
        """Return the seconds from the server's change to the trigger's event."""
        changed = await call("changed")
        return [self.ended[build_id] - changed[build_id] for build_id in ids]

    async def end_one_by_one(self) -> None:
        """End builds one at a time."""
        ids = self.unfinished(min(200, self.n // 4))
        await call("end", ids=ids, gap=0.02)
        await self.wait_for_ends(ids)
        delays = await self.event_delays(ids)
        self.measured["one p50"], self.measured["one p99"] = (
            percentile(delays, 0.5),
            percentile(delays, 0.99),
        )
        await call("count")

    async def disconnect(self) -> None:
        """Cut the connection; end some builds while it is down."""
        ids = self.unfinished(20)
        async with LoopLag() as lag:
            at = await call("drop")
            await call("end", ids=ids, gap=None, mute=True)
            await self.wait_for_ends(ids)
            await self.wait_until(lambda: call_server("peek")["joined"] >= self.n - len(self.ended))
            self.measured["disconnect elapsed"] = max(self.ended[build_id] for build_id in ids) - at
            await asyncio.sleep(5)
        self.record_lag("disconnect", lag)
        self.measured["disconnect changed"] = len(ids)
        self.measured["disconnect server"] = await call("count")

    async def end_some(self) -> None:
        """While polling, end some builds, and count the requests of one interval."""
        ids = self.unfinished(20)
        await call("count")
        await call("end", ids=ids, gap=None)
        await asyncio.sleep(implementations.INTERVAL * 1.5)
        self.measured["some ended"] = len(ids)
        self.measured["some server"] = await call("count")
        await self.wait_for_ends(ids)

    async def end_all(self) -> None:
        """End all other builds at once."""
        ids = self.unfinished(self.n)
        await call("count")
        stopwatch = Stopwatch()
        async with LoopLag() as lag:
            await call("end", ids=ids, gap=None)
            await self.wait_for_ends(ids)
        delays = await self.event_delays(ids)
        self.measured["all end at once cpu"], self.measured["all end at once waits"] = (
            stopwatch.cpu,
            len(ids),
        )
        self.measured["all end at once last"] = max(delays)
        self.record_lag("all end at once", lag)
        self.measured["all end at once server"] = await call("count")

    async def flood(self) -> None:
        """Flood the log of one build, while others end one at a time."""
        logging_build, *_ = self.ids
        seconds = self.plan["flood"]
        ids = self.unfinished(int(seconds * 5))[1:]
        implementations.LINES, before, stopwatch = 0, rss(), Stopwatch()
        await call("flood", build_id=logging_build, rate=10_000, seconds=seconds)
        await asyncio.sleep(seconds / 3)
        middle = rss()
        await call("end", ids=ids, gap=seconds / 2 / len(ids))
        await self.wait_for_ends(ids)
        await asyncio.sleep(max(0.0, seconds - stopwatch.elapsed))
        self.measured |= {
            "flood cpu": stopwatch.cpu,
            "flood elapsed": stopwatch.elapsed,
            "flood lines": implementations.LINES,
        }
        self.measured["flood rss"] = (middle - before, rss() - before)
        delays = await self.event_delays(ids)
        self.measured["flood p99"] = percentile(delays, 0.99)


def main() -> None:
    """Run one plan; print the measurements."""
    implementations.count_lines()
    measured = asyncio.run(Measurement(json.loads(sys.argv[1])).measure())
    sys.stdout.write(f"RESULT {json.dumps(measured)}\n")


if __name__ == "__main__":
    main()
