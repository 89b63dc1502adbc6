from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

import pytest

from airflow_provider_buildpixel.hooks.buildpixel import BuildPixelHook
from tests.downloads.integration import stores as shops

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_buildpixel.sandbox import Sandbox


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Check that a download leaves no thread behind."""
    yield
    end = time.monotonic() + 3
    while left := [t for t in threading.enumerate() if t.name.startswith("buildpixel-")]:
        if all(thread.name.startswith("buildpixel-sandbox") for thread in left):
            return
        assert time.monotonic() < end, left
        time.sleep(0.01)


@pytest.fixture
def shop() -> Iterator[shops.Shop]:
    """Run a store whose answers the test writes."""
    with shops.opened() as one:
        yield one


@pytest.fixture
def noise() -> bytes:
    """Give a few megabytes that nothing compresses."""
    return os.urandom(3_000_000)


@pytest.fixture
def hook(buildpixel_sandbox: Sandbox) -> Iterator[BuildPixelHook]:
    """Connect to a sandbox."""
    assert buildpixel_sandbox.url
    one = BuildPixelHook()
    yield one
    one.close()


@pytest.fixture
def built(buildpixel_sandbox: Sandbox) -> Callable[..., str]:
    """Give a function that builds, and returns the id of the build, which has ended."""

    def build(size: int | None = 3_000_000, outcome: str = "complete") -> str:
        sandbox = buildpixel_sandbox
        sandbox.plan(artifact_bytes=size, outcome=outcome, queue=0.0, run=1.0)
        build_id = sandbox.push(sandbox.settings("MyGame")[0]["id"])
        sandbox.advance(60)
        return build_id

    return build
