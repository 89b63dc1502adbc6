"""What hooks, operators and triggers say of a wait, apart from the waiting itself.

Every parse of a Dag imports this, so the machines are imported only when a wait begins.
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
    :param deadline: for the end, in seconds since the epoch.
    :param queue_deadline: for leaving the queue, likewise.
    :param stream: which log lines are told: ``all``, ``warn``, ``error`` or None.
    :param resumed: an earlier run of this wait has told what came before.
    :param patient: a build that is not there is waited for like any other, until the deadline.
    """

    build_id: str
    channel: str = "auto"
    poll_interval: float = 30.0
    deadline: float | None = None
    queue_deadline: float | None = None
    stream: str | None = "all"
    resumed: bool = False
    wait_until_exists: bool = False

    def tracker(self, now: float, wall: float, jitter: Callable[[], float]) -> BuildTracker:
        """Make its machine.

        :param now: monotonic clock.
        :param wall: seconds since the epoch at the same instant.
        """
        from airflow_provider_buildpixel.waits.tracker import BuildTracker

        return BuildTracker(
            now,
            pacing=_shared_pacing(self.poll_interval, wait_until_exists=self.wait_until_exists),
            until=None if self.deadline is None else now + self.deadline - wall,
            queue_until=None if self.queue_deadline is None else now + self.queue_deadline - wall,
            live=self.channel != "polling",
            socket_only=self.channel == "socketio",
            jitter=jitter,
        )

    def reporter(self, now: float, common: LogBudget | None = None) -> WaitReporter:
        """Make its narration.

        :param common: what all waits of the process may tell together.
        """
        from airflow_provider_buildpixel.waits.reporter import WaitReporter

        title = f"build {self.build_id}"
        return WaitReporter(
            now, stream=self.stream, title=title, common=common, resumed=self.resumed
        )


@lru_cache
def _shared_pacing(poll_interval: float, *, wait_until_exists: bool) -> Pacing:
    """Give the pacing that all waits with these parameters share."""
    from airflow_provider_buildpixel.waits.actions import Pacing

    return Pacing(poll_interval=poll_interval, absence=inf if wait_until_exists else Pacing.absence)


def log_line_callback(on_log: Callable[[LogLine], None] | None) -> Callable[[LogMessage], None]:
    """Pass the build's own lines on, and nothing else that a wait has to tell."""

    def tell(record: LogMessage) -> None:
        if on_log is not None and record.line is not None:
            on_log(record.line)

    return tell


def hook_wait(
    build_id: str,
    *,
    channel: str,
    poll_interval: float,
    timeout: float | None,
    now: float,
    stream: str | None,
) -> Wait:
    """Put the wait of a hook together.

    :param timeout: seconds from ``now``, which is seconds since the epoch.
    :raises InvalidRequest: a parameter makes no sense.
    """
    check_wait(channel, poll_interval, stream)
    check_limits(timeout=timeout or None)
    deadline = None if timeout is None else now + timeout
    return Wait(build_id, channel, poll_interval, deadline=deadline, stream=stream)


def ended_or_timeout(build_id: str, build: Build | None, timeout: float | None) -> Build:
    """Give a build as read when the time was over, and raise if it has not ended by then.

    :param build: None where it could not be read.
    """
    if build is not None and build.status.terminal:
        return build
    known = f"{build.title} is {build.status} and" if build else f"build {build_id}"
    raise BuildTimeout(
        f"{known} did not end within {timeout:g} s; it goes on, as BuildPixel has no way to "
        "cancel it",
        build=build or Build(build_id, Status("")),
    )
