"""The command line, the pytest fixture, and what comes with an import."""

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
from airflow_provider_buildpixel.sandbox.faults import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULE = "airflow_provider_buildpixel.sandbox"
ROOT = Path(__file__).parents[2]
THEIR_TESTS = """
import os, requests

def test_it(buildpixel_sandbox):
    assert os.environ["AIRFLOW_CONN_BUILDPIXEL_DEFAULT"] == buildpixel_sandbox.connection_uri
    headers = {"Authorization": f"Bearer {buildpixel_sandbox.token}"}
    assert requests.get(buildpixel_sandbox.url + "/auth/me", headers=headers).ok

def test_after():
    assert "AIRFLOW_CONN_BUILDPIXEL_DEFAULT" not in os.environ
"""


@pytest.fixture
def served() -> Iterator[subprocess.Popen[str]]:
    """Serve a sandbox in a process of its own."""
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


def said(process: subprocess.Popen[str]) -> dict[str, str]:
    """Read what it says of itself: the words after each first word."""
    assert process.stdout is not None
    lines = [process.stdout.readline().strip() for _ in range(8)]
    return {line.split()[0]: line for line in lines}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve(served: subprocess.Popen[str], number: signal.Signals) -> None:
    """`serve` says where it is and how Airflow gets there, and ends cleanly on a signal."""
    words = said(served)
    url = words["BuildPixel"].split()[3].rstrip(",")
    token = words["token"].split()[-1]
    headers = {"Authorization": f"Bearer {token}"}
    assert "AIRFLOW_CONN_BUILDPIXEL_DEFAULT=" in words["export"]
    answer = requests.get(f"{url}/_sandbox/state", headers=headers, timeout=5).json()
    assert (answer["speed"], answer["variants"]["trigger_status"]) == (600, 200)
    served.send_signal(number)
    assert served.wait(30) == 0
    assert served.stderr is not None
    # On a busy machine asyncio's debug mode tells of callbacks that took their time.
    slow = re.compile(r"Executing .* took [\d.]+ seconds")
    assert [line for line in served.stderr.read().splitlines() if not slow.fullmatch(line)] == []


def test_taken_port(capsys: pytest.CaptureFixture[str], sandbox: Sandbox) -> None:
    """A port that is taken, be it by another sandbox, is said to be so."""
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        assert main(["serve", "--port", sandbox.url.rpartition(":")[2]]) == 1
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), handlers, strict=True):
            signal.signal(number, handler)
    assert "cannot listen on port" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["serve", "--variant", "x=y"]])
def test_wrong_arguments(arguments: list[str]) -> None:
    """Wrong arguments are explained and end with status 2."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


@pytest.mark.parametrize(("command", "names"), [("faults", KINDS), ("variants", Variants.points())])
def test_lists(capsys: pytest.CaptureFixture[str], command: str, names: dict[str, Any]) -> None:
    """The command line lists all faults and all variants."""
    assert main([command]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in names)


def test_connection_uri() -> None:
    """The connection is a URI with the whole base URL as host, the token, and our build pages."""
    parts = urlsplit(connection_uri("http://127.0.0.1:8765", "bp_x"))
    assert (parts.scheme, parts.username, parts.password) == ("buildpixel", "", "bp_x")
    assert unquote(parts.hostname or "") == "http://127.0.0.1:8765"
    page = "http://127.0.0.1:8765/dashboard/builds/{build_id}"
    assert parse_qs(parts.query) == {"build_url": [page]}


def test_fixture(tmp_path: Path) -> None:
    """DAG authors get a sandbox of their own as the default connection, and it ends with it."""
    (tmp_path / "test_theirs.py").write_text(THEIR_TESTS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", f"{MODULE}.fixtures", tmp_path],
        cwd=tmp_path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert "2 passed" in done.stdout, done.stdout


def test_light_import() -> None:
    """The plugin that every pytest session loads brings neither server nor Airflow along."""
    code = (
        f"import sys, {MODULE}.fixtures; "
        "print(*sorted({'aiohttp', 'socketio', 'requests', 'airflow'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == ""


def test_ring() -> None:
    """The sandbox imports neither Airflow nor what it is there to contradict."""
    code = (
        f"import sys, {MODULE}.sandbox, {MODULE}.__main__; "
        "bad = ('airflow.', 'airflow_provider_buildpixel.core', "
        "'airflow_provider_buildpixel.client', 'airflow_provider_buildpixel.hooks'); "
        "print(*[name for name in sys.modules if name.startswith(bad) or name == 'airflow'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == ""


def test_restart() -> None:
    """A sandbox that was stopped leaves its port, its threads and its world in order."""
    with Sandbox(variants=Variants()) as first:
        port = int(first.url.rpartition(":")[2])
        build = first.push(first.settings("MyGame")[0]["id"])
    assert first.build(build)["id"] == build
    with Sandbox(port=port) as second:
        assert second.url == first.url
        assert second.token == first.token
