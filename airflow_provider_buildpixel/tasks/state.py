"""What a task stores about its build, so that later tries can continue with it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_buildpixel.builds.record import DispatchRecord


STATE_KEY = "buildpixel_build"
"""Key in the task state store. It must never change, because running tasks depend on it."""


class TaskState:
    """The task's :class:`DispatchRecord` in Airflow's task state store (Airflow 3.3 and later).

    Below 3.3, or with ``durable=False``, nothing is stored.

    :param durable: whether a later try continues with the build of an earlier one.
    """

    def __init__(self, context: Context, *, durable: bool = True) -> None:
        known: Any = context
        ti = known["ti"]
        self._store = known.get("task_state_store") if durable else None
        self.clear_count = int(getattr(ti, "max_tries", 0) or 0)
        run_started_at = getattr(known.get("dag_run"), "start_date", None)
        is_retry = durable and (getattr(ti, "try_number", 1) or 1) > 1
        self.retry_since: float | None = None
        """Start of the Dag run in a retry, in seconds since the epoch; None in a first try.

        Without a store, a live build since then may be the build of an earlier try.
        """
        if is_retry and run_started_at is not None:
            self.retry_since = run_started_at.timestamp()

    @property
    def is_available(self) -> bool:
        """Whether something can be stored for a later try."""
        return self._store is not None

    def load(self) -> DispatchRecord | None:
        """Return what an earlier try stored."""
        from airflow_provider_buildpixel.builds.record import DispatchRecord  # not for parsing Dags

        return (
            DispatchRecord.from_json(self._store.get(STATE_KEY))
            if self._store is not None
            else None
        )

    def save(self, record: DispatchRecord) -> None:
        """Store the record for later tries."""
        if self._store is not None:
            self._store.set(STATE_KEY, replace(record, clear_count=self.clear_count).to_json())

    def clear(self) -> None:
        """Delete the stored record."""
        if self._store is not None:
            self._store.delete(STATE_KEY)

    def mark_finished(self) -> None:
        """Store that the task has used the build's result: after a Clear, a new build starts."""
        record = self.load()
        if record is not None:
            self.save(replace(record, task_finished=True))
