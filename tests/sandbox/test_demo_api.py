"""The demo's client of Airflow's REST API, next to a server that fails after the fact."""

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
    """Starts each run that it is asked for, says first that it failed, and knows it afterwards."""

    runs: list[str]
    asked: list[str]
    fault = 500

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/auth/token":
            self._answer(201, {"access_token": "made up"})
            return
        self.asked.append(body["dag_run_id"])
        known = body["dag_run_id"] in self.runs
        if not known and self.fault >= 500:
            self.runs.append(body["dag_run_id"])
        self._answer(409 if known else self.fault, {})

    def _answer(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # as it is inherited
        """Say nothing."""


@pytest.fixture
def handler() -> type[_Handler]:
    """What the server does."""
    return type("Handler", (_Handler,), {"runs": [], "asked": []})


@pytest.fixture
def client(handler: type[_Handler], monkeypatch: pytest.MonkeyPatch) -> Iterator[api.AirflowApi]:
    """The client, in a hurry."""
    monkeypatch.setattr(api, "PAUSE", 0.01)
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield api.AirflowApi(f"http://127.0.0.1:{server.server_port}", "user", "password")
        server.shutdown()
        thread.join()


def test_a_run_that_was_started_after_all(handler: Any, client: api.AirflowApi) -> None:
    """The request is repeated under the same id, and the run is started once."""
    run_id = client.start_run("dag")
    assert handler.runs == [run_id]
    assert handler.asked == [run_id, run_id]


def test_a_run_that_is_refused(handler: Any, client: api.AirflowApi) -> None:
    """What asking again cannot change is raised at once."""
    handler.fault = 404
    with pytest.raises(api.AirflowRefused):
        client.start_run("dag", run_id="mine")
    assert handler.asked == ["mine"]
