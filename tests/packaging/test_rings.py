"""Which part may import which: Airflow's ring → client → core, and the sandbox by itself."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import airflow_provider_buildpixel

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "airflow_provider_buildpixel"
PACKAGE = Path(airflow_provider_buildpixel.__file__).parent
OUTER = ("hooks", "operators", "sensors", "triggers", "links", "assets", "retries", "plugins")
STATUSES = {"pending", "running", "complete", "failed", "superseded"}
MAY_KNOW_STATUSES = {PACKAGE / "core" / "model.py", PACKAGE / "core" / "verdict.py"}


def _modules(*parts: str) -> list[Path]:
    """Return the source files of these subpackages or modules, in a fixed order."""
    files = {file for part in parts for file in PACKAGE.glob(f"{part}/**/*.py")}
    return sorted(files | {PACKAGE / f"{part}.py" for part in parts} & set(PACKAGE.glob("*.py")))


def _imports(file: Path) -> Iterator[str]:
    """Yield the full names that a file imports, those inside functions and for typing too."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _within(name: str, *places: str) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


def _ours(*parts: str) -> tuple[str, ...]:
    return tuple(f"{NAME}.{part}" for part in parts)


def _ids(file: Path) -> str:
    return str(file.relative_to(PACKAGE))


@pytest.mark.parametrize("file", _modules("core"), ids=_ids)
def test_core_stands_alone(file: Path) -> None:
    """The core imports the standard library, itself and the exceptions, nothing that does I/O."""
    doing = {"socket", "ssl", "http", "urllib.request", "asyncio", "threading", "subprocess", "os"}
    deciding_elsewhere = {"time.sleep", "time.time", "time.monotonic", "logging"}
    for name in _imports(file):
        assert _within(name, *sys.stdlib_module_names, *_ours("core", "exceptions"))
        assert not _within(name, *doing, *deciding_elsewhere)


@pytest.mark.parametrize("file", _modules("client"), ids=_ids)
def test_client_knows_no_airflow(file: Path) -> None:
    """The client imports neither Airflow nor the parts of the provider around it."""
    for name in _imports(file):
        assert not _within(name, "airflow", *_ours(*OUTER, "sandbox"))


@pytest.mark.parametrize("file", _modules(*OUTER), ids=_ids)
def test_airflow_parts_speak_through_the_client(file: Path) -> None:
    """Only the client imports an HTTP or Socket.IO library, and nothing but tests the sandbox."""
    for name in _imports(file):
        assert not _within(name, "aiohttp", "socketio", "engineio", "websocket", *_ours("sandbox"))
        # get_conn() of the blocking hook returns a session, which only a type checker needs to see.
        assert not _within(name, "requests") or file.parent.name == "hooks"


@pytest.mark.parametrize("file", _modules("sandbox"), ids=_ids)
def test_sandbox_shares_no_code(file: Path) -> None:
    """The sandbox imports no other part of the provider, so that it can contradict the client."""
    for name in _imports(file):
        assert not _within(name, "airflow")
        assert not _within(name, NAME) or _within(name, *_ours("sandbox"))


@pytest.mark.parametrize("file", _modules("core", "client", *OUTER), ids=_ids)
def test_statuses_are_compared_in_two_files(file: Path) -> None:
    """Only the model and the verdict compare a status with the word for it."""
    if file not in MAY_KNOW_STATUSES:
        assert not list(_compared(file))


def _compared(file: Path) -> Iterator[str]:
    """Yield the status words that stand in comparisons and match patterns."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Compare | ast.MatchValue):
            words = (n.value for n in ast.walk(node) if isinstance(n, ast.Constant))
            yield from (f"line {node.lineno}: {word}" for word in words if word in STATUSES)


def test_there_is_something_to_check() -> None:
    """The rings are where these tests look for them."""
    assert _modules("core")
    assert _modules("client")
    assert _modules("sandbox")
    assert len(_modules(*OUTER)) > len(OUTER)
