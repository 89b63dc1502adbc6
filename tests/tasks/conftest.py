from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_buildpixel.builds import dispatch, dispatch_loop
from airflow_provider_buildpixel.sandbox import Plan, Sandbox, Variants

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECTION = "AIRFLOW_CONN_BUILDPIXEL_DEFAULT"


@pytest.fixture(autouse=True)
def _prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let deferred tasks come back at once: no scheduler here could mistake them for failed."""
    monkeypatch.setenv("AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL", "-5")


@pytest.fixture
def sandbox(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """Run a sandbox behind the default connection; its builds take a third of a second."""
    variants = getattr(request, "param", Variants())
    with Sandbox(variants=variants, default=Plan(queue=0.1, run=0.2, lines=4)) as running:
        monkeypatch.setenv(CONNECTION, running.connection_uri)
        yield running


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for builds as often as ever, but within three seconds instead of thirty."""
    pauses = tuple(pause / 10 for pause in dispatch.SEARCH_PAUSES)
    for module in (dispatch, dispatch_loop):
        monkeypatch.setattr(module, "SEARCH_PAUSES", pauses)
