from __future__ import annotations

import gc
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import engineio.base_client
import pytest

from airflow_provider_buildpixel.api.settings import Settings
from airflow_provider_buildpixel.sandbox import Plan, Sandbox, Variants
from tests.clients.adapters import ADAPTERS, LONG_TIMEOUT, open_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from tests.clients.adapters import ClientAdapter

CLEANUP_TIMEOUT = 15.0
"""Seconds within which all resources of a test must be released."""


def _descriptors() -> set[str]:
    descriptors = set()
    for path in list(Path("/proc/self/fd").iterdir()):
        with suppress(FileNotFoundError):  # the descriptor of the listing itself
            descriptors.add(f"{path.name} {path.readlink()}")
    kinds = ("socket:", "pipe:", "eventpoll")
    return {text for text in descriptors if any(kind in text for kind in kinds)}


def _resources() -> set[object]:
    gc.collect()
    clients = engineio.base_client.connected_clients
    return {*threading.enumerate(), *_descriptors(), *clients}


def _wait_for_release(leftovers: Callable[[], object]) -> None:
    end = time.monotonic() + CLEANUP_TIMEOUT
    while found := leftovers():
        assert time.monotonic() < end, f"left behind: {found}"
        time.sleep(0.02)


@pytest.fixture(autouse=True)
def no_leftovers() -> Iterator[None]:
    """Check that a test leaves no thread, no descriptor and no Socket.IO client behind."""
    gc.freeze()  # the collections afterwards only visit the objects of this test
    before = _resources()
    yield
    _wait_for_release(lambda: _resources() - before)


@pytest.fixture(autouse=True)
def sandbox(request: pytest.FixtureRequest, no_leftovers: None) -> Iterator[Sandbox]:
    """Run a sandbox whose builds stay as they are unless the test changes them.

    It starts before the event loop of the test and stops after it.
    """
    variants = getattr(request, "param", Variants())
    with Sandbox(variants=variants, default=Plan(outcome="stays_pending")) as running:
        threads = {thread for thread in threading.enumerate() if thread.name.startswith("buildp")}
        yield running
        _wait_for_release(lambda: running.sockets)
        _wait_for_release(lambda: _channel_threads(threads))


def _channel_threads(sandbox_threads: set[threading.Thread]) -> list[threading.Thread]:
    return [
        thread
        for thread in set(threading.enumerate()) - sandbox_threads
        if thread.name.startswith("buildpixel")
    ]


@pytest.fixture
def request_timeout() -> float:
    """Return the request timeout in seconds."""
    return LONG_TIMEOUT


@pytest.fixture
def settings(sandbox: Sandbox, request_timeout: float) -> Settings:
    """Return the settings of a connection to the sandbox."""
    return Settings(sandbox.url, sandbox.token, request_timeout=request_timeout)


@pytest.fixture(params=list(ADAPTERS))
async def client(
    request: pytest.FixtureRequest, settings: Settings
) -> AsyncIterator[ClientAdapter]:
    """Yield each of the two clients in turn."""
    async with open_client(request.param, settings) as opened:
        yield opened


@pytest.fixture(params=list(ADAPTERS))
def client_kind(request: pytest.FixtureRequest) -> str:
    """Return the name of each of the two clients in turn, for tests that open their own."""
    return str(request.param)


@pytest.fixture
def queued_build(sandbox: Sandbox) -> str:
    """Return the id of a build that stays queued until the test changes it."""
    setting = sandbox.setting("MyGame", platform="Win64", buildType="Shipping")
    return sandbox.push(setting["id"])
