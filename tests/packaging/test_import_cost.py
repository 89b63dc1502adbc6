"""What a Dag file pays for naming the provider."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

MODULES = [
    f"airflow_provider_buildpixel.{kind}.buildpixel"
    for kind in ("hooks", "operators", "sensors", "triggers")
]
HEAVY = ["requests", "aiohttp", "socketio", "engineio", "websocket"]
PAID_ANYWAY = """\
import airflow, airflow.triggers.base, airflow.providers.common.compat.sdk
if airflow.__version__.startswith("2."):
    import airflow.models.baseoperator, airflow.hooks.base, airflow.sensors.base
    import airflow.io.path, airflow.providers.common.compat.lineage.hook
else:
    import airflow.sdk
if airflow.__version__.startswith("3.0."):  # its hooks are not in the SDK yet
    import airflow.hooks.base
"""
ALLOWANCE = 40

MEASURE = """\
import importlib, json, sys, warnings
warnings.simplefilter("ignore")
exec(sys.argv[1])
before = set(sys.modules)
for name in sys.argv[2:]:
    importlib.import_module(name)
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def _added(*modules: str, paid: str = PAID_ANYWAY) -> list[str]:
    """Return the modules that these load, in a process of their own."""
    command = [sys.executable, "-c", MEASURE, paid, *modules]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    added: list[str] = json.loads(done.stdout.splitlines()[-1])
    return added


@pytest.mark.parametrize("module", MODULES)
def test_no_client_library_is_loaded(module: str) -> None:
    """Importing a public module loads no HTTP or Socket.IO library."""
    assert not [name for name in _added(module) if name.partition(".")[0] in HEAVY]


def test_few_modules_are_loaded() -> None:
    """All public modules together load at most forty modules that Airflow has not loaded."""
    added = _added(*MODULES)
    assert len(added) <= ALLOWANCE, added


def test_package_itself_is_nearly_free() -> None:
    """Importing the package alone loads neither Airflow nor the provider info."""
    added = _added("airflow_provider_buildpixel", paid="pass")
    assert [name for name in added if name.startswith("airflow")] == ["airflow_provider_buildpixel"]


def test_pytest_plugin_is_nearly_free() -> None:
    """The plugin that every pytest session loads brings no Airflow and no server."""
    added = _added("airflow_provider_buildpixel.sandbox.fixtures", paid="import pytest")
    assert not [name for name in added if name.partition(".")[0] in {*HEAVY, "airflow"}]
