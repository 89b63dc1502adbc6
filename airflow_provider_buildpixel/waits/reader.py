"""Reads builds for many waits with few requests, as :mod:`waits.planner` plans them."""

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
"""Reads of single builds that run at the same time."""

YIELD_EVERY = 100
"""Waits that receive a failure before the event loop may run other tasks."""


class ReadLoop:
    """A task that runs a round of reads whenever one is due.

    :param next_at: returns the instant of the next round, infinite if there is none.
    :param run_round: runs a round.
    """

    def __init__(
        self, next_at: Callable[[], float], run_round: Callable[[], Coroutine[None, None, None]]
    ) -> None:
        self._next_at = next_at
        self._run_round = run_round
        self._changed = asyncio.Event()

    def wake(self) -> None:
        """Check again when the next round is due."""
        self._changed.set()

    async def run(self) -> None:
        """Run rounds until cancelled."""
        while True:
            self._changed.clear()
            pause = self._next_at() - time.monotonic()
            if pause > 0:
                await self._wait(None if pause == inf else pause)
            else:
                await self._run_round()

    async def _wait(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return


class BuildReader:
    """Accepts requests for reads, and publishes the results to the subscriptions.

    :param client: performs the requests.
    :param subscriptions: the waits, by build.
    :param metrics: counts the requests.
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
        self._planner = ReadPlanner()
        self._rate_limit = RateLimitGate()
        self._rate_limit_lock = asyncio.Lock()
        self._read_permits = asyncio.Semaphore(CONCURRENT_READS)
        self._routine = ReadLoop(self._routine_at, self._routine_round)
        self._hinted = ReadLoop(self._planner.hinted_at, self._hinted_round)
        self._loop_tasks: dict[ReadLoop, asyncio.Task[None]] = {}
        self._single_reads: set[asyncio.Task[BuildPixelError | None]] = set()

    def request(self, build_id: str, read: Read) -> None:
        """Request a read of a build; a request with a hint replaces one without."""
        self._planner.add(build_id, read, time.monotonic())
        loop = self._routine if read.hint is None else self._hinted
        loop.wake()
        if loop not in self._loop_tasks:
            self._loop_tasks[loop] = task = create_detached_task(loop.run())
            task.add_done_callback(lambda task: self._on_loop_done(loop, task))

    def on_log_gap(self, build_id: str) -> None:
        """Note that the channel missed lines of a build's log."""
        self._planner.note_log_gap(build_id)

    def has_request(self, build_id: str) -> bool:
        """Return whether a requested read of a build has not begun."""
        return build_id in self._planner

    def cancel_request(self, build_id: str) -> None:
        """Drop the request for a build that has no waits any more."""
        self._planner.remove(build_id)

    async def close(self) -> None:
        """Stop reading."""
        tasks = {*self._loop_tasks.values(), *self._single_reads}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _on_loop_done(self, loop: ReadLoop, task: asyncio.Task[None]) -> None:
        """Raise an unexpected error in every wait: without the loop no read would follow."""
        del self._loop_tasks[loop]
        if not task.cancelled() and (error := task.exception()) is not None:
            self._subscriptions.set_error(error)

    def _routine_at(self) -> float:
        return self._planner.routine_at(self._subscriptions.waits, self._subscriptions.joined_at)

    async def _hinted_round(self) -> None:
        plan = self._planner.plan_hinted(time.monotonic())
        for status, build_ids in plan.ended_lists:
            await self._read_ended_list(status, build_ids)
        await self._read_singly(plan.singles)

    async def _routine_round(self) -> None:
        plan = self._planner.plan_routine(self._subscriptions.waits, time.monotonic())
        if plan.live_lists:
            await self._read_live_lists()
            return
        self._planner.on_round_done(len(plan.singles), time.monotonic())
        await self._read_singly(plan.singles)

    async def _read_live_lists(self) -> None:
        """Read the lists of live builds, then each requested build that they did not contain."""
        since, requested, pages = time.monotonic(), self._planner.routine_builds(), 0
        try:
            for status in LISTED_STATUSES:
                pager = Pager(list_rows(status))
                while pager.call is not None:
                    await self._read_page(pager)
                    pages += 1
        except BuildPixelError as error:
            await self._on_list_failed(self._planner.pending(requested, since), error)
        else:
            self._planner.lists_succeeded()
            await self._read_singly(self._planner.pending(requested, since))
            await self._read_singly(self._planner.request_gap_reads(time.monotonic()))
        finally:
            self._planner.on_round_done(pages, time.monotonic())

    async def _read_ended_list(self, status: Status, build_ids: tuple[str, ...]) -> None:
        """Read the list of a terminal status while that is cheaper than single reads.

        :param build_ids: builds with a hint of this status.
        """
        since = time.monotonic()
        left = self._planner.pending(build_ids, since)
        pager, pages = Pager(list_rows(str(status))), 0
        try:
            while pager.call is not None and is_worthwhile(
                pages, len(build_ids) - len(left), len(left)
            ):
                await self._read_page(pager)
                pages += 1
                left = self._planner.pending(left, since)
        except BuildPixelError as error:
            await self._on_list_failed(left, error)
        else:
            await self._read_singly(left)

    async def _read_page(self, pager: Pager[Row]) -> None:
        """Read one page of a list, with retries, and publish its rows."""
        assert pager.call is not None  # noqa: S101  # the caller checks it
        for attempt in range(1, PAGE_TRIES):
            try:
                page, since = await self._attempt(pager.call)
                break
            except BuildPixelError:
                await asyncio.sleep(backoff(attempt, self._jitter()))
        else:
            page, since = await self._attempt(pager.call)
        read_time = ReadTime(since, time.monotonic())
        for row in self._subscriptions.changed_rows(pager.take_page(page), read_time):
            self._on_row(row, read_time)

    def _on_row(self, row: Row, read_time: ReadTime) -> None:
        """Publish a row of a list, unless its status is known to all waits of the build."""
        build_id, status = row["id"], Status(row["status"])
        self._planner.on_listed(build_id, read_time.since, ended=status.terminal)
        if not self._subscriptions.on_unchanged_status(build_id, status, read_time):
            self._subscriptions.publish(build_id, BuildRead(Build.from_json(row), read_time.since))

    async def _on_list_failed(self, build_ids: tuple[str, ...], error: BuildPixelError) -> None:
        """Read one build to find out whether only lists fail; then read or fail the others."""
        if not build_ids:
            return
        first, *others = build_ids
        failure = await self._read_build(first)
        if failure is None and self._planner.lists_failed(error, time.monotonic()):
            await self._read_singly(others)
            return
        for count, build_id in enumerate(others, 1):
            self._planner.remove(build_id)
            self._subscriptions.publish(build_id, ReadFailed(failure or error))
            if count % YIELD_EVERY == 0:
                await asyncio.sleep(0)

    async def _read_singly(self, build_ids: Iterable[str]) -> None:
        """Start a read of each build, a few at a time; return once all have started."""
        for build_id in build_ids:
            await self._read_permits.acquire()
            if self._planner.remove(build_id) is None:
                self._read_permits.release()
                continue
            task = create_detached_task(self._read_build(build_id))
            self._single_reads.add(task)
            task.add_done_callback(partial(self._on_single_read_done, build_id))

    def _on_single_read_done(
        self, build_id: str, task: asyncio.Task[BuildPixelError | None]
    ) -> None:
        self._single_reads.discard(task)
        self._read_permits.release()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._subscriptions.set_error(error, build_id)

    async def _read_build(self, build_id: str) -> BuildPixelError | None:
        """Read one build and publish the result; return the error if the service failed."""
        self._planner.remove(build_id)
        try:
            build, since = await self._attempt(get_build(build_id))
        except BuildPixelError as error:
            self._subscriptions.publish(build_id, ReadFailed(error))
            return None if isinstance(error, NotFound) else error
        self._subscriptions.publish(build_id, BuildRead(build, since))
        return None

    async def _attempt(self, call: Call[T]) -> tuple[T, float]:
        """Perform a call within the rate limit; return the answer and when the call began."""
        await self._wait_for_rate_limit()
        if not self._rate_limit.is_limited:
            return await self._attempt_now(call)
        async with self._rate_limit_lock:
            await self._wait_for_rate_limit()
            return await self._attempt_now(call)

    async def _attempt_now(self, call: Call[T]) -> tuple[T, float]:
        since = time.monotonic()
        try:
            answer = await self._client.attempt(call)
        except BuildPixelError as error:
            self._on_answer(call, error)
            raise
        self._on_answer(call, None)
        return answer, since

    def _on_answer(self, call: Call[T], error: BuildPixelError | None) -> None:
        self._rate_limit.on_answer(error, time.monotonic(), self._jitter())
        self._metrics.count_request(call.route, error)

    async def _wait_for_rate_limit(self) -> None:
        while (pause := self._rate_limit.next_request_at - time.monotonic()) > 0:  # noqa: ASYNC110  # no event
            await asyncio.sleep(pause)
