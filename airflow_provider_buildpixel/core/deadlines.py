"""When a wait gives up: instants on the wall clock, since they cross processes."""

from __future__ import annotations

from dataclasses import dataclass

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
