"""Sandboxes and their clients as fixtures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_buildpixel.sandbox import Sandbox, Variants
from tests.sandbox.clients import ApiClient, SocketClient, push_pending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def make_sandbox() -> Iterator[Callable[..., Sandbox]]:
    """Start sandboxes with any options; they stop after the test."""
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
    """Run a sandbox with default options."""
    return make_sandbox()


@pytest.fixture
def build(sandbox: Sandbox) -> str:
    """Return the id of a build that stays pending."""
    return push_pending(sandbox)


@pytest.fixture
def make_api() -> Iterator[Callable[..., ApiClient]]:
    """Create clients of the REST API; they are closed after the test."""
    made: list[ApiClient] = []

    def make(sandbox: Sandbox, token: str | None = None) -> ApiClient:
        made.append(ApiClient(sandbox, token))
        return made[-1]

    yield make
    for api in made:
        api.session.close()


@pytest.fixture
def api(sandbox: Sandbox, make_api: Callable[..., ApiClient]) -> ApiClient:
    """Call the REST API as a member."""
    return make_api(sandbox)


@pytest.fixture
def make_client() -> Iterator[Callable[..., SocketClient]]:
    """Create Socket.IO clients; they disconnect after the test."""
    made: list[SocketClient] = []

    def make(sandbox: Sandbox, transport: str = "websocket") -> SocketClient:
        made.append(SocketClient(sandbox, transport))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def client(sandbox: Sandbox, make_client: Callable[..., SocketClient]) -> SocketClient:
    """Connect over a websocket as a member."""
    return make_client(sandbox).connect()


@pytest.fixture
def start_variant(
    make_sandbox: Callable[..., Sandbox], make_api: Callable[..., ApiClient]
) -> Callable[..., tuple[Sandbox, ApiClient]]:
    """Start a sandbox with these variants, and return it with a client."""

    def start(**points: Any) -> tuple[Sandbox, ApiClient]:
        sandbox = make_sandbox(variants=Variants(**points))
        return sandbox, make_api(sandbox)

    return start
