"""All methods of both hooks, with Airflow connections, against the sandbox."""

from __future__ import annotations

import asyncio
import inspect
from itertools import cycle
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_buildpixel.exceptions import (
    ArtifactUnavailable,
    BuildTimeout,
    Forbidden,
    InvalidRequest,
    NotFound,
)
from airflow_provider_buildpixel.hooks.buildpixel import BuildPixelHook
from airflow_provider_buildpixel.hooks.buildpixel_async import BuildPixelAsyncHook
from airflow_provider_buildpixel.sandbox import Variants
from tests.clients.adapters import wait_until
from tests.hooks.conftest import open_hook

if TYPE_CHECKING:
    from airflow_provider_buildpixel.api.model import (
        Artifact,
        Build,
        BuildSetting,
        Identity,
        Project,
    )
    from airflow_provider_buildpixel.sandbox import Sandbox
    from tests.hooks.adapters import HookAdapter

EVERY_VARIANT = [
    pytest.param(kind, variants, id=f"{kind}-{variants}")
    for variants, kind in zip(Variants.every(), cycle(["blocking", "asyncio"]), strict=False)
]
"""Each variant of the API, with one of the hooks in turn: both use the same parsers."""


def public_methods(hook: type[Any]) -> set[str]:
    """Return the names of a hook's own public methods."""
    return {
        name
        for name, member in vars(hook).items()
        if inspect.isfunction(member) and not name.startswith("_")
    }


def test_hooks_have_the_same_methods() -> None:
    """Both hooks have the same methods, except those that make sense in only one of them."""
    blocking, asyncio_ = public_methods(BuildPixelHook), public_methods(BuildPixelAsyncHook)
    assert asyncio_ - blocking == {"get_client"}
    assert blocking - asyncio_ <= {"get_conn", "download_artifact"}
    for name in blocking & asyncio_:
        one = inspect.signature(getattr(BuildPixelHook, name))
        two = inspect.signature(getattr(BuildPixelAsyncHook, name))
        assert list(one.parameters.values()) == list(two.parameters.values()), name


async def test_identity(hook: HookAdapter) -> None:
    """The identity names user, organization, plan and role."""
    identity: Identity = await hook.call("get_identity")
    assert (identity.role, identity.plan, identity.can_trigger) == ("member", "team", True)
    assert identity.organization == "Pixel Studio"


async def test_update_organization(admin: HookAdapter) -> None:
    """An admin can rename the organization and disconnect GitHub."""
    organization = (await admin.call("get_identity")).organization_id
    changed = await admin.call("update_organization", organization, name="Voxel Studio")
    assert changed["name"] == "Voxel Studio"
    await admin.call("disconnect_github", organization)
    with pytest.raises(InvalidRequest, match="GitHub App"):
        await admin.call(
            "add_github_project",
            "New",
            installation_id=1,
            repo_full_name="a/b",
            default_branch="main",
        )


async def test_update_perforce(admin: HookAdapter) -> None:
    """Perforce credentials are stored, or rejected with the reason."""
    organization = (await admin.call("get_identity")).organization_id
    actual = {"server_url": "ssl:p4:1666", "user_name": "build"}
    await admin.call("update_perforce", organization, ticket="good", **actual)
    with pytest.raises(InvalidRequest, match="ticket"):
        await admin.call("update_perforce", organization, ticket="expired", **actual)


async def test_projects(sandbox: Sandbox, hook: HookAdapter) -> None:
    """Projects are listed, filtered, found by id and name, added, changed and deleted."""
    projects: list[Project] = await hook.call("list_projects")
    assert {project.name for project in projects} == {"MyGame", "Shooter"}
    (perforce,) = await hook.call("list_projects", source_control="perforce")
    assert perforce.name == "Shooter"
    found: Project = await hook.call("find_project", "Shooter")
    assert found.id == (await hook.call("find_project", found.id)).id == perforce.id
    added = await hook.call(
        "add_github_project",
        "New",
        installation_id=7,
        repo_full_name="pixel-studio/new",
        default_branch="main",
    )
    changed = await hook.call("update_project", added.id, name="Newer")
    assert (await hook.call("get_project", added.id)).name == changed.name == "Newer"
    await hook.call("delete_project", added.id)
    with pytest.raises(NotFound):
        await hook.call("get_project", added.id)


async def test_add_perforce_project(hook: HookAdapter) -> None:
    """A Perforce project is added with depot and stream."""
    added: Project = await hook.call(
        "add_perforce_project", "P4", depot="//p4", stream_path="//p4/main"
    )
    assert added.source_control == "perforce"


async def test_unknown_project_name(hook: HookAdapter) -> None:
    """The error for an unknown project name lists the existing projects."""
    with pytest.raises(NotFound, match="MyGame"):
        await hook.call("find_project", "MyGam")


@pytest.mark.parametrize(("kind", "sandbox"), EVERY_VARIANT, indirect=True)
async def test_build_settings(sandbox: Sandbox, hook: HookAdapter) -> None:
    """With every variant of the API, a build setting is found and created."""
    project: Project = await hook.call("find_project", "MyGame")
    settings: list[BuildSetting] = await hook.call("list_build_settings", project.id)
    assert len(settings) == 3
    selector = {"platform": "Win64", "buildType": "Shipping"}
    found = await hook.call("find_build_setting", project.id, selector)
    assert found == await hook.call("get_build_setting", project.id, found.id)
    created = await hook.call(
        "create_build_setting",
        project.id,
        platform="Mac",
        build_type="Test",
        ue_version="5.4",
        trigger="manual",
        branch="main",
    )
    assert (created.platform, created.branch_or_stream) == ("Mac", "main")
    with pytest.raises(InvalidRequest):
        await hook.call("find_build_setting", project.id, {"branch": "main"})


@pytest.mark.parametrize(("kind", "sandbox"), EVERY_VARIANT, indirect=True)
async def test_changes_are_applied(sandbox: Sandbox, hook: HookAdapter) -> None:
    """With every variant of the API, changes and deletions take effect."""
    setting = sandbox.setting("MyGame", platform="Linux")
    ids = (setting["projectId"], setting["id"])
    await hook.call("update_build_setting", *ids, ue_version="5.3")
    assert (await hook.call("get_build_setting", *ids)).ue_version == "5.3"
    await hook.call("update_project", ids[0], description="Ours")
    await hook.call("delete_build_setting", *ids)
    with pytest.raises(NotFound):
        await hook.call("get_build_setting", *ids)


@pytest.mark.parametrize(("kind", "sandbox"), EVERY_VARIANT, indirect=True)
async def test_build(sandbox: Sandbox, hook: HookAdapter) -> None:
    """With every variant of the API, a build is started, listed, awaited, and has an artifact."""
    setting = sandbox.setting("MyGame", platform="Linux")
    overrides = {"branch": "main", "commit": "ab" * 20}
    started: Build = await hook.call(
        "trigger_build", setting["projectId"], setting["id"], **overrides
    )
    assert started.status.queued
    read: Build = await hook.call("get_build", started.id)
    assert (read.platform, read.commit, read.finished_at) == ("Linux", "ab" * 20, None)
    sandbox.advance(sandbox.world.variants.list_lag)
    found = await hook.call("list_builds", build_setting_id=setting["id"])
    assert [build.id for build in found] == [started.id]
    sandbox.set_status(started.id, "complete")
    ended: Build = await hook.call("wait_for_build", started.id, 10)
    assert ended.status.succeeded
    assert ended.duration_seconds is not None
    artifact: Artifact = await hook.call("get_artifact", started.id)
    assert artifact.url not in repr(artifact)


PERFORCE_VARIANTS = [
    param
    for param in EVERY_VARIANT
    if {"changelist", "stream", "strict"} & set(str(param.values[1]).split("_"))
]


@pytest.mark.parametrize(("kind", "sandbox"), PERFORCE_VARIANTS, indirect=True)
async def test_perforce_build(sandbox: Sandbox, hook: HookAdapter) -> None:
    """With every variant of the API, a changelist is sent, and returned as text."""
    setting = sandbox.setting("Shooter", platform="Linux")
    for changelist in (41234, "41235"):
        started = await hook.call(
            "trigger_build", setting["projectId"], setting["id"], changelist=changelist
        )
        read: Build = await hook.call("get_build", started.id)
        assert (read.changelist or read.commit) == str(changelist)
        stream = None if sandbox.world.variants.stream_field == "none" else "//shooter/main"
        assert read.branch == stream


async def test_wait_passes_log_lines_on(sandbox: Sandbox, hook: HookAdapter) -> None:
    """A wait passes each line of the build's log on once."""
    build = sandbox.push(sandbox.setting("MyGame", platform="Linux")["id"])
    lines: list[Any] = []
    waiting = asyncio.create_task(hook.call("wait_for_build", build, 10, lines.append))
    await wait_until(lambda: sandbox.joined(build))
    sandbox.log(build, "first")
    sandbox.log(build, "second", "warn")
    sandbox.set_status(build, "failed")
    assert (await waiting).status == "failed"
    assert [(line.message, line.level) for line in lines] == [("first", "info"), ("second", "warn")]


async def test_wait_timeout(sandbox: Sandbox, hook: HookAdapter) -> None:
    """The error of a wait that timed out says that the build continues."""
    build = sandbox.push(sandbox.setting("MyGame", platform="Linux")["id"])
    with pytest.raises(BuildTimeout, match="the build keeps running"):
        await hook.call("wait_for_build", build, 0.3, channel="polling")


async def test_build_that_ends_after_the_last_poll(sandbox: Sandbox, hook: HookAdapter) -> None:
    """A build that ended after the last poll is returned at the timeout."""
    build = sandbox.push(sandbox.setting("MyGame", platform="Linux")["id"])
    waiting = asyncio.create_task(hook.call("wait_for_build", build, 1.5, channel="polling"))
    await wait_until(lambda: sandbox.requests_to("GET /builds/:id"))
    sandbox.set_status(build, "complete")
    assert (await waiting).status == "complete"
    assert len(sandbox.requests_to("GET /builds/:id")) == 2


@pytest.mark.parametrize("reachable", [True, False])
async def test_timeout_error_has_the_build(
    sandbox: Sandbox, hook: HookAdapter, *, reachable: bool
) -> None:
    """The error of a wait that timed out has the build as last read."""
    build = sandbox.push(sandbox.setting("MyGame", platform="Linux")["id"])
    if not reachable:
        sandbox.fault("500", "GET /builds/:id")
    with pytest.raises(BuildTimeout) as caught:
        await hook.call("wait_for_build", build, 0.3, channel="polling")
    assert caught.value.build is not None
    actual = (caught.value.build.id, caught.value.build.status)
    assert actual == (build, "pending" if reachable else "")


@pytest.mark.parametrize(
    "parameters", [{"poll_interval": 0}, {"channel": "bogus"}, {"timeout": -1}], ids=str
)
async def test_invalid_wait_parameters(
    sandbox: Sandbox, hook: HookAdapter, parameters: dict[str, Any]
) -> None:
    """Invalid parameters of a wait are rejected before any request."""
    with pytest.raises(InvalidRequest, match=next(iter(parameters))):
        await hook.call("wait_for_build", "x" * 24, **parameters)
    assert sandbox.requests == []


@pytest.mark.parametrize("value", [None, "", "None", 5.0])
async def test_empty_project(sandbox: Sandbox, hook: HookAdapter, value: Any) -> None:
    """A project that rendered to nothing is rejected before any request."""
    with pytest.raises(InvalidRequest, match="project is"):
        await hook.call("find_project", value)
    assert sandbox.requests == []


async def test_gateway_rejection_is_repeated_once(sandbox: Sandbox, hook: HookAdapter) -> None:
    """A read that a gateway rejected, without BuildPixel's error code, is repeated once."""
    sandbox.world.variants = Variants(error_body="html")
    refusal = sandbox.fault("403", "GET /auth/me", times=1)
    await hook.call("get_identity")
    assert refusal.hits == 1
    sandbox.fault("403", "GET /auth/me")
    with pytest.raises(Forbidden):
        await hook.call("get_identity")
    assert len(sandbox.requests_to("GET /auth/me")) == 4


async def test_build_without_artifact(sandbox: Sandbox, hook: HookAdapter) -> None:
    """The error for a build without an artifact says so."""
    build = sandbox.push(sandbox.setting("MyGame", platform="Linux")["id"])
    with pytest.raises(ArtifactUnavailable, match="never produced one") as caught:
        await hook.call("get_artifact", build)
    assert caught.value.request_id


async def test_viewer_token(sandbox: Sandbox, kind: str) -> None:
    """The connection test warns about a viewer, who can read but not trigger builds."""
    setting = sandbox.setting("MyGame", platform="Linux")
    async with open_hook(kind, "viewer") as hook:
        success, message = await hook.call("test_connection")
        assert success
        assert "viewer@example.com" in message
        assert "but not trigger" in message
        with pytest.raises(Forbidden, match="a viewer cannot"):
            await hook.call("trigger_build", setting["projectId"], setting["id"])


async def test_connection_test_succeeds(hook: HookAdapter) -> None:
    """The connection test names user, organization, plan and role."""
    success, message = await hook.call("test_connection")
    assert success
    expected = "member@example.com, organization Pixel Studio, plan team, role member"
    assert message == f"Connected as {expected}"


async def test_connection_test_fails(sandbox: Sandbox, hook: HookAdapter) -> None:
    """The connection test of a rejected token returns the reason, after one request."""
    sandbox.revoke(sandbox.token)
    success, message = await hook.call("test_connection")
    assert not success
    assert "put a valid API token" in message
    assert len(sandbox.requests) == 1
