"""The methods of the sandbox that set up builds and settings for tests."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.sandbox.clients import push_build, push_pending

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox import Sandbox


def created_at(build: dict[str, Any]) -> datetime:
    """Return when a build was created."""
    return datetime.fromisoformat(build["createdAt"])


def test_add_builds(sandbox: Sandbox, api: Any) -> None:
    """Ended builds can be added to the past, a second apart, and are listed by their age."""
    setting = sandbox.settings("MyGame")[0]["id"]
    live = push_pending(sandbox)
    old = sandbox.add_builds(
        setting, 120, branch="feature/x", status="failed", triggered_by="user:u1", age=600
    )
    middle = sandbox.add_builds(setting, 2, age=300)
    assert [build["id"] for build in sandbox.builds()] == [*old, *middle, live]
    assert len({*old, *middle}) == 122
    assert sorted([*middle, *old, live]) == [*old, *middle, live]
    found = api.get("/builds", limit=100, branch="feature/x", status="failed")["items"]
    assert [build["id"] for build in found] == old[:19:-1]
    assert {build["triggeredBy"] for build in found} == {"user:u1"}
    newest = created_at(found[0])
    assert abs(newest.timestamp() - (sandbox.now() - 600)) < 5
    assert newest - created_at(found[99]) == timedelta(seconds=99)
    assert api.get(f"/builds/{live}")["status"] == "pending"


@pytest.mark.parametrize("status", ["complete", "failed", "superseded", "cancelled"])
def test_added_build(sandbox: Sandbox, api: Any, status: str) -> None:
    """An added build has ended in the past with its status, and has an artifact if complete."""
    setting = sandbox.settings("MyGame")[0]["id"]
    (build_id,) = sandbox.add_builds(setting, 1, status=status, age=100)
    sandbox.advance(1000)
    build = api.get(f"/builds/{build_id}")
    assert build["status"] == status
    finished_at = datetime.fromisoformat(build["finishedAt"])
    assert finished_at - created_at(build) == timedelta(seconds=32)
    assert build["durationMs"] == (0 if status == "superseded" else 30_000)
    assert api("GET", f"/builds/{build_id}/download").ok == (status == "complete")
    assert build["logs"] == []


def test_added_build_has_ended_by_now(sandbox: Sandbox) -> None:
    """A build that was added with an age of zero has ended as well."""
    before = sandbox.now()
    (build_id,) = sandbox.add_builds(sandbox.settings("MyGame")[0]["id"], 1, age=0)
    finished_at = sandbox.world.builds[build_id].finished_at
    assert finished_at is not None
    assert before <= finished_at <= sandbox.now()


def test_added_builds_change_nothing_else(sandbox: Sandbox, client: Any) -> None:
    """Added builds supersede no build, send no event, use no plan and are not the last build."""
    live = push_pending(sandbox)
    client.join(live)
    plan = sandbox.plan(outcome="failed")
    sandbox.add_builds(sandbox.settings("MyGame")[0]["id"], 3)
    last = sandbox.projects[0]["lastBuildAt"]
    assert last == sandbox.build(live)["createdAt"]
    sandbox.log(live, "line")
    client.wait(1, "build:log")
    assert client.payloads("build:status") == []
    assert sandbox.world.builds[push_build(sandbox)].plan is plan


@pytest.mark.parametrize("status", ["pending", "running"])
def test_added_build_must_have_ended(sandbox: Sandbox, status: str) -> None:
    """A live build cannot be added to the past."""
    with pytest.raises(ValueError, match="has not ended"):
        sandbox.add_builds(sandbox.settings("MyGame")[0]["id"], 1, status=status)


def test_live_build_of_others(sandbox: Sandbox, api: Any) -> None:
    """A live build can be queued in the name of any author, of any branch and commit."""
    build_id = push_build(sandbox, branch="b", commit="a" * 40, triggered_by="api_token:other")
    build = api.get(f"/builds/{build_id}")
    assert (build["branch"], build["commit"]) == ("b", "a" * 40)
    assert (build["status"], build["triggeredBy"]) == ("pending", "api_token:other")


def test_update_setting(sandbox: Sandbox, api: Any) -> None:
    """A build setting can be edited; later builds have the new values, earlier ones the old."""
    setting = sandbox.settings("MyGame")[0]
    old = push_build(sandbox)
    sandbox.update_setting(setting["id"], branch="next", platform="Linux")
    path = f"/projects/{setting['projectId']}/build-settings/{setting['id']}"
    assert api.get(path) == {**setting, "branch": "next", "platform": "Linux"}
    builds = [api.get(f"/builds/{one}") for one in (old, push_build(sandbox))]
    assert [build["branch"] for build in builds] == ["main", "next"]
    assert [build["platform"] for build in builds] == ["Win64", "Linux"]


@pytest.mark.parametrize("field", ["id", "projectId", "colour"])
def test_update_setting_of_unknown_field(sandbox: Sandbox, field: str) -> None:
    """A field that does not exist or never changes cannot be edited."""
    setting = sandbox.settings("MyGame")[0]
    with pytest.raises(ValueError, match=field):
        sandbox.update_setting(setting["id"], **{field: "x"})
    assert sandbox.settings("MyGame")[0] == setting
