"""When a wait gives up: instants on the wall clock, since they cross processes."""

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


@dataclass(frozen=True)
class Deadlines:
    """The instants, in seconds since the epoch, at which a wait gives up.

    :param until: for a terminal status.
    :param queue_until: for leaving the queue.
    :param reason: the parameter that ``until`` comes from.
    """

    until: float | None = None
    queue_until: float | None = None
    reason: str = TIMEOUT

    @classmethod
    def of(
        cls,
        *,
        dispatched_at: float,
        started_at: float,
        timeout: float | None = None,
        execution_timeout: float | None = None,
        queue_timeout: float | None = None,
        queued_at: float | None = None,
    ) -> Deadlines:
        """Make them of the parameters, each from its own instant.

        ``timeout`` and ``queue_timeout`` count from the dispatch, over all tries of the task, but
        ``queue_timeout`` from ``queued_at`` for a newer build that is followed instead;
        ``execution_timeout`` counts from the start of this try, as everywhere in Airflow.
        """
        ends = {}
        if timeout is not None:
            ends[TIMEOUT] = dispatched_at + timeout
        if execution_timeout is not None:
            ends[EXECUTION_TIMEOUT] = started_at + execution_timeout
        reason = min(ends, key=lambda name: ends[name], default=TIMEOUT)
        queued_at = dispatched_at if queued_at is None else queued_at
        queue_until = None if queue_timeout is None else queued_at + queue_timeout
        return cls(ends.get(reason), queue_until, reason)

    def passed(self, now: float, *, queued: bool) -> str | None:
        """Name the parameter whose time is over, None if there is still time."""
        if self.until is not None and now >= self.until:
            return self.reason
        if queued and self.queue_until is not None and now >= self.queue_until:
            return QUEUE_TIMEOUT
        return None

    def left(self, now: float) -> float | None:
        """Give the seconds left for a terminal status, None without a limit."""
        return None if self.until is None else max(0.0, self.until - now)


MAX_DEFERRALS = 100
"""Deferrals of one task: each follows a change or an hour of trouble, so more is a fault."""


TIMEOUT_MARGIN = 5.0
"""Seconds that we end a wait before ``execution_timeout``, so that the error says what goes on."""


@dataclass(frozen=True)
class WaitProgress:
    """What a waiting task knows of itself, carried over deferrals as plain JSON.

    :param dispatched_at: from when ``timeout`` and ``queue_timeout`` count.
    :param started_at: from when ``execution_timeout`` counts. Both seconds since the epoch.
    :param rounds: deferrals so far.
    :param followed: newer builds gone on to so far.
    :param queued_at: from when ``queue_timeout`` counts instead, for such a newer build.
    """

    dispatched_at: float
    started_at: float
    rounds: int = 0
    followed: int = 0
    queued_at: float | None = None

    @classmethod
    def of(cls, context: Context) -> WaitProgress:
        """Begin now, as for the dispatch, and with the task's own start."""
        now = time.time()
        start = getattr(context["ti"], "start_date", None)
        return cls(dispatched_at=now, started_at=start.timestamp() if start else now)

    @classmethod
    def from_json(cls, context: Context, data: Any) -> WaitProgress:
        """Read what :meth:`to_json` wrote; ``dag.test`` drops it, then it begins anew."""
        known = data if isinstance(data, dict) else {}
        if not {"dispatched_at", "started_at"} <= known.keys():
            return cls.of(context)
        return cls(**{name: known[name] for name in cls.__dataclass_fields__ if name in known})

    def to_json(self) -> dict[str, Any]:
        """Give it as plain JSON."""
        return asdict(self)

    def since(self, dispatched_at: float) -> WaitProgress:
        """Count from the dispatch of a build."""
        return replace(self, dispatched_at=dispatched_at)

    def following(self, queued_at: float) -> WaitProgress:
        """Go on to a newer build, which has its own time in the queue."""
        return replace(self, followed=self.followed + 1, queued_at=queued_at)

    def next_round(self) -> WaitProgress:
        """Count one more deferral.

        :raises BuildPixelError: there were too many.
        """
        if self.rounds >= MAX_DEFERRALS:
            raise BuildPixelError(
                f"the wait was resumed {self.rounds} times and the build has not ended; look at "
                "the triggerer's log"
            )
        return replace(self, rounds=self.rounds + 1)

    def deadlines(
        self,
        *,
        timeout: float | None,
        queue_timeout: float | None,
        execution_timeout: timedelta | None,
    ) -> Deadlines:
        """Give the instants at which the wait gives up."""
        limit = None if execution_timeout is None else execution_timeout.total_seconds()
        return Deadlines.of(
            dispatched_at=self.dispatched_at,
            started_at=self.started_at,
            timeout=timeout,
            execution_timeout=None if limit is None else limit - min(TIMEOUT_MARGIN, limit / 10),
            queue_timeout=queue_timeout,
            queued_at=self.queued_at,
        )
