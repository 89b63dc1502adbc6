"""What a task remembers of its build over tries."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_buildpixel.core.intent import Intent

KEY = "buildpixel_build"
"""Key in the task state store: fixed for ever, as running tasks depend on it."""


class TaskMemory:
    """The task's intent in Airflow's task state store (3.3 and later).

    Below 3.3, or with ``durable=False``, it forgets everything.

    :param durable: whether to remember at all.
    """

    def __init__(self, context: Context, *, durable: bool = True) -> None:
        known: Any = context
        self._store = known.get("task_state_store") if durable else None
        self.generation = int(getattr(known["ti"], "max_tries", 0) or 0)

    @property
    def works(self) -> bool:
        """Whether something is kept for a later try."""
        return self._store is not None

    def recall(self) -> Intent | None:
        """Give what an earlier try wrote down."""
        from airflow_provider_buildpixel.core.intent import Intent  # not for parsing Dags

        return Intent.from_json(self._store.get(KEY)) if self._store is not None else None

    def keep(self, intent: Intent) -> None:
        """Write it down for later tries."""
        if self._store is not None:
            self._store.set(KEY, replace(intent, generation=self.generation).to_json())

    def forget(self) -> None:
        """Leave nothing to a later try."""
        if self._store is not None:
            self._store.delete(KEY)

    def conclude(self) -> None:
        """Note that the build's result was taken: a user's Clear starts a new one."""
        intent = self.recall()
        if intent is not None:
            self.keep(replace(intent, concluded=True))
