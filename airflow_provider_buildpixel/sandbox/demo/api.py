"""A small client of Airflow's REST API, based on the standard library."""

from __future__ import annotations

import json
import secrets
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

TIMEOUT = 30.0
SERVER_ERROR = 500
CONFLICT = 409

RETRIES, PAUSE = 5, 1.0
"""Retries of an idempotent request after a server error, such as a locked SQLite, and the seconds
between them."""

# Requests to loopback must not use a proxy from the environment.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class AirflowRefused(Exception):
    """Airflow responded to a request with an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"Airflow responded with {status}: {message}")
        self.status = status


class AirflowApi:
    """Airflow's REST API for one user, logged in on the first call."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url = url
        self._login = {"username": user, "password": password}
        self._token: str | None = None

    def call(self, method: str, path: str, body: Any = None, *, idempotent: bool = False) -> Any:
        """Send a request below ``/api/v2`` and return the JSON of the response.

        :param idempotent: the request may be repeated; a GET always may.
        """
        if self._token is None:
            self._token = self._send("POST", "/auth/token", self._login)["access_token"]
        for _ in range(RETRIES if idempotent or method == "GET" else 0):
            try:
                return self._send(method, f"/api/v2{path}", body)
            except AirflowRefused as error:
                if error.status < SERVER_ERROR:
                    raise
            time.sleep(PAUSE)
        return self._send(method, f"/api/v2{path}", body)

    def health(self) -> dict[str, str]:
        """Return the status of each component that reports one.

        The Execution API is called first, because its first request takes seconds that the first
        tasks would otherwise spend in their slots.
        """
        self._send("GET", "/execution/health/ping")
        parts = self._send("GET", "/api/v2/monitor/health")
        return {name: part["status"] for name, part in parts.items() if part}

    def import_errors(self) -> dict[str, str]:
        """Return the import errors by Dag file."""
        errors = self.call("GET", "/importErrors")["import_errors"]
        return {error["filename"]: error["stack_trace"] for error in errors}

    def start_run(
        self, dag_id: str, conf: dict[str, Any] | None = None, run_id: str | None = None
    ) -> str:
        """Start a run of a Dag and return its id, which makes the request idempotent."""
        run_id = run_id or f"manual__{datetime.now(UTC).isoformat()}_{secrets.token_hex(4)}"
        body = {"dag_run_id": run_id, "logical_date": None, "conf": conf or {}}
        try:
            self.call("POST", f"/dags/{quote(dag_id)}/dagRuns", body, idempotent=True)
        except AirflowRefused as error:
            if error.status != CONFLICT:  # an attempt that failed had started the run
                raise
        return run_id

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """Return a Dag run as in the API."""
        run: dict[str, Any] = self.call("GET", _run_path(dag_id, run_id))
        return run

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the task instances of a run as in the API."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances?limit=100"
        tasks: list[dict[str, Any]] = self.call("GET", path)["task_instances"]
        return tasks

    def xcom(self, task: dict[str, Any], key: str = "return_value") -> Any:
        """Return the XCom value of a task instance under a key, None if there is none."""
        base = _run_path(task["dag_id"], task["dag_run_id"])
        query = urlencode({"map_index": task["map_index"], "deserialize": "true"})
        path = f"{base}/taskInstances/{quote(task['task_id'])}/xcomEntries/{quote(key)}?{query}"
        try:
            return self.call("GET", path)["value"]
        except AirflowRefused as error:
            if error.status == 404:
                return None
            raise

    def log(self, task: dict[str, Any], try_number: int = 1) -> str:
        """Return the log of one try of a task instance as text."""
        base = _run_path(task["dag_id"], task["dag_run_id"])
        query = urlencode({"map_index": task["map_index"], "full_content": "true"})
        path = f"{base}/taskInstances/{quote(task['task_id'])}/logs/{try_number}?{query}"
        content = self.call("GET", path)["content"]
        return "\n".join(line["event"] if isinstance(line, dict) else line for line in content)

    def _send(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310  # the URL of the demo's own server
            self.url + path, data, headers, method=method
        )
        try:
            with _opener.open(request, timeout=TIMEOUT) as response:
                return json.loads(response.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                raise AirflowRefused(error.code, error.read().decode(errors="replace")) from error


def _run_path(dag_id: str, run_id: str) -> str:
    return f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id, safe='')}"
