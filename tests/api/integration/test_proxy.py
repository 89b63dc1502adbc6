"""REST and the live channel through a real proxy."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from airflow_provider_buildpixel.api import endpoints
from tests.api.integration.test_tls import bundle, context
from tests.clients.adapters import RecordedWait, ended_build, open_client, run_wait, wait_until
from tests.clients.hostile_server import hostile_server

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_provider_buildpixel.api.settings import Settings

__all__ = ["bundle", "context"]


class Proxy:
    """A running proxy.

    :param log: its log, which names a request when the connection has ended.
    """

    def __init__(self, url: str, log: Path) -> None:
        self.url = url
        self._log = log

    @property
    def log_text(self) -> str:
        """The log so far."""
        return self._log.read_text()


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """Run a proxy."""
    folder = tmp_path_factory.mktemp("proxy")
    port, log = folder / "port", folder / "log"
    command = [
        *(sys.executable, "-m", "proxy", "--hostname", "127.0.0.1", "--port", "0"),
        *("--port-file", str(port), "--log-file", str(log), "--num-workers", "1"),
        *("--num-acceptors", "1", "--data-dir", str(folder)),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        end = time.monotonic() + 20
        while not port.exists() or not port.read_text().strip():
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        yield Proxy(f"http://127.0.0.1:{port.read_text().strip()}", log)
        process.terminate()


# aiohttp leaves the connection below TLS in a tunnel to the garbage collector, which warns of it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("named", ["connection", "environment"])
async def test_proxy_with_tls(
    settings: Settings,
    client_kind: str,
    proxy: Proxy,
    bundle: Path,
    context: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
    named: str,
) -> None:
    """REST and websocket reach BuildPixel through the proxy, with TLS inside the tunnel."""
    if named == "environment":
        monkeypatch.setenv("https_proxy", proxy.url)
    monkeypatch.setenv("no_proxy", "elsewhere.invalid")  # the default excludes loopback
    through = proxy.url if named == "connection" else None
    with hostile_server(context) as server:
        known = replace(settings, base_url=server.url, verify=str(bundle), proxy=through)
        port = server.url.rpartition(":")[2]
        async with open_client(client_kind, known) as client:
            assert (await client.attempt(endpoints.get_build("b"))).status == "running"
            task = asyncio.create_task(run_wait(client, RecordedWait("b", poll_interval=0.2)))
            await wait_until(lambda: server.joined, 10)
            server.build = {"id": "b", "status": "complete"}
            assert ended_build(await task).status == "complete"
    # One for REST, one for the websocket.
    await wait_until(lambda: proxy.log_text.count(f"CONNECT 127.0.0.1:{port}") >= 2, 10)
