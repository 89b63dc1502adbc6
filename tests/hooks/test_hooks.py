"""All methods of both hooks, over real Airflow connections, on the sandbox."""

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
from tests.clients.shells import until
from tests.hooks.conftest import face

if TYPE_CHECKING:
    from airflow_provider_buildpixel.api.model import (
        Artifact,
        Build,
        BuildSetting,
        Identity,
        Project,
    )
    from airflow_provider_buildpixel.sandbox import Sandbox
    from tests.hooks.faces import Face

EVERY = [
    pytest.param(kind, variants, id=f"{kind}-{variants}")
    for variants, kind in zip(Variants.every(), cycle(["blocking", "asyncio"]), strict=False)
]
"""Each reading of the documentation, with one of the hooks: they share what reads the answers."""


def public(hook: type[Any]) -> set[str]:
    """Give the names of a hook's own public methods."""
    return {
        name
        for name, member in vars(hook).items()
        if inspect.isfunction(member) and not name.startswith("_")
    }


def test_the_same_methods() -> None:
    """Both hooks have the same methods, but for what only one of the worlds can have."""
    blocking, asyncio_ = public(BuildPixelHook), public(BuildPixelAsyncHook)
    assert asyncio_ - blocking == {"get_client"}
    assert blocking - asyncio_ <= {"get_conn", "download_artifact"}
    for name in blocking & asyncio_:
        one = inspect.signature(getattr(BuildPixelHook, name))
        two = inspect.signature(getattr(BuildPixelAsyncHook, name))
        assert list(one.parameters.values()) == list(two.parameters.values()), name


async def test_identity(hook: Face) -> None:
    """The identity names user, organization, plan and role."""
    identity: Identity = await hook.call("get_identity")
    assert (identity.role, identity.plan, identity.can_trigger) == ("member", "team", True)
    assert identity.organization == "Pixel Studio"


async def test_organization(admin: Face) -> None:
    """An admin may rename the organization and disconnect GitHub."""
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


async def test_perforce(admin: Face) -> None:
    """Perforce credentials are stored, or refused with what is to be done."""
    organization = (await admin.call("get_identity")).organization_id
    known = {"server_url": "ssl:p4:1666", "user_name": "build"}
    await admin.call("update_perforce", organization, ticket="good", **known)
    with pytest.raises(InvalidRequest, match="ticket"):
        await admin.call("update_perforce", organization, ticket="expired", **known)


async def test_projects(sandbox: Sandbox, hook: Face) -> None:
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


async def test_a_perforce_project(hook: Face) -> None:
    """A project from Perforce is added with depot and stream."""
    added: Project = await hook.call(
        "add_perforce_project", "P4", depot="//p4", stream_path="//p4/main"
    )
    assert added.source_control == "perforce"


async def test_no_such_project(hook: Face) -> None:
    """A name that no project has is refused with those there are."""
    with pytest.raises(NotFound, match="MyGame"):
        await hook.call("find_project", "MyGam")


@pytest.mark.parametrize(("kind", "sandbox"), EVERY, indirect=True)
async def test_build_settings(sandbox: Sandbox, hook: Face) -> None:
    """Under every reading of the documentation a build setting is found, made and changed."""
    project: Project = await hook.call("find_project", "MyGame")
    settings: list[BuildSetting] = await hook.call("list_build_settings", project.id)
    assert len(settings) == 3
    selector = {"platform": "Win64", "buildType": "Shipping"}
    found = await hook.call("find_build_setting", project.id, selector)
    assert found == await hook.call("get_build_setting", project.id, found.id)
    made = await hook.call(
        "create_build_setting",
        project.id,
        platform="Mac",
        build_type="Test",
        ue_version="5.4",
        trigger="manual",
        branch="main",
    )
    assert (made.platform, made.line) == ("Mac", "main")
    with pytest.raises(InvalidRequest):
        await hook.call("find_build_setting", project.id, {"branch": "main"})


@pytest.mark.parametrize(("kind", "sandbox"), EVERY, indirect=True)
async def test_changes(sandbox: Sandbox, hook: Face) -> None:
    """Under every reading of the documentation what is changed and deleted is so afterwards."""
    setting = sandbox.setting("MyGame", platform="Linux")
    ids = (setting["projectId"], setting["id"])
    await hook.call("update_build_setting", *ids, ue_version="5.3")
    assert (await hook.call("get_build_setting", *ids)).ue_version == "5.3"
    await hook.call("update_project", ids[0], description="Ours")
    await hook.call("delete_build_setting", *ids)
    with pytest.raises(NotFound):
        await hook.call("get_build_setting", *ids)


@pytest.mark.parametrize(("kind", "sandbox"), EVERY, indirect=True)
async def test_a_build(sandbox: Sandbox, hook: Face) -> None:
    """Under every reading of the documentation a build is started, found, awaited and had."""
    setting = sandbox.setting("MyGame", platform="Linux")
    asked = {"branch": "main", "commit": "ab" * 20}
    started: Build = await hook.call("trigger_build", setting["projectId"], setting["id"], **asked)
    assert started.status.queued
    read: Build = await hook.call("get_build", started.id)
    assert (read.platform, read.commit, read.finished_at) == ("Linux", "ab" * 20, None)
    found = await hook.call("list_builds", build_setting_id=setting["id"], status="pending")
    assert [build.id for build in found] == [started.id]
    sandbox.set_status(started.id, "complete")
    ended: Build = await hook.call("wait_for_build", started.id, 10)
    assert ended.status.succeeded
    assert ended.duration_seconds is not None
    artifact: Artifact = await hook.call("get_artifact", started.id)
    assert artifact.url not in repr(artifact)


PERFORCE = [
    param
    for param in EVERY
    if {"changelist", "stream", "strict"} & set(str(param.values[1]).split("_"))
]


@pytest.mark.parametrize(("kind", "sandbox"), PERFORCE, indirect=True)
async def test_a_perforce_build(sandbox: Sandbox, hook: Face) -> None:
    """Under every reading of the documentation a changelist goes in, and comes out as text."""
    setting = sandbox.setting("Shooter", platform="Linux")
    for changelist in (41234, "41235"):
        started = await hook.call(
            "trigger_build", setting["projectId"], setting["id"], changelist=changelist
        )
        read: Build = await hook.call("get_build", started.id)
        assert (read.changelist or read.commit, read.branch) == (str(changelist), "//shooter/main")


async def test_the_lines_of_a_wait(sandbox: Sandbox, hook: Face) -> None:
    """A wait passes on the lines of the build's log, each once."""
    build = sandbox.push(sandbox.setting("MyGame", platform="Linux")["id"])
    lines: list[Any] = []
    waiting = asyncio.create_task(hook.call("wait_for_build", build, 10, lines.append))
    await until(lambda: sandbox.joined(build))
    sandbox.log(build, "first")
    sandbox.log(build, "second", "warn")
    sandbox.set_status(build, "failed")
    assert (await waiting).status == "failed"
    assert [(line.message, line.level) for line in lines] == [("first", "info"), ("second", "warn")]


async def test_a_wait_without_end(sandbox: Sandbox, hook: Face) -> None:
    """A build that does not end in time is said to go on."""
    build = sandbox.push(sandbox.setting("MyGame", platform="Linux")["id"])
    with pytest.raises(BuildTimeout, match="it goes on"):
        await hook.call("wait_for_build", build, 0.3, channel="polling")


async def test_a_wait_that_ends_between_reads(sandbox: Sandbox, hook: Face) -> None:
    """A build that has ended by the time the wait is over is given, though no poll has seen it."""
    build = sandbox.push(sandbox.setting("MyGame", platform="Linux")["id"])
    waiting = asyncio.create_task(hook.call("wait_for_build", build, 1.5, channel="polling"))
    await until(lambda: sandbox.requests_to("GET /builds/:id"))
    sandbox.set_status(build, "complete")
    assert (await waiting).status == "complete"
    assert len(sandbox.requests_to("GET /builds/:id")) == 2


@pytest.mark.parametrize("reachable", [True, False])
async def test_what_a_timeout_knows(sandbox: Sandbox, hook: Face, *, reachable: bool) -> None:
    """A wait that is over has its build, as it was read last."""
    build = sandbox.push(sandbox.setting("MyGame", platform="Linux")["id"])
    if not reachable:
        sandbox.fault("500", "GET /builds/:id")
    with pytest.raises(BuildTimeout) as caught:
        await hook.call("wait_for_build", build, 0.3, channel="polling")
    assert caught.value.build is not None
    known = (caught.value.build.id, caught.value.build.status)
    assert known == (build, "pending" if reachable else "")


@pytest.mark.parametrize(
    "wrong", [{"poll_interval": 0}, {"channel": "bogus"}, {"timeout": -1}], ids=str
)
async def test_a_wait_that_makes_no_sense(
    sandbox: Sandbox, hook: Face, wrong: dict[str, Any]
) -> None:
    """What a wait cannot mean is refused before anything is read."""
    with pytest.raises(InvalidRequest, match=next(iter(wrong))):
        await hook.call("wait_for_build", "x" * 24, **wrong)
    assert sandbox.requests == []


@pytest.mark.parametrize("nothing", [None, "", "None", 5.0])
async def test_no_project_at_all(sandbox: Sandbox, hook: Face, nothing: Any) -> None:
    """A project that rendered to nothing is refused before anything is asked."""
    with pytest.raises(InvalidRequest, match="project is"):
        await hook.call("find_project", nothing)
    assert sandbox.requests == []


async def test_a_gateway_that_refuses_once(sandbox: Sandbox, hook: Face) -> None:
    """A read that a gateway has refused, which BuildPixel would give a code, is repeated once."""
    sandbox.world.variants = Variants(error_body="html")
    refusal = sandbox.fault("403", "GET /auth/me", times=1)
    await hook.call("get_identity")
    assert refusal.hits == 1
    sandbox.fault("403", "GET /auth/me")
    with pytest.raises(Forbidden):
        await hook.call("get_identity")
    assert len(sandbox.requests_to("GET /auth/me")) == 4


async def test_no_artifact(sandbox: Sandbox, hook: Face) -> None:
    """A build without an artifact says so."""
    build = sandbox.push(sandbox.setting("MyGame", platform="Linux")["id"])
    with pytest.raises(ArtifactUnavailable, match="never made one") as caught:
        await hook.call("get_artifact", build)
    assert caught.value.request_id


async def test_a_viewer(sandbox: Sandbox, kind: str) -> None:
    """A viewer reads, is told so by the connection test, and may not trigger."""
    setting = sandbox.setting("MyGame", platform="Linux")
    async with face(kind, "viewer") as hook:
        works, said = await hook.call("test_connection")
        assert works
        assert "viewer@example.com" in said
        assert "but not trigger" in said
        with pytest.raises(Forbidden, match="a viewer cannot"):
            await hook.call("trigger_build", setting["projectId"], setting["id"])


async def test_a_connection_that_works(hook: Face) -> None:
    """The connection test names user, organization, plan and role."""
    works, said = await hook.call("test_connection")
    assert works
    expected = "member@example.com, organization Pixel Studio, plan team, role member"
    assert said == f"Connected as {expected}"


async def test_a_connection_that_does_not(sandbox: Sandbox, hook: Face) -> None:
    """The connection test of a refused token says why, after one request."""
    sandbox.revoke(sandbox.token)
    works, said = await hook.call("test_connection")
    assert not works
    assert "put a valid API token" in said
    assert len(sandbox.requests) == 1
