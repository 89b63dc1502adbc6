from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest

from airflow_provider_buildpixel.builds import dispatch, request_window
from airflow_provider_buildpixel.sandbox import Plan, Sandbox, Variants
from airflow_provider_buildpixel.tasks import dispatch_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECTION = "AIRFLOW_CONN_BUILDPIXEL_DEFAULT"


@pytest.fixture(autouse=True)
def _no_resume_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resume deferred tasks at once: there is no scheduler that could mistake them for failed."""
    monkeypatch.setenv("AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL", "-5")


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start builds without a lock, as its pauses are long; tests of the lock have Variables.

    Whether a test has Airflow's own depends on the tests before it, which may create the tables.
    """
    variables = SimpleNamespace(get=Mock(side_effect=ImportError("no supervisor")))
    monkeypatch.setattr(dispatch_lock, "Variable", variables)


@pytest.fixture
def sandbox(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """Yield a sandbox behind the default connection; its builds take 0.3 seconds."""
    variants = getattr(request, "param", Variants())
    with Sandbox(variants=variants, default=Plan(queue=0.1, run=0.2, lines=4)) as running:
        monkeypatch.setenv(CONNECTION, running.connection_uri)
        yield running


@pytest.fixture
def short_search_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Search for builds with a thirtieth of the usual pauses: for one second instead of 30."""
    pauses = tuple(pause / 30 for pause in dispatch.SEARCH_PAUSES)
    monkeypatch.setattr(dispatch, "SEARCH_PAUSES", pauses)
    monkeypatch.setattr(dispatch, "LIST_DELAY", dispatch.LIST_DELAY / 30)
    monkeypatch.setattr(request_window, "AFTER_ERROR", request_window.AFTER_ERROR / 30)
