from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_buildpixel.api.model import Build, Status
from airflow_provider_buildpixel.exceptions import (
    BuildFailed,
    BuildSuperseded,
    Forbidden,
    InvalidRequest,
    NotFound,
    ServerFault,
    Unauthorized,
    Unreachable,
)
from tests.tasks.stage import AIRFLOW_3_3

if TYPE_CHECKING:
    from airflow_provider_buildpixel.exceptions import (
        BuildPixelError,
    )

BUILD = Build("b", Status("failed"))


@pytest.mark.skipif(not AIRFLOW_3_3, reason="Airflow has retry policies since 3.3")
@pytest.mark.parametrize(
    ("error", "action"),
    [
        (BuildFailed("x", build=BUILD, cause="compile"), "fail"),
        (BuildFailed("x", build=BUILD, cause="repository"), "fail"),
        (BuildFailed("x", build=BUILD, cause="no_word"), "default"),
        (BuildSuperseded("x", build=BUILD), "fail"),
        (Unauthorized("x", status_code=401), "fail"),
        (Forbidden("x", status_code=403), "fail"),
        (InvalidRequest("x", status_code=400, code="repo_not_accessible"), "fail"),
        (NotFound("x", status_code=404), "fail"),
        (ServerFault("x", status_code=500), "default"),
        (Unreachable("x"), "default"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_retry_policy(error: BuildPixelError, action: str) -> None:
    """A permanent failure is not retried; a temporary one is, as often as the task allows."""
    from airflow_provider_buildpixel.retries import BuildPixelRetryPolicy

    decision = BuildPixelRetryPolicy().evaluate(error, 1, 3)
    assert decision.action.value == action
