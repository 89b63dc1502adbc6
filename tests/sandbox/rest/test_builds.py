"""Triggering, listing and reading builds as documented, with plain requests."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.sandbox import Sandbox

FIELDS = {
    "id",
    "projectId",
    "buildSettingId",
    "status",
    "platform",
    "buildType",
    "branch",
    "commit",
    "commitMessage",
    "ueVersion",
    "triggeredBy",
    "createdAt",
    "finishedAt",
    "durationMs",
}
ID = re.compile(r"[0-9A-Za-z_-]{24}")


@pytest.fixture
def setting(sandbox: Sandbox) -> str:
    """Return the id of a build setting on GitHub."""
    return str(sandbox.settings("MyGame")[0]["id"])


def test_trigger(api: Any) -> None:
    """A trigger responds with 202 and four fields, and the build is pending."""
    response = api.trigger()
    assert response.status_code == 202
    assert set(response.json()) == {"buildId", "projectId", "buildSettingId", "status"}
    assert response.json()["status"] == "pending"
    build = api.get(f"/builds/{response.json()['buildId']}")
    assert set(build) == FIELDS | {"logs"}
    assert build["triggeredBy"].startswith("api_token:")
    assert (build["finishedAt"], build["durationMs"]) == (None, None)


def test_overrides(api: Any) -> None:
    """A trigger can set the branch and the commit."""
    response = api.trigger(branch="feature/x", commit="0123abc")
    build = api.get(f"/builds/{response.json()['buildId']}")
    assert build["branch"] == "feature/x"
    assert re.fullmatch(r"0123abc[0-9a-f]{33}", build["commit"])


def test_short_commit(api: Any) -> None:
    """A trigger accepts a commit of six characters, as in the documentation."""
    build = api.get(f"/builds/{api.trigger(commit='abc123').json()['buildId']}")
    assert build["commit"].startswith("abc123")


def test_perforce_override(api: Any) -> None:
    """A trigger of a Perforce build can set the changelist; the stream is the branch."""
    build = api.get(f"/builds/{api.trigger('Shooter', changelist=77).json()['buildId']}")
    assert (build["changelist"], build["commit"], build["branch"]) == (77, None, "//shooter/main")


@pytest.mark.parametrize(
    ("project", "body"),
    [
        ("MyGame", {"commit": "main"}),
        ("MyGame", {"commit": "abc"}),
        ("MyGame", {"commit": None}),
        ("MyGame", {"branch": ""}),
        ("MyGame", {"branch": 3}),
        ("MyGame", {"changelist": 77}),
        ("Shooter", {"commit": "0123abc"}),
        ("Shooter", {"changelist": "head"}),
        ("Shooter", {"changelist": "0"}),
        ("Shooter", {"changelist": 0}),
        ("Shooter", {"branch": "main"}),
    ],
)
def test_invalid_override(api: Any, project: str, body: dict[str, Any]) -> None:
    """A trigger with an invalid override is rejected, and no build is queued."""
    response = api.trigger(project, **body)
    assert (response.status_code, response.json()["error"]) == (400, "validation_failed")
    assert api.sandbox.builds() == []


def test_ids(sandbox: Sandbox, setting: str) -> None:
    """Ids have 24 URL-safe characters and sort by creation time."""
    ids = []
    for _ in range(50):
        ids.append(sandbox.push(setting))
        sandbox.advance(0.0004)
    assert all(ID.fullmatch(each) for each in ids)
    assert ids == sorted(ids)


def test_pages(sandbox: Sandbox, api: Any, setting: str) -> None:
    """A page has 25 items by default, and the cursors lead through the whole list."""
    ids = [sandbox.push(setting) for _ in range(60)]
    query: dict[str, Any] = {}
    seen, sizes = [], []
    while True:
        page = api.get("/builds", **query)
        seen += [build["id"] for build in page["items"]]
        sizes.append(len(page["items"]))
        if page["nextCursor"] is None:
            break
        query["cursor"] = page["nextCursor"]
    assert (seen, sizes) == (ids[::-1], [25, 25, 10])


def test_pages_with_new_builds(sandbox: Sandbox, api: Any, setting: str) -> None:
    """With builds queued between two pages, no build is listed twice."""
    ids = [sandbox.push(setting) for _ in range(4)]
    first = api.get("/builds", limit=2)
    sandbox.push(setting)
    second = api.get("/builds", limit=2, cursor=first["nextCursor"])
    assert [build["id"] for build in first["items"] + second["items"]] == ids[::-1]


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 0},
        {"limit": 101},
        {"limit": "x"},
        {"cursor": "x"},
        {"cursor": "ä"},
        {"cursor": base64.b64encode(b"cursor:x").decode()},
        {"cursor": base64.b64encode(b"cursor:7").decode()},
        {"cursor": base64.b64encode(b'cursor:["", null, ""]').decode()},
    ],
)
def test_invalid_page(api: Any, query: dict[str, Any]) -> None:
    """A limit out of range or an invalid cursor is rejected."""
    assert api("GET", "/builds", params=query).status_code == 400


def test_filters(sandbox: Sandbox, api: Any) -> None:
    """Builds can be filtered by each documented field, and by all together."""
    shipping, linux, development = sandbox.settings("MyGame")
    wanted = sandbox.push(shipping["id"], branch="next")
    for other in (shipping, linux, development, sandbox.settings("Shooter")[0]):
        sandbox.push(other["id"])
    sandbox.set_status(wanted, "running")
    build = sandbox.build(wanted)
    names = ("projectId", "buildSettingId", "status", "platform", "buildType", "branch")
    for name in names:
        found = api.get("/builds", **{name: build[name]})["items"]
        assert wanted in {each["id"] for each in found}
        assert all(each[name] == build[name] for each in found)
        assert len(found) < 5
    together = {name: build[name] for name in names}
    assert [each["id"] for each in api.get("/builds", **together)["items"]] == [wanted]
    assert api.get("/builds", status="nonsense")["items"] == []


def test_statuses(sandbox: Sandbox, api: Any, setting: str) -> None:
    """A build is pending, then running, then complete, with consistent times."""
    sandbox.plan(queue=5, run=60)
    build_id = sandbox.push(setting)
    sandbox.advance(6)
    assert api.get(f"/builds/{build_id}")["status"] == "running"
    sandbox.advance(60)
    build = api.get(f"/builds/{build_id}")
    assert (build["status"], build["durationMs"]) == ("complete", 60_000)
    assert build["finishedAt"] > build["createdAt"]
    messages = [line["message"] for line in build["logs"]]
    assert messages[-1] == "BUILD SUCCESSFUL"
    assert set(build["logs"][0]) == {"timestamp", "level", "message"}


def test_recent_lines_only(sandbox: Sandbox, api: Any, setting: str) -> None:
    """A build has its most recent log lines only."""
    build_id = sandbox.push(setting)
    for number in range(80):
        sandbox.log(build_id, f"line {number}")
    messages = [line["message"] for line in api.get(f"/builds/{build_id}")["logs"]]
    assert messages == [f"line {number}" for number in range(30, 80)]


def test_auto_deploy(sandbox: Sandbox, api: Any) -> None:
    """A failed auto-deploy is reported and does not fail the build."""
    setting = sandbox.settings("MyGame")[0]
    path = f"/projects/{setting['projectId']}/build-settings/{setting['id']}"
    deploy = {"autoDeploy": True, "uploadBuildUrl": "https://example.com/upload"}
    assert api("PATCH", path, json=deploy).ok
    sandbox.plan(queue=1, run=1, deploy="failed")
    build_id = sandbox.push(setting["id"])
    assert api.get(f"/builds/{build_id}")["autoDeployStatus"] == "pending"
    sandbox.advance(3)
    build = api.get(f"/builds/{build_id}")
    assert (build["status"], build["autoDeployStatus"]) == ("complete", "failed")


def test_authors(sandbox: Sandbox, setting: str) -> None:
    """A build has its author: a push, a schedule or something else."""
    push = sandbox.build(sandbox.push(setting, commit="0" * 40, message="Fix jump"))
    cron = sandbox.build(sandbox.push(setting, triggered_by="cron"))
    assert (push["triggeredBy"], push["commitMessage"]) == (f"push:{'0' * 40}", "Fix jump")
    assert cron["triggeredBy"] == "cron"


def test_free_plan(make_sandbox: Callable[..., Sandbox], make_api: Callable[..., Any]) -> None:
    """On the Free plan one build runs at a time; without build minutes a trigger is rejected."""
    sandbox = make_sandbox(plan="free", minutes=1.5)
    for setting in sandbox.settings("MyGame"):
        sandbox.push(setting["id"])
    statuses = []
    for seconds in (17, 30, 30, 30):
        sandbox.advance(seconds)
        statuses.append([build["status"] for build in sandbox.builds()])
    assert statuses == [
        ["running", "pending", "pending"],
        ["complete", "running", "pending"],
        ["complete", "complete", "running"],
        ["complete", "complete", "complete"],
    ]
    response = make_api(sandbox).trigger()
    assert (response.status_code, response.json()["error"]) == (402, "plan_limit_reached")
    assert len(sandbox.builds()) == 3


@pytest.mark.parametrize(
    ("project", "code"), [("MyGame", "repo_not_accessible"), ("Shooter", "perforce_auth_failed")]
)
def test_inaccessible_source(sandbox: Sandbox, api: Any, project: str, code: str) -> None:
    """A trigger is rejected with a specific code if the repository or depot is inaccessible."""
    sandbox.set_accessible(project, accessible=False)
    assert api.trigger(project).json()["error"] == code
    sandbox.set_accessible(project, accessible=True)
    assert api.trigger(project).status_code == 202
