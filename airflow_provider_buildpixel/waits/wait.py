"""The parameters of one wait, as hooks, operators and triggers pass them on.

Every parse of a Dag imports this module, so the modules that wait are imported only when a wait
begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import inf
from typing import TYPE_CHECKING

from airflow_provider_buildpixel.api.model import Build, Status
from airflow_provider_buildpixel.builds.errors import BuildTimeout
from airflow_provider_buildpixel.waits.parameters import check_limits, check_wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.builds.logs import LogLine
    from airflow_provider_buildpixel.waits.actions import Pacing
    from airflow_provider_buildpixel.waits.reporter import LogBudget, LogMessage, WaitReporter
    from airflow_provider_buildpixel.waits.tracker import BuildTracker


@dataclass(frozen=True)
class Wait:
    """One wait for one build, as plain values.

    :param channel: ``auto``, ``socketio`` or ``polling``.
    :param poll_interval: seconds between reads while there is no live channel.
    :param deadline: for the end of the build, in seconds since the epoch.
    :param queue_deadline: for leaving the queue, in seconds since the epoch.
    :param stream_logs: the log lines to report: ``all``, ``warn``, ``error`` or None.
    :param resumed: an earlier run of this wait has already reported what came before.
    :param wait_until_exists: wait for a build that does not exist yet, until the deadline.
    """

    build_id: str
    channel: str = "auto"
    poll_interval: float = 30.0
    deadline: float | None = None
    queue_deadline: float | None = None
    stream_logs: str | None = "all"
    resumed: bool = False
    wait_until_exists: bool = False

    def tracker(self, now: float, wall: float, jitter: Callable[[], float]) -> BuildTracker:
        """Return a tracker for this wait.

        :param now: monotonic clock.
        :param wall: seconds since the epoch at the same instant.
        """
        from airflow_provider_buildpixel.waits.tracker import BuildTracker

        def monotonic(instant: float | None) -> float | None:
            return None if instant is None else now + instant - wall

        return BuildTracker(
            now,
            pacing=_shared_pacing(self.poll_interval, wait_until_exists=self.wait_until_exists),
            deadline=monotonic(self.deadline),
            queue_deadline=monotonic(self.queue_deadline),
            uses_channel=self.channel != "polling",
            socket_only=self.channel == "socketio",
            jitter=jitter,
        )

    def reporter(self, now: float, process_budget: LogBudget | None = None) -> WaitReporter:
        """Return a reporter for this wait.

        :param process_budget: the log budget that all waits of the process share.
        """
        from airflow_provider_buildpixel.waits.reporter import WaitReporter

        return WaitReporter(
            now,
            stream_logs=self.stream_logs,
            title=f"build {self.build_id}",
            process_budget=process_budget,
            resumed=self.resumed,
        )


@lru_cache
def _shared_pacing(poll_interval: float, *, wait_until_exists: bool) -> Pacing:
    """Return the pacing that all waits with these parameters share."""
    from airflow_provider_buildpixel.waits.actions import Pacing

    grace = inf if wait_until_exists else Pacing.not_found_grace
    return Pacing(poll_interval=poll_interval, not_found_grace=grace)


def log_line_callback(on_log: Callable[[LogLine], None] | None) -> Callable[[LogMessage], None]:
    """Return a message handler that passes the build's own log lines on, and nothing else."""

    def pass_on(message: LogMessage) -> None:
        if on_log is not None and message.line is not None:
            on_log(message.line)

    return pass_on


def hook_wait(
    build_id: str,
    *,
    channel: str,
    poll_interval: float,
    timeout: float | None,
    now: float,
    stream_logs: str | None,
) -> Wait:
    """Return the wait that a hook's parameters describe.

    :param timeout: seconds from ``now``, which is seconds since the epoch.
    :raises InvalidRequest: a parameter is invalid.
    """
    check_wait(channel, poll_interval, stream_logs)
    check_limits(timeout=timeout or None)
    deadline = None if timeout is None else now + timeout
    return Wait(build_id, channel, poll_interval, deadline=deadline, stream_logs=stream_logs)


def ended_or_timeout(build_id: str, build: Build | None, timeout: float | None) -> Build:
    """Return the build as read at the deadline if it has ended.

    :param build: None if it could not be read.
    :raises BuildTimeout: it has not ended, or could not be read.
    """
    if build is not None and build.status.terminal:
        return build
    known = f"{build.title} is {build.status} and" if build else f"build {build_id}"
    raise BuildTimeout(
        f"{known} did not end within {timeout:g} s; the build keeps running, as BuildPixel has no "
        "way to cancel it",
        build=build or Build(build_id, Status("")),
    )
