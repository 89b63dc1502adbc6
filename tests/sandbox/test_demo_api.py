"""The demo's client of Airflow's REST API, with a server that fails after it has acted."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_buildpixel.sandbox.demo import api

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Handler(BaseHTTPRequestHandler):
    """Starts each requested run, but responds first with an error, then with a conflict."""

    runs: list[str]
    requested: list[str]
    status = 500

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/auth/token":
            self._respond(201, {"access_token": "made up"})
            return
        self.requested.append(body["dag_run_id"])
        known = body["dag_run_id"] in self.runs
        if not known and self.status >= 500:
            self.runs.append(body["dag_run_id"])
        self._respond(409 if known else self.status, {})

    def _respond(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the inherited name
        """Log nothing."""


@pytest.fixture
def handler() -> type[_Handler]:
    """Return the request handler of the server."""
    return type("Handler", (_Handler,), {"runs": [], "requested": []})


@pytest.fixture
def client(handler: type[_Handler], monkeypatch: pytest.MonkeyPatch) -> Iterator[api.AirflowApi]:
    """Return a client with short pauses between retries."""
    monkeypatch.setattr(api, "PAUSE", 0.01)
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield api.AirflowApi(f"http://127.0.0.1:{server.server_port}", "user", "password")
        server.shutdown()
        thread.join()


def test_run_is_started_once(handler: Any, client: api.AirflowApi) -> None:
    """After an error the request is repeated with the same run id, so the run is started once."""
    run_id = client.start_run("dag")
    assert handler.runs == [run_id]
    assert handler.requested == [run_id, run_id]


def test_permanent_error(handler: Any, client: api.AirflowApi) -> None:
    """An error that a retry cannot change is raised at once."""
    handler.status = 404
    with pytest.raises(api.AirflowRefused):
        client.start_run("dag", run_id="mine")
    assert handler.requested == ["mine"]
