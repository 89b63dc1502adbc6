from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

import pytest

from airflow_provider_buildpixel.downloads.destinations.local import LocalFile
from airflow_provider_buildpixel.hooks.buildpixel import BuildPixelHook
from tests.downloads.integration.stores import running_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow_provider_buildpixel.sandbox import Sandbox
    from tests.downloads.integration.stores import FakeStore


@pytest.fixture(autouse=True)
def no_threads_left() -> Iterator[None]:
    """Check that a download leaves no thread behind."""
    yield
    end = time.monotonic() + 3
    while left := [t for t in threading.enumerate() if t.name.startswith("buildpixel-")]:
        if all(thread.name.startswith("buildpixel-sandbox") for thread in left):
            return
        assert time.monotonic() < end, left
        time.sleep(0.01)


@pytest.fixture
def store() -> Iterator[FakeStore]:
    """Run a store whose responses the test defines."""
    with running_store() as running:
        yield running


@pytest.fixture
def filled_store(store: FakeStore) -> FakeStore:
    """Run a store with a few megabytes of incompressible data."""
    store.content = os.urandom(3_000_000)
    return store


@pytest.fixture
def destination(tmp_path: Path) -> LocalFile:
    """Return a file to download to."""
    return LocalFile(tmp_path / "game.tar.gz")


@pytest.fixture
def hook(buildpixel_sandbox: Sandbox) -> Iterator[BuildPixelHook]:
    """Return a hook that is connected to the sandbox."""
    assert buildpixel_sandbox.url
    connected = BuildPixelHook()
    yield connected
    connected.close()


@pytest.fixture
def built(buildpixel_sandbox: Sandbox) -> Callable[..., str]:
    """Return a function that runs a build to its end and returns its id."""

    def build(size: int | None = 3_000_000, outcome: str = "complete") -> str:
        sandbox = buildpixel_sandbox
        sandbox.plan(artifact_bytes=size, outcome=outcome, queue=0.0, run=1.0)
        build_id = sandbox.push(sandbox.settings("MyGame")[0]["id"])
        sandbox.advance(60)
        return build_id

    return build
