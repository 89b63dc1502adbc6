"""Clients of the sandbox: requests and python-socketio, without code of this package's client."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import requests
import socketio

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.sandbox import Sandbox

TIMEOUT = 5.0


class ApiClient:
    """REST calls with one token."""

    def __init__(self, sandbox: Sandbox, token: str | None = None) -> None:
        self.sandbox = sandbox
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Authorization"] = f"Bearer {token or sandbox.token}"

    def __call__(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        """Send a request and return the response, whatever its status."""
        kwargs.setdefault("timeout", TIMEOUT)
        return self.session.request(method, self.sandbox.url + path, **kwargs)

    def get(self, path: str, **query: Any) -> Any:
        """Return the JSON of a response that must be successful."""
        response = self("GET", path, params=query)
        assert response.ok, response.text
        return response.json()

    def trigger(self, project: str = "MyGame", /, **body: Any) -> requests.Response:
        """Trigger the first build setting of a project."""
        setting = self.sandbox.settings(project)[0]
        path = f"/projects/{setting['projectId']}/build-settings/{setting['id']}/trigger"
        return self("POST", path, json=body)


class SocketClient:
    """A Socket.IO client that records the events it receives."""

    def __init__(self, sandbox: Sandbox, transport: str = "websocket") -> None:
        self.events: list[tuple[str, tuple[Any, ...]]] = []
        self.connect_errors: list[Any] = []
        self.disconnected = threading.Event()
        self.session = requests.Session()
        self.sio = socketio.Client(
            reconnection=False, handle_sigint=False, http_session=self.session
        )
        self.sio.eio._trigger_event = _inline(self.sio.eio)
        self.sio.on("*", lambda event, *data: self.events.append((event, data)))
        self.sio.on("connect_error", self.connect_errors.append)
        self.sio.on("disconnect", lambda _reason=None: self.disconnected.set())
        self.sandbox, self.transport = sandbox, transport

    def connect(self, token: str | None = None, **kwargs: Any) -> SocketClient:
        """Connect with a token, by default the member's."""
        auth = {"token": token or self.sandbox.token}
        kwargs.setdefault("wait_timeout", TIMEOUT)
        self.sio.connect(self.sandbox.url, auth=auth, transports=[self.transport], **kwargs)
        return self

    def close(self) -> None:
        """Disconnect; the library does not close a socket that the other side has dropped."""
        self.sio.disconnect()
        if self.sio.eio.ws is not None:
            self.sio.eio.ws.shutdown()
        self.session.close()

    def join(self, build_id: str) -> SocketClient:
        """Join a build, and wait until the sandbox has added the connection to its room."""
        before = self.sandbox.joined(build_id)
        self.sio.emit("join:build", {"buildId": build_id})
        until(lambda: self.sandbox.joined(build_id) > before)
        return self

    def payloads(self, event: str) -> list[Any]:
        """Return the first arguments of all events with this name."""
        return [data[0] if data else None for name, data in list(self.events) if name == event]

    def wait(self, count: int, event: str = "build:status") -> list[Any]:
        """Wait for so many events with this name, and return their first arguments."""
        until(lambda: len(self.payloads(event)) >= count)
        return self.payloads(event)


def _inline(engine: Any) -> Callable[..., Any]:
    """Handle events on the reading thread: with a thread per event their order would be lost."""
    trigger = type(engine)._trigger_event

    def inline(event: str, *args: Any, **_: Any) -> Any:
        return trigger(engine, event, *args, run_async=False)

    return inline


def until(condition: Callable[[], Any], timeout: float = TIMEOUT) -> None:
    """Wait until a condition is true."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.005)


def push_build(sandbox: Sandbox, project: str = "MyGame", **kwargs: Any) -> str:
    """Queue a build of the first build setting of a project."""
    return sandbox.push(sandbox.settings(project)[0]["id"], **kwargs)


def push_pending(sandbox: Sandbox) -> str:
    """Queue a build that stays pending."""
    sandbox.plan(outcome="stays_pending")
    return push_build(sandbox)
