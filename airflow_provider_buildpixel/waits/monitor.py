"""What all waits of one token share on one event loop: REST client, reader and live channel."""

from __future__ import annotations

import asyncio
import contextvars
import random
import time
from contextlib import AsyncExitStack
from math import inf
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.api.aio import AsyncClient
from airflow_provider_buildpixel.api.errors import BuildPixelError
from airflow_provider_buildpixel.api.paging import ListScan
from airflow_provider_buildpixel.api.retry import is_permanent
from airflow_provider_buildpixel.builds.search import NewestMatch
from airflow_provider_buildpixel.channel.async_channel import AsyncChannel
from airflow_provider_buildpixel.channel.events import Joined
from airflow_provider_buildpixel.channel.metrics import Metrics, discard_metrics
from airflow_provider_buildpixel.waits.actions import (
    BuildRead,
    Done,
    Expired,
    Listen,
    Pacing,
    Read,
    ReadFailed,
)
from airflow_provider_buildpixel.waits.reader import BuildReader
from airflow_provider_buildpixel.waits.reporter import LogBudget
from airflow_provider_buildpixel.waits.subscription import Subscriptions

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from airflow_provider_buildpixel.api.model import Status
    from airflow_provider_buildpixel.api.settings import Settings
    from airflow_provider_buildpixel.builds.search import BuildQuery
    from airflow_provider_buildpixel.waits.actions import IdleTerms
    from airflow_provider_buildpixel.waits.reporter import LogMessage, WaitReporter
    from airflow_provider_buildpixel.waits.subscription import Subscription, WaitEvent
    from airflow_provider_buildpixel.waits.tracker import BuildTracker
    from airflow_provider_buildpixel.waits.wait import Wait


IDLE_CLOSE_AFTER = 2.0
"""Seconds that an idle hub stays open for the next wait."""

YIELD_EVERY = 25
"""Events after which a busy wait lets the loop's other waits have their turn."""

REPORT_INTERVAL = 15.0
"""Seconds between two reports of what was counted, at least."""

QUIET_REPORT_INTERVAL = 60.0
"""The same while no wait begins or ends."""

UNCHANGED_REPORT_INTERVAL = 300.0
"""The same while there is nothing to report but what was reported last."""

_PROCESS_BUDGET = LogBudget.of_process(time.monotonic())

_MONITORS: dict[tuple[asyncio.AbstractEventLoop, Settings], BuildMonitor] = {}


class BuildMonitor:
    """One REST client, reader and channel for all waits of a token on a loop.

    :param report: takes what was counted, now and then.
    """

    def __init__(
        self,
        settings: Settings,
        report: Callable[[Metrics], None] = discard_metrics,
        *,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._jitter = jitter
        self.settings = settings
        self.metrics = Metrics()
        self._report = report
        self._reported_at = time.monotonic()
        self._told: tuple[int, bool | None] | None = None
        self.client = AsyncClient(settings)
        self.subscriptions = Subscriptions()
        self.reader = BuildReader(self.client, self.subscriptions, self.metrics)
        self.channel = AsyncChannel(settings, self.subscriptions, self.metrics)
        self._users = 0
        self._changed = asyncio.Event()
        self._keeper = asyncio.get_running_loop().create_task(
            self._keep(), name="buildpixel-hub", context=contextvars.Context()
        )

    def enter(self) -> None:
        """Count one more user."""
        self._users += 1
        self._changed.set()

    def leave(self) -> None:
        """Count one user less; the last one starts the linger."""
        self._users -= 1
        self._changed.set()

    async def _keep(self) -> None:
        """Close everything a little after the last user left, or when the loop ends."""
        async with AsyncExitStack() as parts:  # each is closed, whatever becomes of the others
            parts.push_async_callback(self.client.close)
            parts.push_async_callback(self.channel.close)
            parts.push_async_callback(self.reader.close)
            parts.callback(self._end)
            while not await self._idle():
                pass

    def _end(self) -> None:
        _MONITORS.pop((asyncio.get_running_loop(), self.settings), None)
        self.metrics.up = None
        self._tell_report()

    async def _idle(self) -> bool:
        """Tell, after a while, whether nobody came back."""
        self._changed.clear()
        try:
            async with asyncio.timeout(QUIET_REPORT_INTERVAL if self._users else IDLE_CLOSE_AFTER):
                await self._changed.wait()
        except TimeoutError:
            return not self._users
        finally:
            since = time.monotonic() - self._reported_at
            if since >= (REPORT_INTERVAL if self._news() else UNCHANGED_REPORT_INTERVAL):
                self._tell_report()
        return False

    def _news(self) -> bool:
        return self.metrics.counted or self._state() != self._told

    def _state(self) -> tuple[int, bool | None]:
        return self.subscriptions.waits, self.metrics.up

    def _tell_report(self) -> None:
        self._reported_at = time.monotonic()
        self.metrics.waits, _ = self._told = self._state()
        self._report(self.metrics)
        self.metrics.clear()

    def wait(
        self, wait: Wait, tell: Callable[[LogMessage], None]
    ) -> Coroutine[Any, Any, Done | Expired]:
        """Wait for a build to end, or for the time to be over.

        :param tell: takes what there is to say meanwhile.
        :raises BuildPixelError: what waiting cannot cure, such as a refused token.
        """
        now = time.monotonic()
        tracker = wait.tracker(now, time.time(), self._jitter)
        return ActiveWait(self, tracker, wait.reporter(now, _PROCESS_BUDGET), tell).run(
            wait.build_id
        )

    async def find(self, search: BuildQuery, wait: Wait) -> str | None:
        """Wait until there is a build that fits, and give its id; None when the time is over.

        :param wait: how often to look, and until when.
        :raises BuildPixelError: what waiting cannot cure, or trouble without an end.
        """
        seen: str | None = None
        trouble: float | None = None
        while True:
            try:
                sweep = NewestMatch(search, seen)
                await self.client.scan(ListScan(search.listed, sweep.take))
                if sweep.found is not None:
                    return sweep.found.id
                seen, trouble = sweep.newest, None
            except BuildPixelError as error:
                trouble = trouble or time.monotonic()
                if is_permanent(error) or time.monotonic() - trouble > Pacing.patience:
                    raise
            left = inf if wait.deadline is None else wait.deadline - time.time()
            if left <= 0:
                return None
            await asyncio.sleep(min(left, wait.poll_interval * (0.9 + self._jitter() / 5)))


class ActiveWait:
    """One wait: does what the watch wants; reads are asked for, and answered as news.

    Its coroutine is woken only where there is something to tell, or an end.
    """

    __slots__ = ("_monitor", "_reporter", "_subscription", "_tell", "_tracker")

    def __init__(
        self,
        monitor: BuildMonitor,
        tracker: BuildTracker,
        reporter: WaitReporter,
        tell: Callable[[LogMessage], None],
    ) -> None:
        self._monitor = monitor
        self._tracker = tracker
        self._reporter = reporter
        self._tell = tell
        self._subscription: Subscription

    async def run(self, build_id: str) -> Done | Expired:
        """Wait."""
        self._subscription, first = self._monitor.subscriptions.open(build_id)
        self._subscription.reader = self
        if self._tracker.live:
            self._monitor.channel.subscribe(build_id, self._subscription.put, first=first)
        turns = 0
        try:
            while not isinstance(wish := self._due(), Done | Expired):
                self._take(await self._subscription.get(wish.seconds))  # and keep nothing of it
                turns += 1
                if turns % YIELD_EVERY == 0:
                    await asyncio.sleep(0)
        finally:
            self._leave()
        self._count(wish)
        return wish

    def glance(self, status: Status, since: float) -> float | None:
        """Take a status that a list showed; give the next pause, None if that was news."""
        now = time.monotonic()
        if self._tracker.status != status or now >= self._reporter.quiet_until():
            return None
        self._catch_up()
        self._tracker.on_unchanged(now, since)
        return self.turn_over() or 0.0

    def turn_over(self) -> float | None:
        """Ask for what is due; give the next pause, None at the end."""
        wish = self._due()
        return wish.seconds if isinstance(wish, Listen) else None

    def _due(self) -> Listen | Done | Expired:
        """Ask for the read that is due, if one is; give what to do then."""
        self._catch_up()
        now = time.monotonic()
        while isinstance(wish := self._tracker.next_action(now), Read):
            self._tracker.read_requested(now)
            self._monitor.reader.ask(self._subscription.build_id, wish)
        return wish

    def idle_terms(self) -> IdleTerms | None:
        """Say how this wait may be left alone; not while a read is asked for, of whichever wait."""
        if self._monitor.reader.read_requested(self._subscription.build_id):
            return None
        quiet_until = self._reporter.quiet_until()
        return self._tracker.idle_terms(quiet_until) if time.monotonic() < quiet_until else None

    def _catch_up(self) -> None:
        """Learn what reads have shown while it slept: nothing new."""
        stamp = self._subscription.catch_up()
        if stamp is not None:
            self._tracker.on_unchanged(stamp.at, stamp.since)

    def _leave(self) -> None:
        monitor, build_id = self._monitor, self._subscription.build_id
        if monitor.subscriptions.close(self._subscription):
            monitor.reader.forget(build_id)
            if self._tracker.live:
                monitor.channel.unsubscribe(build_id)

    def _count(self, end: Done | Expired) -> None:
        metrics, reporter = self._monitor.metrics, self._reporter
        how = str(end.build.status) if isinstance(end, Done) else "timeout"
        metrics.waited.append((how, time.monotonic() - reporter.started))
        if reporter.queued is not None:
            metrics.queued.append(reporter.queued)

    def _take(self, news: WaitEvent | None) -> None:
        """Give news to the machine that decides, and to the one that tells."""
        self._catch_up()
        now = time.monotonic()
        match news:
            case None:
                return
            case BuildRead(build, since):
                self._tracker.on_read(build, now, since)
                wall = self._monitor.client.server_now()
                records = self._reporter.on_read(build, now, wall)
            case ReadFailed(error):
                self._tracker.on_read_failed(error, now)
                records = self._reporter.on_read_failed(error, now)
            case event:
                self._tracker.on_event(event, now)
                records = self._reporter.on_event(event, now)
                if isinstance(event, Joined) and records and self._reporter.streams:
                    self._monitor.reader.gap(self._subscription.build_id)
        for record in records:
            self._monitor.metrics.lines_left_out += record.left_out
            self._tell(record)


class MonitorLease:
    """The hub of some settings on the running loop, while it is used; a context manager."""

    __slots__ = ("_monitor", "_report", "_settings")

    def __init__(
        self, settings: Settings, report: Callable[[Metrics], None] = discard_metrics
    ) -> None:
        self._settings = settings
        self._report = report

    async def __aenter__(self) -> BuildMonitor:
        """Take the hub, or open it."""
        loop = asyncio.get_running_loop()
        monitor = _MONITORS.get((loop, self._settings))
        if monitor is None:
            for key in [key for key in _MONITORS if key[0].is_closed()]:
                del _MONITORS[key]
            monitor = _MONITORS[loop, self._settings] = BuildMonitor(self._settings, self._report)
        monitor.enter()
        self._monitor = monitor
        return monitor

    async def __aexit__(self, *_: object) -> None:
        """Give the hub back."""
        self._monitor.leave()


monitor_for = MonitorLease
