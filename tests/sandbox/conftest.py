"""Plain clients of the sandbox: requests and python-socketio, nothing of this package's client."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests
import socketio

from airflow_provider_buildpixel.sandbox import Sandbox, Variants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE = 5.0


class Api:
    """REST calls with one token."""

    def __init__(self, sandbox: Sandbox, token: str | None = None) -> None:
        self.sandbox = sandbox
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Authorization"] = f"Bearer {token or sandbox.token}"

    def __call__(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        """Make a call and return its answer, good or bad."""
        kwargs.setdefault("timeout", PATIENCE)
        return self.session.request(method, self.sandbox.url + path, **kwargs)

    def get(self, path: str, **query: Any) -> Any:
        """Return the JSON of an answer that must be good."""
        answer = self("GET", path, params=query)
        assert answer.ok, answer.text
        return answer.json()

    def trigger(self, project: str = "MyGame", /, **body: Any) -> requests.Response:
        """Trigger the first build setting of a project."""
        setting = self.sandbox.settings(project)[0]
        path = f"/projects/{setting['projectId']}/build-settings/{setting['id']}/trigger"
        return self("POST", path, json=body)


class Ear:
    """A Socket.IO client that writes down what it hears."""

    def __init__(self, sandbox: Sandbox, transport: str = "websocket") -> None:
        self.heard: list[tuple[str, tuple[Any, ...]]] = []
        self.refusals: list[Any] = []
        self.cut = threading.Event()
        self.session = requests.Session()
        self.client = socketio.Client(
            reconnection=False, handle_sigint=False, http_session=self.session
        )
        self.client.eio._trigger_event = _inline(self.client.eio)
        self.client.on("*", lambda event, *data: self.heard.append((event, data)))
        self.client.on("connect_error", self.refusals.append)
        self.client.on("disconnect", lambda _reason=None: self.cut.set())
        self.sandbox, self.transport = sandbox, transport

    def connect(self, token: str | None = None, **kwargs: Any) -> Ear:
        """Connect with a token, by default the member's."""
        auth = {"token": token or self.sandbox.token}
        kwargs.setdefault("wait_timeout", PATIENCE)
        self.client.connect(self.sandbox.url, auth=auth, transports=[self.transport], **kwargs)
        return self

    def close(self) -> None:
        """Disconnect; the library leaves a socket open that was cut from the other side."""
        self.client.disconnect()
        if self.client.eio.ws is not None:
            self.client.eio.ws.shutdown()
        self.session.close()

    def join(self, build_id: str) -> Ear:
        """Join a room and wait until the sandbox says so."""
        before = self.sandbox.joined(build_id)
        self.client.emit("join:build", {"buildId": build_id})
        until(lambda: self.sandbox.joined(build_id) > before)
        return self

    def of(self, event: str) -> list[Any]:
        """Return the first arguments of the events of one name."""
        return [data[0] if data else None for name, data in list(self.heard) if name == event]

    def wait(self, count: int, event: str = "build:status") -> list[Any]:
        """Wait for so many events of one name."""
        until(lambda: len(self.of(event)) >= count)
        return self.of(event)


def _inline(engine: Any) -> Callable[..., Any]:
    """Handle events on the thread that reads: one thread for each would not keep their order."""
    trigger = type(engine)._trigger_event

    def inline(event: str, *args: Any, **_: Any) -> Any:
        return trigger(engine, event, *args, run_async=False)

    return inline


def until(condition: Callable[[], Any], patience: float = PATIENCE) -> None:
    """Wait until something is so."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.005)


@pytest.fixture(name="until")
def _until() -> Callable[..., None]:
    return until


@pytest.fixture
def make_sandbox() -> Iterator[Callable[..., Sandbox]]:
    """Start sandboxes with any options; they stop with the test."""
    started: list[Sandbox] = []

    def make(**options: Any) -> Sandbox:
        sandbox = Sandbox(**options)
        sandbox.start()
        started.append(sandbox)
        return sandbox

    yield make
    for sandbox in started:
        sandbox.stop()


@pytest.fixture
def sandbox(make_sandbox: Callable[..., Sandbox]) -> Sandbox:
    """Run a sandbox in which time flies only when it is told to."""
    return make_sandbox()


@pytest.fixture
def make_api() -> Iterator[Callable[..., Api]]:
    """Make callers of the REST API; they are closed with the test."""
    made: list[Api] = []

    def make(sandbox: Sandbox, token: str | None = None) -> Api:
        made.append(Api(sandbox, token))
        return made[-1]

    yield make
    for api in made:
        api.session.close()


@pytest.fixture
def api(sandbox: Sandbox, make_api: Callable[..., Api]) -> Api:
    """Call the REST API as a member."""
    return make_api(sandbox)


@pytest.fixture
def make_ear() -> Iterator[Callable[..., Ear]]:
    """Make Socket.IO clients; they disconnect with the test."""
    made: list[Ear] = []

    def make(sandbox: Sandbox, transport: str = "websocket") -> Ear:
        made.append(Ear(sandbox, transport))
        return made[-1]

    yield make
    for ear in made:
        ear.close()


@pytest.fixture
def ear(sandbox: Sandbox, make_ear: Callable[..., Ear]) -> Ear:
    """Listen over a websocket as a member."""
    return make_ear(sandbox).connect()


@pytest.fixture
def given(make_sandbox: Callable[..., Sandbox], make_api: Callable[..., Api]) -> Callable[..., Any]:
    """Start a sandbox that reads the documentation in a certain way, and call it."""

    def start(**points: Any) -> tuple[Sandbox, Api]:
        sandbox = make_sandbox(variants=Variants(**points))
        return sandbox, make_api(sandbox)

    return start
