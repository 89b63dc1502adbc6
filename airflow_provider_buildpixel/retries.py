"""A retry policy that depends on how a build failed (Airflow 3.3 and later)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import RetryDecision, RetryPolicy

from airflow_provider_buildpixel.builds.failure_cause import is_permanent_cause
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
    """Retries failures that may be temporary, and fails at once on permanent ones.

    No retry: a compile or cook error, a repository that BuildPixel cannot access, an expired
    Perforce ticket, a superseded build, a project, build setting or build that does not exist, a
    rejected token, and requests rejected with 400 or 403 (Airflow fails those at once in any case).
    Everything else, such as a build whose log stops without an error or an outage, is retried by
    the settings of the task.
    """

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,  # noqa: ARG002  # Airflow's signature
        max_tries: int,  # noqa: ARG002
        context: Context | None = None,  # noqa: ARG002
    ) -> RetryDecision:
        """Return the decision by the type of the error and, for a failed build, by its cause."""
        if isinstance(exception, BuildFailed) and is_permanent_cause(exception.cause):
            return RetryDecision.fail(f"the same build would fail again ({exception.cause})")
        if isinstance(exception, BuildSuperseded):
            return RetryDecision.fail("a newer build replaced it; a retry would cancel that build")
        if isinstance(exception, NotFound):
            return RetryDecision.fail("the requested object does not exist")
        if isinstance(exception, Unauthorized | Forbidden | InvalidRequest):
            return RetryDecision.fail("BuildPixel would reject the same request again")
        return RetryDecision.default()

    def serialize(self) -> dict[str, Any]:
        """Return the parameters: there are none."""
        return {}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> BuildPixelRetryPolicy:  # noqa: ARG003
        """Return a policy from the output of :meth:`serialize`."""
        return cls()
