"""The import cost of the provider for a Dag file."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

MODULES = [
    f"airflow_provider_buildpixel.{kind}.buildpixel"
    for kind in ("hooks", "operators", "sensors", "triggers")
]
CLIENT_LIBRARIES = ["requests", "aiohttp", "socketio", "engineio", "websocket"]
AIRFLOW_IMPORTS = """\
import airflow, airflow.triggers.base, airflow.providers.common.compat.sdk
if airflow.__version__.startswith("2."):
    import airflow.models.baseoperator, airflow.hooks.base, airflow.sensors.base
    import airflow.io.path, airflow.providers.common.compat.lineage.hook
else:
    import airflow.sdk
if airflow.__version__.startswith("3.0."):  # its hooks are not in the SDK
    import airflow.hooks.base
"""
MAX_MODULES = 40

PRINT_ADDED_MODULES = """\
import importlib, json, sys, warnings
warnings.simplefilter("ignore")
exec(sys.argv[1])
before = set(sys.modules)
for name in sys.argv[2:]:
    importlib.import_module(name)
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def _loaded_modules(*modules: str, imported_before: str = AIRFLOW_IMPORTS) -> list[str]:
    """Return the modules that these imports add, in a new process."""
    command = [sys.executable, "-c", PRINT_ADDED_MODULES, imported_before, *modules]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    added: list[str] = json.loads(done.stdout.splitlines()[-1])
    return added


@pytest.mark.parametrize("module", MODULES)
def test_no_client_library_is_loaded(module: str) -> None:
    """Importing a public module loads no HTTP or Socket.IO library."""
    assert not [
        name for name in _loaded_modules(module) if name.partition(".")[0] in CLIENT_LIBRARIES
    ]


def test_few_modules_are_loaded() -> None:
    """All public modules together load at most forty modules that Airflow has not loaded."""
    added = _loaded_modules(*MODULES)
    assert len(added) <= MAX_MODULES, added


def test_package_import_is_cheap() -> None:
    """Importing the package alone loads neither Airflow nor the provider info."""
    added = _loaded_modules("airflow_provider_buildpixel", imported_before="pass")
    assert [name for name in added if name.startswith("airflow")] == ["airflow_provider_buildpixel"]


def test_pytest_plugin_import_is_cheap() -> None:
    """The plugin that every pytest run loads imports neither Airflow nor the server."""
    added = _loaded_modules(
        "airflow_provider_buildpixel.sandbox.fixtures", imported_before="import pytest"
    )
    assert not [name for name in added if name.partition(".")[0] in {*CLIENT_LIBRARIES, "airflow"}]
