"""The pytest fixture for DAG authors; pytest loads it once the package is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_buildpixel.sandbox.sandbox import Sandbox


@pytest.fixture
def buildpixel_sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """Run a new sandbox for the test, as the connection ``buildpixel_default``."""
    # Imported here, because this plugin is loaded into every pytest run of its users.
    from airflow_provider_buildpixel.sandbox.sandbox import Sandbox

    with Sandbox() as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_BUILDPIXEL_DEFAULT", sandbox.connection_uri)
        yield sandbox
