"""Reads builds for many waits with few requests; what to read when decides core.batch."""

from __future__ import annotations

import asyncio
import random
import time
from functools import partial
from math import inf
from typing import TYPE_CHECKING, TypeVar

from airflow_provider_buildpixel.api.aio import create_detached_task
from airflow_provider_buildpixel.api.endpoints import get_build
from airflow_provider_buildpixel.api.errors import BuildPixelError, NotFound
from airflow_provider_buildpixel.api.model import Build, Status
from airflow_provider_buildpixel.api.paging import Pager
from airflow_provider_buildpixel.api.retry import backoff
from airflow_provider_buildpixel.waits.actions import BuildRead, ReadFailed, ReadTime
from airflow_provider_buildpixel.waits.planner import RateLimitGate, ReadPlanner
from airflow_provider_buildpixel.waits.rows import (
    LISTED_STATUSES,
    PAGE_TRIES,
    is_worthwhile,
    list_rows,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from airflow_provider_buildpixel.api.aio import AsyncClient
    from airflow_provider_buildpixel.api.endpoints import Call
    from airflow_provider_buildpixel.channel.metrics import Metrics
    from airflow_provider_buildpixel.waits.actions import Read
    from airflow_provider_buildpixel.waits.rows import Row
    from airflow_provider_buildpixel.waits.subscription import Subscriptions


T = TypeVar("T")

CONCURRENT_READS = 8
"""Single reads that are under way at most."""

YIELD_EVERY = 100
"""Waits that get bad news before the loop gets a turn."""


class ReadLoop:
    """A task that begins a round whenever one is due."""

    def __init__(
        self, due: Callable[[], float], begin: Callable[[], Coroutine[None, None, None]]
    ) -> None:
        self._due = due
        self._begin = begin
        self._news = asyncio.Event()

    def wake(self) -> None:
        """Look anew at what is due."""
        self._news.set()

    async def run(self) -> None:
        """Begin rounds for ever."""
        while True:
            self._news.clear()
            pause = self._due() - time.monotonic()
            if pause > 0:
                await self._sleep(None if pause == inf else pause)
            else:
                await self._begin()

    async def _sleep(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return


class BuildReader:
    """Takes wishes for reads, and puts what came of them into the mailboxes.

    :param client: performs the requests.
    :param boxes: who waits for what.
    :param tally: counts the requests.
    """

    def __init__(
        self,
        client: AsyncClient,
        subscriptions: Subscriptions,
        metrics: Metrics,
        *,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._subscriptions = subscriptions
        self._metrics = metrics
        self._jitter = jitter
        self._asks = ReadPlanner()
        self._brake = RateLimitGate()
        self._probing = asyncio.Lock()
        self._turn = asyncio.Semaphore(CONCURRENT_READS)
        self._calm = ReadLoop(self._calm_at, self._calm_round)
        self._urgent = ReadLoop(self._asks.urgent_at, self._urgent_round)
        self._lanes: dict[ReadLoop, asyncio.Task[None]] = {}
        self._singles: set[asyncio.Task[BuildPixelError | None]] = set()

    def ask(self, build_id: str, read: Read) -> None:
        """Wish for a read of a build; a more urgent wish replaces an earlier one."""
        self._asks.add(build_id, read, time.monotonic())
        lane = self._calm if read.hint is None else self._urgent
        lane.wake()
        if lane not in self._lanes:
            self._lanes[lane] = task = create_detached_task(lane.run())
            task.add_done_callback(lambda task: self._lane_ended(lane, task))

    def gap(self, build_id: str) -> None:
        """Take note that lines of a build's log were not heard."""
        self._asks.gap(build_id)

    def read_requested(self, build_id: str) -> bool:
        """Tell whether a wish for a read of a build is open."""
        return build_id in self._asks

    def forget(self, build_id: str) -> None:
        """Drop the wish of a build for which nobody waits any more."""
        self._asks.drop(build_id)

    async def close(self) -> None:
        """Stop reading."""
        tasks = {*self._lanes.values(), *self._singles}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _lane_ended(self, lane: ReadLoop, task: asyncio.Task[None]) -> None:
        """Let every wait fail with a mistake of ours: nobody would read for it any more."""
        del self._lanes[lane]
        if not task.cancelled() and (error := task.exception()) is not None:
            self._subscriptions.fail(error)

    def _calm_at(self) -> float:
        return self._asks.calm_at(self._subscriptions.waits, self._subscriptions.joined_at)

    async def _urgent_round(self) -> None:
        planned = self._asks.urgent(time.monotonic())
        for status, build_ids in planned.ended:
            await self._ended(status, build_ids)
        await self._read(planned.singles)

    async def _calm_round(self) -> None:
        planned = self._asks.calm(self._subscriptions.waits, time.monotonic())
        if planned.live:
            await self._sweep()
            return
        self._asks.swept(len(planned.singles), time.monotonic())
        await self._read(planned.singles)

    async def _sweep(self) -> None:
        """Look through the live builds; what they do not settle is read singly."""
        since, asked, pages = time.monotonic(), self._asks.waiting(), 0
        try:
            for status in LISTED_STATUSES:
                pager = Pager(list_rows(status))
                while pager.call is not None:
                    await self._page(pager)
                    pages += 1
        except BuildPixelError as error:
            await self._failed(self._asks.open(asked, since), error)
        else:
            self._asks.listed()
            await self._read(self._asks.open(asked, since))
            await self._read(self._asks.gaps(time.monotonic()))
        finally:
            self._asks.swept(pages, time.monotonic())

    async def _ended(self, status: Status, build_ids: tuple[str, ...]) -> None:
        """Look for builds that are said to have ended, as long as that is cheaper than singles."""
        since = time.monotonic()
        left = self._asks.open(build_ids, since)
        pager, pages = Pager(list_rows(str(status))), 0
        try:
            while pager.call is not None and is_worthwhile(
                pages, len(build_ids) - len(left), len(left)
            ):
                await self._page(pager)
                pages += 1
                left = self._asks.open(left, since)
        except BuildPixelError as error:
            await self._failed(left, error)
        else:
            await self._read(left)

    async def _page(self, pager: Pager[Row]) -> None:
        """Read one page, and tell what is in it; a page that fails is tried again."""
        assert pager.call is not None  # the caller looks
        for attempt in range(1, PAGE_TRIES):
            try:
                page, since = await self._timed(pager.call)
                break
            except BuildPixelError:
                await asyncio.sleep(backoff(attempt, self._jitter()))
        else:
            page, since = await self._timed(pager.call)
        stamp = ReadTime(since, time.monotonic())
        for row in self._subscriptions.show(pager.take_page(page), stamp):
            self._sighted(row, stamp)

    def _sighted(self, row: Row, stamp: ReadTime) -> None:
        """Tell what a list shows of a build; what is no news wakes nobody."""
        build_id, status = row["id"], Status(row["status"])
        self._asks.settle(build_id, stamp.since, ended=status.terminal)
        if not self._subscriptions.glance(build_id, status, stamp):
            self._subscriptions.publish(build_id, BuildRead(Build.from_json(row), stamp.since))

    async def _failed(self, build_ids: tuple[str, ...], error: BuildPixelError) -> None:
        """Tell lists that fail from a service that does, by one single read."""
        if not build_ids:
            return
        scout, *others = build_ids
        failure = await self._single(scout)
        if failure is None and self._asks.lists_failed(error, time.monotonic()):
            await self._read(others)
            return
        for count, build_id in enumerate(others, 1):
            self._asks.drop(build_id)
            self._subscriptions.publish(build_id, ReadFailed(failure or error))
            if count % YIELD_EVERY == 0:
                await asyncio.sleep(0)

    async def _read(self, build_ids: Iterable[str]) -> None:
        """Begin single reads, some at a time; they end by themselves."""
        for build_id in build_ids:
            await self._turn.acquire()
            if self._asks.drop(build_id) is None:
                self._turn.release()
                continue
            task = create_detached_task(self._single(build_id))
            self._singles.add(task)
            task.add_done_callback(partial(self._single_ended, build_id))

    def _single_ended(self, build_id: str, task: asyncio.Task[BuildPixelError | None]) -> None:
        self._singles.discard(task)
        self._turn.release()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._subscriptions.fail(error, build_id)

    async def _single(self, build_id: str) -> BuildPixelError | None:
        """Read one build, and tell what came of it; give what kept the service from answering."""
        self._asks.drop(build_id)
        try:
            build, since = await self._timed(get_build(build_id))
        except BuildPixelError as error:
            self._subscriptions.publish(build_id, ReadFailed(error))
            return None if isinstance(error, NotFound) else error
        self._subscriptions.publish(build_id, BuildRead(build, since))
        return None

    async def _timed(self, call: Call[T]) -> tuple[T, float]:
        """Perform a call when the token may; give the instant, too, at which that began."""
        await self._rest()
        if not self._brake.on:
            return await self._attempt_now(call)
        async with self._probing:
            await self._rest()
            return await self._attempt_now(call)

    async def _attempt_now(self, call: Call[T]) -> tuple[T, float]:
        since = time.monotonic()
        try:
            answer = await self._client.attempt(call)
        except BuildPixelError as error:
            self._answered(call, error)
            raise
        self._answered(call, None)
        return answer, since

    def _answered(self, call: Call[T], error: BuildPixelError | None) -> None:
        self._brake.answered(error, time.monotonic(), self._jitter())
        self._metrics.request(call.route, error)

    async def _rest(self) -> None:
        while (pause := self._brake.until - time.monotonic()) > 0:  # a time, no event
            await asyncio.sleep(pause)
