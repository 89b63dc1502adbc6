"""Which failures of a build are worth another try (Airflow 3.3 and later)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import RetryDecision, RetryPolicy

from airflow_provider_buildpixel.builds.logs import is_permanent_cause
from airflow_provider_buildpixel.exceptions import (
    BuildFailed,
    BuildSuperseded,
    Forbidden,
    InvalidRequest,
    NotFound,
    Unauthorized,
)

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


__all__ = ["BuildPixelRetryPolicy"]


class BuildPixelRetryPolicy(RetryPolicy):
    """Retries what may go better next time, and fails at once on what cannot.

    No retry: a compile or cook error, a lost repository, an expired Perforce ticket, a
    superseded build, a project or setting that does not exist, a refused token, and what is
    refused with 400 or 403 (which Airflow fails at once in any case). Everything else, such as a
    build that died without a word or an outage, is retried as the task says.
    """

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,  # Airflow's signature  # Airflow's signature
        max_tries: int,
        context: Context | None = None,
    ) -> RetryDecision:
        """Decide by the type of the error and, for a failed build, by its cause."""
        if isinstance(exception, BuildFailed) and is_permanent_cause(exception.cause):
            return RetryDecision.fail(f"the same build would fail again ({exception.cause})")
        if isinstance(exception, BuildSuperseded):
            return RetryDecision.fail("a newer build took its place; a retry would cancel that")
        if isinstance(exception, NotFound):
            return RetryDecision.fail("it does not exist")
        if isinstance(exception, Unauthorized | Forbidden | InvalidRequest):
            return RetryDecision.fail("BuildPixel refused it, and would again")
        return RetryDecision.default()

    def serialize(self) -> dict[str, Any]:
        """Give its parameters: none."""
        return {}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> BuildPixelRetryPolicy:  # none
        """Make one from :meth:`serialize`."""
        return cls()
