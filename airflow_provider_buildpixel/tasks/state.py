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

    :param retries: the ``retries`` of the task.
    :param durable: whether a later try continues with the build of an earlier one.
    """

    def __init__(self, context: Context, *, retries: int = 0, durable: bool = True) -> None:
        from airflow_provider_buildpixel.builds.task_try import TryOfTask  # not for parsing Dags

        known: Any = context
        ti, dag_run = known["ti"], known.get("dag_run")
        self._store = known.get("task_state_store") if durable else None
        self.current_try = TryOfTask(
            try_number=int(getattr(ti, "try_number", 1) or 1),
            max_tries=int(getattr(ti, "max_tries", 0) or 0),
            retries=retries,
            clear_number=int(getattr(dag_run, "clear_number", 0) or 0),
        )
        """What tells a Clear from a retry; stored with what this try stores."""
        self.owner = "/".join(
            str(getattr(ti, name, "")) for name in ("dag_id", "run_id", "task_id", "map_index")
        )
        """The task instance, over all its tries."""
        run_started_at = getattr(dag_run, "start_date", None)
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
            self._store.set(STATE_KEY, record.to_json())

    def restore(self, record: DispatchRecord | None) -> None:
        """Store what an earlier try had stored; delete what this try has stored if it was None."""
        if record is not None:
            self.save(record)
        elif self._store is not None:
            self._store.delete(STATE_KEY)

    def mark_finished(self) -> None:
        """Store that the task has used the build's result: after a Clear, a new build starts."""
        record = self.load()
        if record is not None:
            self.save(replace(record, task_finished=True, stored_by=self.current_try))
