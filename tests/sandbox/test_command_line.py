"""The command line, the pytest fixture, and which modules are imported."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import requests

from airflow_provider_buildpixel.sandbox import Sandbox, Variants
from airflow_provider_buildpixel.sandbox.__main__ import main
from airflow_provider_buildpixel.sandbox.connection import connection_uri
from airflow_provider_buildpixel.sandbox.faults.catalog import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULE = "airflow_provider_buildpixel.sandbox"
ROOT = Path(__file__).parents[2]
USER_TESTS = """
import os, requests

def test_during(buildpixel_sandbox):
    assert os.environ["AIRFLOW_CONN_BUILDPIXEL_DEFAULT"] == buildpixel_sandbox.connection_uri
    headers = {"Authorization": f"Bearer {buildpixel_sandbox.token}"}
    assert requests.get(buildpixel_sandbox.url + "/auth/me", headers=headers).ok

def test_after():
    assert "AIRFLOW_CONN_BUILDPIXEL_DEFAULT" not in os.environ
"""


@pytest.fixture
def served() -> Iterator[subprocess.Popen[str]]:
    """Serve a sandbox in another process."""
    command = [sys.executable, "-W", "error", "-X", "dev", "-m", MODULE, "serve", "--port", "0"]
    with subprocess.Popen(
        [*command, "--speed", "600", "--variant", "trigger_status=200"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        yield process
        process.kill()


def output_lines(process: subprocess.Popen[str]) -> dict[str, str]:
    """Return the lines that the process printed at the start, by first word."""
    assert process.stdout is not None
    lines = [process.stdout.readline().strip() for _ in range(8)]
    return {line.split()[0]: line for line in lines}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve(served: subprocess.Popen[str], number: signal.Signals) -> None:
    """`serve` prints its URL and the Airflow connection, and stops cleanly on a signal."""
    lines = output_lines(served)
    url = lines["BuildPixel"].split()[3].rstrip(",")
    token = lines["token"].split()[-1]
    headers = {"Authorization": f"Bearer {token}"}
    assert "AIRFLOW_CONN_BUILDPIXEL_DEFAULT=" in lines["export"]
    state = requests.get(f"{url}/_sandbox/state", headers=headers, timeout=5).json()
    assert (state["speed"], state["variants"]["trigger_status"]) == (600, 200)
    served.send_signal(number)
    assert served.wait(30) == 0
    assert served.stderr is not None
    # On a busy machine asyncio's debug mode logs slow callbacks.
    slow = re.compile(r"Executing .* took [\d.]+ seconds")
    assert [line for line in served.stderr.read().splitlines() if not slow.fullmatch(line)] == []


def test_port_in_use(capsys: pytest.CaptureFixture[str], sandbox: Sandbox) -> None:
    """A port that is in use, even by another sandbox, is reported."""
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        assert main(["serve", "--port", sandbox.url.rpartition(":")[2]]) == 1
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), handlers, strict=True):
            signal.signal(number, handler)
    assert "cannot listen on port" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["serve", "--variant", "x=y"]])
def test_wrong_arguments(arguments: list[str]) -> None:
    """Wrong arguments exit with status 2."""
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert exit_info.value.code == 2


@pytest.mark.parametrize(("command", "names"), [("faults", KINDS), ("variants", Variants.points())])
def test_lists(capsys: pytest.CaptureFixture[str], command: str, names: dict[str, Any]) -> None:
    """The command line lists all faults and all variants."""
    assert main([command]) == 0
    output = capsys.readouterr().out
    assert all(name in output for name in names)


def test_connection_uri() -> None:
    """The connection URI has the base URL as host, the token, and the URL of build pages."""
    parts = urlsplit(connection_uri("http://127.0.0.1:8765", "bp_x"))
    assert (parts.scheme, parts.username, parts.password) == ("buildpixel", "", "bp_x")
    assert unquote(parts.hostname or "") == "http://127.0.0.1:8765"
    page = "http://127.0.0.1:8765/dashboard/builds/{build_id}"
    assert parse_qs(parts.query) == {"build_url": [page]}


def test_fixture(tmp_path: Path) -> None:
    """The fixture starts a sandbox as the default connection, for the duration of the test."""
    (tmp_path / "test_user.py").write_text(USER_TESTS)
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", f"{MODULE}.fixtures", tmp_path],
        cwd=tmp_path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert "2 passed" in result.stdout, result.stdout


def test_light_import() -> None:
    """The plugin that every pytest run loads imports neither the server nor Airflow."""
    code = (
        f"import sys, {MODULE}.fixtures; "
        "print(*sorted({'aiohttp', 'socketio', 'requests', 'airflow'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert result.stdout.strip() == ""


def test_no_import_of_the_provider() -> None:
    """The sandbox imports neither Airflow nor the provider, so that it can contradict it."""
    code = (
        f"import sys, {MODULE}.sandbox, {MODULE}.__main__; "
        "provider = 'airflow_provider_buildpixel'; "
        "bad = ('airflow.', *(f'{provider}.{name}' for name in "
        "('api', 'builds', 'channel', 'downloads', 'hooks', 'waits'))); "
        "print(*[name for name in sys.modules if name.startswith(bad) or name == 'airflow'])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert result.stdout.strip() == ""


def test_restart() -> None:
    """After a stop, builds can still be read, and the port can be used again."""
    with Sandbox(variants=Variants()) as first:
        port = int(first.url.rpartition(":")[2])
        build = first.push(first.settings("MyGame")[0]["id"])
    assert first.build(build)["id"] == build
    with Sandbox(port=port) as second:
        assert second.url == first.url
        assert second.token == first.token
