"""What a task remembers of its build over tries."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_buildpixel.builds.record import DispatchRecord


STATE_KEY = "buildpixel_build"
"""Key in the task state store: fixed for ever, as running tasks depend on it."""


class TaskState:
    """The task's intent in Airflow's task state store (3.3 and later).

    Below 3.3, or with ``durable=False``, it forgets everything.

    :param durable: whether to remember at all.
    """

    def __init__(self, context: Context, *, durable: bool = True) -> None:
        known: Any = context
        self._store = known.get("task_state_store") if durable else None
        self.clear_count = int(getattr(known["ti"], "max_tries", 0) or 0)

    @property
    def works(self) -> bool:
        """Whether something is kept for a later try."""
        return self._store is not None

    def recall(self) -> DispatchRecord | None:
        """Give what an earlier try wrote down."""
        from airflow_provider_buildpixel.builds.record import DispatchRecord  # not for parsing Dags

        return (
            DispatchRecord.from_json(self._store.get(STATE_KEY))
            if self._store is not None
            else None
        )

    def keep(self, record: DispatchRecord) -> None:
        """Write it down for later tries."""
        if self._store is not None:
            self._store.set(STATE_KEY, replace(record, clear_count=self.clear_count).to_json())

    def forget(self) -> None:
        """Leave nothing to a later try."""
        if self._store is not None:
            self._store.delete(STATE_KEY)

    def conclude(self) -> None:
        """Note that the build's result was taken: a user's Clear starts a new one."""
        record = self.recall()
        if record is not None:
            self.keep(replace(record, concluded=True))
