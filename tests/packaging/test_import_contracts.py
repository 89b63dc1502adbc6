"""Which module may import which, and that every module falls under one of the rules.

The rules are the import contracts in ``pyproject.toml``. Pure modules have no I/O, clock, random
numbers, threads or Airflow. Beside them in the same folders are the I/O modules. The other folders
face Airflow.
"""

from __future__ import annotations

import ast
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

import airflow_provider_buildpixel
from airflow_provider_buildpixel import exceptions
from airflow_provider_buildpixel.api.model import Build, Status
from tests.packaging.test_public_names import AIRFLOW

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "airflow_provider_buildpixel"
PACKAGE = Path(airflow_provider_buildpixel.__file__).parent
ROOT = Path(__file__).parents[2]
TOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
CONTRACTS = TOOLS["importlinter"]["contracts"]
COVERAGE = TOOLS["coverage"]["run"]
LINTER = Path(sys.executable).with_name("lint-imports")
PURE_CONTRACT = next(one for one in CONTRACTS if one["name"].startswith("Pure modules"))
AIRFLOW_FACING = (
    *("assets", "connection_form", "exceptions", "provider_info", "retries"),
    *("hooks", "links", "operators", "plugins", "sensors", "tasks", "triggers"),
)
STATUSES = {"pending", "running", "complete", "failed", "superseded"}
MAY_COMPARE_STATUSES = {"api.model", "builds.outcome"}


def _modules() -> dict[str, Path]:
    """Return the names and files of all modules outside the sandbox; packages are left out."""
    files = {file for file in PACKAGE.rglob("*.py") if file.name != "__init__.py"}
    names = {".".join(file.relative_to(PACKAGE).with_suffix("").parts): file for file in files}
    return {name: names[name] for name in sorted(names) if not name.startswith("sandbox.")}


def _listed(names: list[str]) -> set[str]:
    """Return the modules of ours in a list of modules and packages."""
    ours = [name.removeprefix(f"{NAME}.") for name in names if name.startswith(NAME)]
    return {module for module in MODULES for name in ours if f"{module}.".startswith(f"{name}.")}


MODULES = _modules()
PURE = _listed(PURE_CONTRACT["source_modules"])
WITH_IO = _listed(PURE_CONTRACT["forbidden_modules"])
FACING = {module for module in MODULES if module.partition(".")[0] in AIRFLOW_FACING}


def _lint(folder: Path) -> dict[str, bool]:
    """Run the import linter in a folder; return whether each contract was kept."""
    done = subprocess.run(
        [LINTER, "--no-cache", "--no-logo", ROOT / "pyproject.toml"],
        cwd=folder,
        env=os.environ | {"COLUMNS": "400"},
        capture_output=True,
        text=True,
        check=False,
    )
    results = re.findall(r"^(.+?) (KEPT|BROKEN)( \(.+\))?$", done.stdout, re.MULTILINE)
    kept = {name: result == "KEPT" for name, result, _ in results}
    assert list(kept) == [contract["name"] for contract in CONTRACTS], done.stdout + done.stderr
    assert (done.returncode == 0) == all(kept.values())
    return kept


def test_contracts_are_kept() -> None:
    """The package keeps every import contract."""
    assert [name for name, kept in _lint(ROOT).items() if not kept] == []


VIOLATIONS = {
    "api/text.py": "from airflow_provider_buildpixel.api import errors",  # a cycle
    "api/retry.py": "import time",
    "channel/metrics.py": "from airflow_provider_buildpixel.hooks import metrics",
    "waits/monitor.py": "import airflow",
    "operators/buildpixel.py": "import aiohttp",
    "sensors/buildpixel.py": "from airflow_provider_buildpixel.api.errors import NotFound",
    "triggers/events.py": "from airflow_provider_buildpixel.sandbox import Sandbox",
    "sandbox/clock.py": "from airflow_provider_buildpixel.api import text",
}
"""Imports that together break every contract."""


def test_contracts_notice_violations(tmp_path: Path) -> None:
    """A copy of the package with one forbidden import per rule breaks every contract."""
    shutil.copytree(PACKAGE, tmp_path / NAME, ignore=shutil.ignore_patterns("__pycache__"))
    for module, violation in VIOLATIONS.items():
        with (tmp_path / NAME / module).open("a") as file:
            file.write(f"\n\ndef _forbidden() -> None:\n    {violation}\n")
    assert [name for name, kept in _lint(tmp_path).items() if kept] == []


def test_every_module_has_one_kind() -> None:
    """Each module is either pure, or does I/O beside the pure ones, or faces Airflow."""
    assert set(MODULES) == PURE | WITH_IO | FACING
    assert not PURE & WITH_IO
    assert not (PURE | WITH_IO) & FACING
    assert len(PURE) > len(WITH_IO) > 0


def test_listed_modules_exist() -> None:
    """The contract of the pure modules names only modules and packages that exist."""
    listed = PURE_CONTRACT["source_modules"] + PURE_CONTRACT["forbidden_modules"]
    ours = [name for name in listed if name.startswith(NAME)]
    assert [name for name in ours if not _listed([name])] == []


def test_packages_contain_no_code() -> None:
    """The ``__init__`` modules that the lists leave out hold a docstring and nothing else."""
    files = [file for file in PACKAGE.rglob("__init__.py") if "sandbox" not in file.parts]
    bodies = {file: ast.parse(file.read_text()).body for file in files}
    assert [file for file, body in bodies.items() if len(body) > 1] == [PACKAGE / "__init__.py"]


def test_coverage_is_of_the_pure_modules() -> None:
    """Coverage is measured in the folders of pure modules, and leaves exactly the I/O ones out."""
    omitted = [path.removeprefix(f"{NAME}/").removesuffix(".py") for path in COVERAGE["omit"]]
    assert sorted(path.replace("/", ".") for path in omitted) == sorted(WITH_IO)
    folders = {f"{NAME}/{module.partition('.')[0]}" for module in PURE}
    assert sorted(COVERAGE["source"]) == sorted(folders)


IMPORTS = """\
import importlib, json, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ImportError(f"{name} is blocked")

ours, watched, blocked, *modules = json.loads(sys.argv[1])
sys.meta_path.insert(0, Blocker())
loaded = {}
for module in modules:
    for name in [name for name in sys.modules if name.partition(".")[0] == ours]:
        del sys.modules[name]
    try:
        importlib.import_module(f"{ours}.{module}")
        loaded[module] = [name for name in watched if name in sys.modules]
    except ImportError as error:
        loaded[module] = str(error)
print(json.dumps(loaded))
"""


def _imported(modules: set[str], watched: list[str], blocked: tuple[str, ...] = ()) -> Any:
    """Import each module alone in a new interpreter.

    Return by module which of the watched modules it loads, or the error that it fails with.
    """
    arguments = json.dumps([NAME, watched, blocked, *sorted(modules)])
    command = [sys.executable, "-W", "ignore", "-c", IMPORTS, arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_pure_modules_work_without_airflow() -> None:
    """Each pure module can be imported where Airflow and the libraries for I/O are missing."""
    libraries = ("airflow", "aiohttp", "engineio", "requests", "socketio", "urllib3", "websocket")
    loaded = _imported({*PURE, "exceptions"}, ["airflow"], libraries)
    assert loaded.pop("exceptions") == "airflow is blocked"
    assert {module: found for module, found in loaded.items() if found} == {}


def test_what_faces_airflow_loads_the_exceptions() -> None:
    """A module that Airflow loads, and that can raise our errors, makes them Airflow exceptions."""
    errors, public = f"{NAME}.api.errors", f"{NAME}.exceptions"
    loaded = _imported(FACING, [errors, public])
    if AIRFLOW < (3, 3):  # older versions lack some base classes
        loaded = {module: found for module, found in loaded.items() if isinstance(found, list)}
    assert {
        module: found for module, found in loaded.items() if found not in ([], [errors, public])
    } == {}
    assert len([found for found in loaded.values() if found]) > 10


def test_statuses_are_compared_in_two_modules() -> None:
    """Only the model and the outcome of a build compare a status with a literal."""
    others = {name: file for name, file in MODULES.items() if name not in MAY_COMPARE_STATUSES}
    compared = {name: list(_compared_statuses(file)) for name, file in others.items()}
    assert {name: found for name, found in compared.items() if found} == {}
    assert list(_compared_statuses(MODULES["api.model"]))


def _compared_statuses(file: Path) -> Iterator[str]:
    """Yield the statuses in comparisons and match patterns of a module.

    The state of a phase and the tone of the build page are not statuses, but use the same words.
    """
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Compare | ast.MatchValue):
            if isinstance(node, ast.Compare) and _last_name(node.left) in {"state", "tone"}:
                continue
            constants = (n.value for n in ast.walk(node) if isinstance(n, ast.Constant))
            yield from (f"line {node.lineno}: {value}" for value in constants if value in STATUSES)


def _last_name(node: ast.expr) -> str:
    """Return the name of the attribute or function that an expression ends with."""
    node = node.func if isinstance(node, ast.Call) else node
    return node.attr if isinstance(node, ast.Attribute) else ""


BUILD = Build("build-1", Status("failed"))
ERRORS: list[exceptions.BuildPixelError] = [
    exceptions.ArtifactUnavailable("x", status_code=404),
    exceptions.BuildFailed("x", build=BUILD, phase="cook", errors=("e",), cause="cook"),
    exceptions.BuildInFlight("x", build=BUILD),
    exceptions.BuildPixelError("x", code="c"),
    exceptions.BuildSuperseded("x", build=BUILD, newer=BUILD),
    exceptions.BuildTimeout("x", build=BUILD),
    exceptions.ChecksumMismatch("x"),
    exceptions.DispatchUncertain("x", candidates=(BUILD,)),
    exceptions.Forbidden("x", status_code=403),
    exceptions.InvalidRequest("x", status_code=400),
    exceptions.NotFound("x", status_code=404),
    exceptions.RateLimited("x", wait=3.0),
    exceptions.ServerFault("x", status_code=500),
    exceptions.Unauthorized("x", status_code=401),
    exceptions.UnexpectedAnswer("x", status_code=200),
    exceptions.Unreachable("x", sent=False, timed_out=True),
]
PERMANENT = {"Forbidden", "InvalidRequest", "Unauthorized"}


def test_every_error_is_checked() -> None:
    """The list of errors above has one of each public class."""
    assert sorted(type(error).__name__ for error in ERRORS) == exceptions.__all__


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_are_airflow_exceptions(error: exceptions.BuildPixelError) -> None:
    """An error is an Airflow exception of the public module, and survives pickling."""
    classes = type(error).__mro__
    assert AirflowException in classes
    assert (AirflowFailException in classes) == (type(error).__name__ in PERMANENT)
    assert type(error).__module__ == exceptions.__name__
    copy: Any = pickle.loads(pickle.dumps(error))  # noqa: S301  # bytes of this test
    assert type(copy) is type(error)
    assert (copy.__dict__, str(copy)) == (error.__dict__, str(error))
