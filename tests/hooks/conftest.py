from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_buildpixel.hooks.buildpixel import BuildPixelHook
from airflow_provider_buildpixel.hooks.buildpixel_async import BuildPixelAsyncHook
from airflow_provider_buildpixel.sandbox import Plan, Sandbox, Variants
from tests.hooks.faces import AsyncioFace, BlockingFace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.hooks.faces import Face


@pytest.fixture(autouse=True)
def sandbox(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """Run a sandbox, as the Airflow connections buildpixel_default, viewer and admin."""
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
    """Name each of the two hooks in turn."""
    return str(request.param)


@pytest.fixture
async def hook(kind: str) -> AsyncIterator[Face]:
    """Give each of the two hooks, as a member of the organization."""
    async with face(kind, "buildpixel_default") as one:
        yield one


@pytest.fixture
async def admin(kind: str) -> AsyncIterator[Face]:
    """Give each of the two hooks, as an admin."""
    async with face(kind, "admin") as one:
        yield one


def face(kind: str, conn_id: str) -> Face:
    """Make a hook."""
    if kind == "blocking":
        return BlockingFace(BuildPixelHook(conn_id))
    return AsyncioFace(BuildPixelAsyncHook(conn_id))
