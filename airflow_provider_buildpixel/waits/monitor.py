"""What all waits of a token on one event loop share: REST client, reader and live channel."""

from __future__ import annotations

import asyncio
import contextvars
import random
import time
from contextlib import AsyncExitStack
from math import inf
from typing import TYPE_CHECKING, Any, Self

from airflow_provider_buildpixel.api.aio import AsyncClient
from airflow_provider_buildpixel.api.errors import BuildPixelError
from airflow_provider_buildpixel.api.retry import is_permanent
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
    from airflow_provider_buildpixel.builds.search import NewestMatch
    from airflow_provider_buildpixel.waits.actions import IdleTerms
    from airflow_provider_buildpixel.waits.reporter import LogMessage, WaitReporter
    from airflow_provider_buildpixel.waits.subscription import Subscription, WaitEvent
    from airflow_provider_buildpixel.waits.tracker import BuildTracker
    from airflow_provider_buildpixel.waits.wait import Wait


IDLE_CLOSE_AFTER = 2.0
"""Seconds that an unused monitor stays open for the next wait."""

YIELD_EVERY = 25
"""Events of a busy wait after which the event loop may run other waits."""

REPORT_INTERVAL = 15.0
"""Minimum seconds between two reports of the metrics."""

QUIET_REPORT_INTERVAL = 60.0
"""Seconds between two reports while no wait begins or ends."""

UNCHANGED_REPORT_INTERVAL = 300.0
"""Seconds between two reports while the metrics do not change."""

_PROCESS_BUDGET = LogBudget.for_process(time.monotonic())

_MONITORS: dict[tuple[asyncio.AbstractEventLoop, Settings], BuildMonitor] = {}


def monitor_for(
    settings: Settings, report: Callable[[Metrics], None] = discard_metrics
) -> BuildMonitor:
    """Return the monitor of the settings on the running loop, for use as a context manager.

    :param report: called with the metrics from time to time; ignored if there is a monitor already.
    """
    loop = asyncio.get_running_loop()
    monitor = _MONITORS.get((loop, settings))
    if monitor is None:
        for key in [key for key in _MONITORS if key[0].is_closed()]:
            del _MONITORS[key]
        monitor = _MONITORS[loop, settings] = BuildMonitor(settings, report)
    return monitor


class BuildMonitor:
    """One REST client, reader and channel for all waits of a token on a loop.

    A context manager that may be entered many times; it closes a little after the last exit.

    :param report: called with the metrics from time to time.
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
        self._reported_state: tuple[int, bool | None] | None = None
        self.client = AsyncClient(settings)
        self.subscriptions = Subscriptions()
        self.reader = BuildReader(self.client, self.subscriptions, self.metrics)
        self.channel = AsyncChannel(settings, self.subscriptions, self.metrics)
        self._users = 0
        self._users_changed = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(
            self._run(), name="buildpixel-monitor", context=contextvars.Context()
        )

    async def __aenter__(self) -> Self:
        self._users += 1
        self._users_changed.set()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._users -= 1
        self._users_changed.set()

    async def _run(self) -> None:
        """Report the metrics; close everything when the monitor is unused or the loop ends."""
        async with AsyncExitStack() as parts:  # closes each part, even if another one fails
            parts.push_async_callback(self.client.close)
            parts.push_async_callback(self.channel.close)
            parts.push_async_callback(self.reader.close)
            parts.callback(self._unregister)
            while not await self._is_unused():
                pass

    def _unregister(self) -> None:
        _MONITORS.pop((asyncio.get_running_loop(), self.settings), None)
        self.metrics.up = None
        self._report_metrics()

    async def _is_unused(self) -> bool:
        """Wait until the users change or a timeout; report metrics if due; return if unused."""
        self._users_changed.clear()
        try:
            async with asyncio.timeout(QUIET_REPORT_INTERVAL if self._users else IDLE_CLOSE_AFTER):
                await self._users_changed.wait()
        except TimeoutError:
            return not self._users
        finally:
            elapsed = time.monotonic() - self._reported_at
            if elapsed >= (REPORT_INTERVAL if self._has_changed() else UNCHANGED_REPORT_INTERVAL):
                self._report_metrics()
        return False

    def _has_changed(self) -> bool:
        return self.metrics.has_counts or self._state() != self._reported_state

    def _state(self) -> tuple[int, bool | None]:
        return self.subscriptions.waits, self.metrics.up

    def _report_metrics(self) -> None:
        self._reported_at = time.monotonic()
        self.metrics.waits, _ = self._reported_state = self._state()
        self._report(self.metrics)
        self.metrics.reset_counts()

    def wait(
        self, wait: Wait, report: Callable[[LogMessage], None]
    ) -> Coroutine[Any, Any, Done | Expired]:
        """Wait until a build ends or the deadline passes.

        :param report: called with each message about the wait.
        :raises BuildPixelError: waiting cannot help, for example because the token was refused.
        """
        now = time.monotonic()
        tracker = wait.tracker(now, time.time(), self._jitter)
        return ActiveWait(self, tracker, wait.reporter(now, _PROCESS_BUDGET), report).run(
            wait.build_id
        )

    async def find(self, search: NewestMatch, wait: Wait) -> str | None:
        """Wait until a build matches, and return its id; None when the deadline passes.

        :param wait: the poll interval and the deadline.
        :raises BuildPixelError: waiting cannot help, or reads failed for too long.
        """
        failing_since: float | None = None
        while True:
            try:
                now = self.client.server_now() - self.client.clock_tolerance
                found = await self.client.run(search.search(now))
                if found is not None:
                    return found.id
                failing_since = None
            except BuildPixelError as error:
                failing_since = failing_since or time.monotonic()
                failing_for = time.monotonic() - failing_since
                if is_permanent(error) or failing_for > Pacing.trouble_timeout:
                    raise
            left = inf if wait.deadline is None else wait.deadline - time.time()
            if left <= 0:
                return None
            await asyncio.sleep(min(left, wait.poll_interval * (0.9 + self._jitter() / 5)))


class ActiveWait:
    """Runs one wait: requests the reads that its tracker asks for, and handles its events.

    The coroutine is woken only when there is something to report, or the wait ends.
    """

    __slots__ = ("_monitor", "_report", "_reporter", "_subscription", "_tracker")

    def __init__(
        self,
        monitor: BuildMonitor,
        tracker: BuildTracker,
        reporter: WaitReporter,
        report: Callable[[LogMessage], None],
    ) -> None:
        self._monitor = monitor
        self._tracker = tracker
        self._reporter = reporter
        self._report = report
        self._subscription: Subscription

    async def run(self, build_id: str) -> Done | Expired:
        """Wait until the build ends or the time is over."""
        self._subscription, first = self._monitor.subscriptions.add(build_id)
        self._subscription.handler = self
        if self._tracker.uses_channel:
            self._monitor.channel.subscribe(build_id, self._subscription.put, first=first)
        count = 0
        try:
            while not isinstance(action := self._next_action(), Done | Expired):
                # No variable holds the event: thousands of waits would each keep their last one.
                self._handle(await self._subscription.get(action.seconds))
                count += 1
                if count % YIELD_EVERY == 0:
                    await asyncio.sleep(0)
        finally:
            self._close()
        self._count_wait(action)
        return action

    def on_unchanged_status(self, status: Status, since: float) -> float | None:
        """Handle a status from a list; return the next pause, None if the wait must wake."""
        now = time.monotonic()
        if self._tracker.status != status or now >= self._reporter.next_report_at():
            return None
        self._apply_last_read()
        self._tracker.on_unchanged(now, since)
        return self.next_pause() or 0.0

    def next_pause(self) -> float | None:
        """Request the reads that are due; return the next pause, None if the wait is over."""
        action = self._next_action()
        return action.seconds if isinstance(action, Listen) else None

    def _next_action(self) -> Listen | Done | Expired:
        """Request the reads that are due; return the action that follows."""
        self._apply_last_read()
        now = time.monotonic()
        while isinstance(action := self._tracker.next_action(now), Read):
            self._tracker.read_requested(now)
            self._monitor.reader.request(self._subscription.build_id, action)
        return action

    def idle_terms(self) -> IdleTerms | None:
        """Return when reads may be skipped; None while any wait has requested a read."""
        if self._monitor.reader.has_request(self._subscription.build_id):
            return None
        next_report_at = self._reporter.next_report_at()
        if time.monotonic() >= next_report_at:
            return None
        return self._tracker.idle_terms(next_report_at)

    def _apply_last_read(self) -> None:
        """Pass the last read that the idle wait skipped to the tracker."""
        read_time = self._subscription.take_last_read()
        if read_time is not None:
            self._tracker.on_unchanged(read_time.at, read_time.since)

    def _close(self) -> None:
        monitor, build_id = self._monitor, self._subscription.build_id
        if monitor.subscriptions.remove(self._subscription):
            monitor.reader.cancel_request(build_id)
            if self._tracker.uses_channel:
                monitor.channel.unsubscribe(build_id)

    def _count_wait(self, end: Done | Expired) -> None:
        metrics, reporter = self._monitor.metrics, self._reporter
        status = str(end.build.status) if isinstance(end, Done) else "timeout"
        metrics.wait_times.append((status, time.monotonic() - reporter.started_at))
        if reporter.queued_seconds is not None:
            metrics.queue_times.append(reporter.queued_seconds)

    def _handle(self, event: WaitEvent | None) -> None:
        """Pass an event to the tracker and the reporter; report the messages."""
        self._apply_last_read()
        now = time.monotonic()
        match event:
            case None:
                return
            case BuildRead(build, since):
                self._tracker.on_read(build, now, since)
                wall = self._monitor.client.server_now()
                messages = self._reporter.on_read(build, now, wall)
            case ReadFailed(error):
                self._tracker.on_read_failed(error, now)
                messages = self._reporter.on_read_failed(error, now)
            case channel_event:
                self._tracker.on_event(channel_event, now)
                messages = self._reporter.on_event(channel_event, now)
                if isinstance(channel_event, Joined) and messages and self._reporter.is_streaming:
                    self._monitor.reader.on_log_gap(self._subscription.build_id)
        for message in messages:
            self._monitor.metrics.lines_dropped += message.dropped
            self._report(message)
