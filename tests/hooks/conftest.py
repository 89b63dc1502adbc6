from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_buildpixel.hooks.buildpixel import BuildPixelHook
from airflow_provider_buildpixel.hooks.buildpixel_async import BuildPixelAsyncHook
from airflow_provider_buildpixel.sandbox import Plan, Sandbox, Variants
from tests.hooks.adapters import AsyncHookAdapter, BlockingHookAdapter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.hooks.adapters import HookAdapter


@pytest.fixture(autouse=True)
def sandbox(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """Run a sandbox with the Airflow connections buildpixel_default, viewer and admin."""
    variants = getattr(request, "param", Variants())
    with Sandbox(variants=variants, default=Plan(outcome="stays_pending")) as running:
        uri = running.connection_uri
        monkeypatch.setenv("AIRFLOW_CONN_BUILDPIXEL_DEFAULT", uri)
        for role, token in (
            ("viewer", running.viewer_token),
            ("admin", running.issue_token("admin")),
        ):
            value = uri.replace(running.token, token)
            monkeypatch.setenv(f"AIRFLOW_CONN_{role.upper()}", value)
        yield running


@pytest.fixture(params=["blocking", "asyncio"])
def kind(request: pytest.FixtureRequest) -> str:
    """Return the name of each hook in turn."""
    return str(request.param)


@pytest.fixture
async def hook(kind: str) -> AsyncIterator[HookAdapter]:
    """Return each hook in turn, with the token of a member."""
    async with open_hook(kind, "buildpixel_default") as adapter:
        yield adapter


@pytest.fixture
async def admin(kind: str) -> AsyncIterator[HookAdapter]:
    """Return each hook in turn, with the token of an admin."""
    async with open_hook(kind, "admin") as adapter:
        yield adapter


def open_hook(kind: str, conn_id: str) -> HookAdapter:
    """Return the adapter of a hook."""
    if kind == "blocking":
        return BlockingHookAdapter(BuildPixelHook(conn_id))
    return AsyncHookAdapter(BuildPixelAsyncHook(conn_id))
