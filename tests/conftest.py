"""Sets a temporary Airflow home, before anything imports Airflow."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# CI uses the same examples each time, so that it does not fail at random; local runs use others.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

FOLDER = Path(__file__).parent
REAL_AIRFLOW = ("tests/e2e/test_kills.py", "tests/e2e/test_real_airflow.py")
"""The longest tests that run a real Airflow."""

OTHER_AIRFLOWS = (
    "tests/asset_events/integration/test_real_airflow.py",
    "tests/ui/test_browser.py",
    "tests/e2e/test_leaks.py",
)
"""Further tests with their own Airflow, which run one after the other."""

DOCS = "tests/docs/"
"""Tests that load the site and a user's sandbox once, so they stay in one process."""

HOME = Path(tempfile.mkdtemp(prefix="buildpixel-tests-"))

for _name in [name for name in os.environ if name.startswith("AIRFLOW")]:
    del os.environ[_name]

os.environ |= {
    "AIRFLOW_HOME": str(HOME),
    "AIRFLOW__CORE__DAGS_FOLDER": str(HOME / "dags"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    "AIRFLOW__METRICS__TIMER_UNIT_CONSISTENCY": "True",  # the only mode of 3.x; 2.11 warns without
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{HOME / 'airflow.db'}",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
}


def pytest_unconfigure() -> None:
    """Remove the home."""
    shutil.rmtree(HOME, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest tests on a real Airflow first, and the other ones after half of the rest.

    So two processes mostly wait for an Airflow, the third one runs other tests, and no long test
    is left when those are over.
    """
    for item in items:
        if item.path.is_relative_to(FOLDER / "e2e"):
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(600))
    first, later = _split(items, REAL_AIRFLOW)
    airflows, rest = _split(later, OTHER_AIRFLOWS)
    folders = sorted({item.path.parent for item in rest})
    half = {*folders[: len(folders) // 2]}
    items[:] = [
        *first,
        *(item for item in rest if item.path.parent in half),
        *airflows,
        *(item for item in rest if item.path.parent not in half),
    ]


def _split(
    items: list[pytest.Item], files: tuple[str, ...]
) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """Return the tests of some files, in the order of the files, and all others."""
    chosen = [item for file in files for item in items if item.nodeid.startswith(file)]
    return chosen, [item for item in items if not item.nodeid.startswith(files)]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Distribute the tests by file, or by group where all must run in the same process."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
        def _split_scope(self, nodeid: str) -> str:
            if nodeid.startswith(OTHER_AIRFLOWS):
                return "other Airflows"
            return DOCS if nodeid.startswith(DOCS) else nodeid.partition("::")[0]

    return Scheduling(config, log)


@pytest.fixture(scope="session")
def airflow_database() -> Path:
    """Create Airflow's tables once, for tests that run Dags in their own process."""
    from airflow.utils.db import initdb

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from Airflow 2's own libraries
        initdb()
    return HOME / "airflow.db"
