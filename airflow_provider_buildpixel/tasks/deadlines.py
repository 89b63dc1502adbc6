"""When a wait times out, as wall-clock times, because they are passed between processes."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.exceptions import BuildPixelError

if TYPE_CHECKING:
    from datetime import timedelta

    from airflow.providers.common.compat.sdk import Context


EXECUTION_TIMEOUT = "execution_timeout"
TIMEOUT = "timeout"
QUEUE_TIMEOUT = "queue_timeout"

MAX_DEFERRALS = 100
"""Deferrals of one task. Each follows a change or an hour of errors, so more indicate a fault."""

TIMEOUT_MARGIN = 5.0
"""Seconds before ``execution_timeout`` at which a wait ends, so that its own error is raised."""


@dataclass(frozen=True)
class Deadlines:
    """The times at which a wait times out, in seconds since the epoch.

    :param expires_at: when the build must have ended.
    :param queue_expires_at: when the build must have left the queue.
    :param parameter: the parameter that ``expires_at`` comes from.
    """

    expires_at: float | None = None
    queue_expires_at: float | None = None
    parameter: str = TIMEOUT

    @classmethod
    def from_limits(
        cls,
        *,
        dispatched_at: float,
        started_at: float,
        timeout: float | None = None,
        execution_timeout: float | None = None,
        queue_timeout: float | None = None,
        queued_at: float | None = None,
    ) -> Deadlines:
        """Return the deadlines for limits in seconds, each of which counts from its own time.

        ``timeout`` counts from the dispatch, over all tries of the task. So does
        ``queue_timeout``, but from ``queued_at`` for a newer build that is followed.
        ``execution_timeout`` counts from the start of this try, as everywhere in Airflow.
        """
        expiries = {}
        if timeout is not None:
            expiries[TIMEOUT] = dispatched_at + timeout
        if execution_timeout is not None:
            expiries[EXECUTION_TIMEOUT] = started_at + execution_timeout
        parameter = min(expiries, key=lambda name: expiries[name], default=TIMEOUT)
        queued_at = dispatched_at if queued_at is None else queued_at
        queue_expires_at = None if queue_timeout is None else queued_at + queue_timeout
        return cls(expiries.get(parameter), queue_expires_at, parameter)

    def expired_parameter(self, now: float, *, queued: bool) -> str | None:
        """Return the name of the parameter whose time is over, or None if there is time left."""
        if self.expires_at is not None and now >= self.expires_at:
            return self.parameter
        if queued and self.queue_expires_at is not None and now >= self.queue_expires_at:
            return QUEUE_TIMEOUT
        return None

    def seconds_left(self, now: float) -> float | None:
        """Return the seconds left for the build to end, or None without a limit."""
        return None if self.expires_at is None else max(0.0, self.expires_at - now)


@dataclass(frozen=True)
class WaitProgress:
    """The progress of a waiting task, stored over deferrals as plain JSON.

    :param dispatched_at: from when ``timeout`` and ``queue_timeout`` count, in seconds since the
        epoch like the other times.
    :param started_at: from when ``execution_timeout`` counts.
    :param deferrals: number of deferrals so far.
    :param followed: number of newer builds followed so far.
    :param queued_at: from when ``queue_timeout`` counts for such a newer build.
    """

    dispatched_at: float
    started_at: float
    deferrals: int = 0
    followed: int = 0
    queued_at: float | None = None

    @classmethod
    def of_new_try(cls, context: Context) -> WaitProgress:
        """Return the progress of a try that begins now."""
        now = time.time()
        start = getattr(context["ti"], "start_date", None)
        return cls(dispatched_at=now, started_at=start.timestamp() if start else now)

    @classmethod
    def from_json(cls, context: Context, data: Any) -> WaitProgress:
        """Parse what :meth:`to_json` returned; restart if it is missing, as with ``dag.test``."""
        known = data if isinstance(data, dict) else {}
        if not {"dispatched_at", "started_at"} <= known.keys():
            return cls.of_new_try(context)
        return cls(**{name: known[name] for name in cls.__dataclass_fields__ if name in known})

    def to_json(self) -> dict[str, Any]:
        """Return the progress as plain JSON."""
        return asdict(self)

    def from_dispatch(self, dispatched_at: float) -> WaitProgress:
        """Return the progress with ``timeout`` counting from the dispatch of a build."""
        return replace(self, dispatched_at=dispatched_at)

    def follow_newer(self, queued_at: float) -> WaitProgress:
        """Return the progress for a newer build, which has its own time in the queue."""
        return replace(self, followed=self.followed + 1, queued_at=queued_at)

    def next_deferral(self) -> WaitProgress:
        """Return the progress with one more deferral.

        :raises BuildPixelError: there were too many.
        """
        if self.deferrals >= MAX_DEFERRALS:
            raise BuildPixelError(
                f"the task was resumed {self.deferrals} times and the build has not ended; check "
                "the triggerer's log"
            )
        return replace(self, deferrals=self.deferrals + 1)

    def deadlines(
        self,
        *,
        timeout: float | None,
        queue_timeout: float | None,
        execution_timeout: timedelta | None,
    ) -> Deadlines:
        """Return the times at which the wait times out, from the task's limits."""
        limit = None if execution_timeout is None else execution_timeout.total_seconds()
        return Deadlines.from_limits(
            dispatched_at=self.dispatched_at,
            started_at=self.started_at,
            timeout=timeout,
            execution_timeout=None if limit is None else limit - min(TIMEOUT_MARGIN, limit / 10),
            queue_timeout=queue_timeout,
            queued_at=self.queued_at,
        )
