"""The pytest fixture for DAG authors; pytest finds it by itself once the package is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_buildpixel.sandbox.sandbox import Sandbox


@pytest.fixture
def buildpixel_sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """Run a BuildPixel of its own for a test, as the connection buildpixel_default."""
    # Imported here, for this module is loaded into every pytest session of its users.
    from airflow_provider_buildpixel.sandbox.sandbox import Sandbox

    with Sandbox() as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_BUILDPIXEL_DEFAULT", sandbox.connection_uri)
        yield sandbox
