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
from tests.clients.shells import ROOMY, SHELLS, opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from tests.clients.shells import Shell

SOON = 15.0
"""Seconds within which everything that a test opened must be gone."""


def _descriptors() -> set[str]:
    found = set()
    for descriptor in list(Path("/proc/self/fd").iterdir()):
        with suppress(FileNotFoundError):  # the listing's own descriptor
            found.add(f"{descriptor.name} {descriptor.readlink()}")
    return {one for one in found if "socket:" in one or "pipe:" in one or "eventpoll" in one}


def _alive() -> set[object]:
    gc.collect()
    clients = engineio.base_client.connected_clients
    return {*threading.enumerate(), *_descriptors(), *clients}


def _vanishes(leftovers: Callable[[], object]) -> None:
    end = time.monotonic() + SOON
    while found := leftovers():
        assert time.monotonic() < end, f"left behind: {found}"
        time.sleep(0.02)


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Check that a test leaves no thread, no descriptor and no Socket.IO client behind."""
    gc.freeze()  # so that the collections afterwards look at this test's objects only
    before = _alive()
    yield
    _vanishes(lambda: _alive() - before)


@pytest.fixture(autouse=True)
def sandbox(request: pytest.FixtureRequest, nothing_left: None) -> Iterator[Sandbox]:
    """Run a sandbox whose builds do nothing by themselves.

    It is there before the test's event loop, so that it outlives it.
    """
    variants = getattr(request, "param", Variants())
    with Sandbox(variants=variants, default=Plan(outcome="stays_pending")) as running:
        threads = {thread for thread in threading.enumerate() if thread.name.startswith("buildp")}
        yield running
        _vanishes(lambda: running.sockets)
        _vanishes(lambda: _feeds(threads))


def _feeds(known: set[threading.Thread]) -> list[threading.Thread]:
    return [
        thread
        for thread in set(threading.enumerate()) - known
        if thread.name.startswith("buildpixel")
    ]


@pytest.fixture
def request_timeout() -> float:
    """Give the seconds for one request."""
    return ROOMY


@pytest.fixture
def settings(sandbox: Sandbox, request_timeout: float) -> Settings:
    """Lead to the sandbox."""
    return Settings(sandbox.url, sandbox.token, request_timeout=request_timeout)


@pytest.fixture(params=list(SHELLS))
async def shell(request: pytest.FixtureRequest, settings: Settings) -> AsyncIterator[Shell]:
    """Give each of the two shells in turn."""
    async with opened(request.param, settings) as one:
        yield one


@pytest.fixture(params=list(SHELLS))
def kind(request: pytest.FixtureRequest) -> str:
    """Name each of the two shells in turn, for tests that open their own."""
    return str(request.param)


@pytest.fixture
def queued(sandbox: Sandbox) -> str:
    """Queue a build that stays so until the test says otherwise."""
    setting = sandbox.setting("MyGame", platform="Win64", buildType="Shipping")
    return sandbox.push(setting["id"])
