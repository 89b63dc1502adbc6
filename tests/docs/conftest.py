from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from airflow import __version__ as airflow_version

from airflow_provider_buildpixel.sandbox import Plan, Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

# The pages are written for the newest Airflow, and so are Sphinx's pins.
collect_ignore_glob = [] if airflow_version.startswith("3.3.") else ["*"]


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """Run a sandbox behind the default connection; its builds take a third of a second."""
    # There is no scheduler that could mistake a quickly resumed task for a failed one.
    monkeypatch.setenv("AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL", "-5")
    with Sandbox(default=Plan(queue=0.1, run=0.2, lines=8)) as running:
        monkeypatch.setenv("AIRFLOW_CONN_BUILDPIXEL_DEFAULT", running.connection_uri)
        yield running
