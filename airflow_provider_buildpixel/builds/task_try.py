"""Tells a try that follows a Clear of the task from a retry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow_provider_buildpixel.api import fields


@dataclass(frozen=True)
class TryOfTask:
    """What tells a try that follows a Clear from a retry.

    A retry changes none of these numbers but the first. A Clear sets ``max_tries`` to the number of
    tries so far plus ``retries``. If ``retries`` was edited meanwhile, the sum can be what it was.

    :param clear_number: the times that tasks of the Dag run were cleared, which also counts clears
        of other tasks; 0 where it is not known.
    """

    try_number: int = 1
    max_tries: int = 0
    retries: int = 0
    clear_number: int = 0

    @classmethod
    def from_json(cls, data: Any) -> TryOfTask:
        """Parse what ``asdict`` returned; fields that are missing are 0."""
        known = data if isinstance(data, dict) else {}
        return cls(**{name: fields.integer(known.get(name)) or 0 for name in cls.__annotations__})

    def was_surely_cleared_since(self, earlier: TryOfTask) -> bool:
        """Return whether the numbers have changed since an earlier try as only a Clear does it."""
        has_no_retry_left = self.try_number > earlier.try_number > earlier.max_tries
        return self.max_tries != earlier.max_tries or has_no_retry_left

    def was_cleared_since(self, earlier: TryOfTask, *, task_finished: bool) -> bool:
        """Return whether a user cleared the task since an earlier try, as far as that can be told.

        If only the run's count of clears has changed, either another task was cleared, or this one
        while it was running. Neither starts a new build.

        :param task_finished: that try has ended with success, as far as it could store.
        """
        if self.was_surely_cleared_since(earlier):
            return True
        if self.clear_number == earlier.clear_number:
            return False
        return task_finished or self.retries != earlier.retries
