"""The documented REST API, with plain requests."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import pytest
import requests

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.sandbox import Sandbox

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
GITHUB = {
    "name": "Racer",
    "installationId": 4711,
    "repoFullName": "pixel-studio/racer",
    "defaultBranch": "main",
}
SETTING = {
    "platform": "Mac",
    "buildType": "Test",
    "ueVersion": "5.3",
    "trigger": "push",
    "branch": "main",
}


@pytest.fixture
def path(sandbox: Sandbox) -> str:
    """Return the path of the project MyGame."""
    return f"/projects/{sandbox.settings('MyGame')[0]['projectId']}"


def test_identity(api: Any) -> None:
    """The identity of a token includes user, organization, plan and role."""
    identity = api.get("/auth/me")
    assert set(identity["user"]) == {"id", "email", "name"}
    assert identity["organization"]["plan"] == "team"
    assert set(identity["organization"]) == {"id", "name", "slug", "plan"}
    assert identity["membership"] == {"role": "member"}


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Bearer bp_nobody", "Basic bp_x", "bp_x"]
)
def test_invalid_token(sandbox: Sandbox, header: str | None) -> None:
    """A missing, malformed or unknown token results in 401 with the complete error body."""
    headers = {} if header is None else {"Authorization": header}
    response = requests.get(f"{sandbox.url}/auth/me", headers=headers, timeout=5)
    assert response.status_code == 401
    assert set(response.json()) == {"error", "message", "requestId"}
    assert response.json()["error"] == "invalid_token"
    assert response.json()["requestId"].startswith("req_")


def test_revoked_and_expired_tokens(sandbox: Sandbox, make_api: Callable[..., Any]) -> None:
    """A token is invalid once it is revoked or has expired."""
    revoked, expiring = sandbox.issue_token(), sandbox.issue_token(seconds=60)
    assert make_api(sandbox, revoked)("GET", "/auth/me").status_code == 200
    assert make_api(sandbox, expiring)("GET", "/auth/me").status_code == 200
    sandbox.revoke(revoked)
    sandbox.advance(61)
    assert make_api(sandbox, revoked)("GET", "/auth/me").status_code == 401
    assert make_api(sandbox, expiring)("GET", "/auth/me").status_code == 401


def test_unknown_route(api: Any) -> None:
    """An unknown route results in 404 with the error body."""
    response = api("GET", "/nowhere")
    assert (response.status_code, response.json()["error"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("role", "triggers", "administers"),
    [("owner", 202, 200), ("admin", 202, 200), ("member", 202, 403), ("viewer", 403, 403)],
)
def test_roles(
    sandbox: Sandbox, make_api: Callable[..., Any], role: str, triggers: int, administers: int
) -> None:
    """Members can trigger, admins can administer, a viewer can read."""
    api = make_api(sandbox, sandbox.issue_token(role))
    organization = api.get("/auth/me")["organization"]["id"]
    assert api.trigger().status_code == triggers
    response = api("PATCH", f"/organizations/{organization}", json={"name": "New"})
    assert response.status_code == administers
    assert response.ok or response.json()["error"] == "insufficient_scope"
    assert api("GET", "/projects").status_code == 200


def test_other_organization(sandbox: Sandbox, make_api: Callable[..., Any], path: str) -> None:
    """Objects of another organization do not exist for a token."""
    build = sandbox.push(sandbox.settings("MyGame")[0]["id"])
    stranger = make_api(sandbox, sandbox.stranger_token)
    assert stranger.get("/projects")["items"] == []
    assert stranger.get("/builds")["items"] == []
    for hidden in (path, f"/builds/{build}", f"/builds/{build}/download"):
        assert stranger("GET", hidden).status_code == 404
    assert stranger.trigger().status_code == 404


def test_organization(sandbox: Sandbox, make_api: Callable[..., Any]) -> None:
    """An admin can change the organization, its Perforce server and its GitHub App."""
    api = make_api(sandbox, sandbox.issue_token("admin"))
    base = f"/organizations/{api.get('/auth/me')['organization']['id']}"
    response = api("PATCH", base, json={"name": "New", "defaultProjectSettings": {"a": 1}})
    assert response.json()["name"] == "New"
    perforce = {"serverUrl": "ssl:p4:1666", "userName": "b", "ticket": "expired"}
    refused = api("PATCH", f"{base}/perforce", json=perforce)
    assert (refused.status_code, refused.json()["error"]) == (400, "perforce_auth_failed")
    assert api("PATCH", f"{base}/perforce", json={**perforce, "ticket": "1A2B"}).ok
    assert "1A2B" not in api("PATCH", f"{base}/perforce", json={**perforce, "ticket": "1A2B"}).text
    gone = api("DELETE", f"{base}/integrations/github")
    assert (gone.status_code, gone.content) == (204, b"")
    assert api.trigger().json()["error"] == "repo_not_accessible"
    assert api("PATCH", "/organizations/other", json={"name": "x"}).status_code == 404
    assert api("PATCH", base, json={}).status_code == 400


def test_projects(api: Any) -> None:
    """Projects are listed with their six fields, and can be filtered by source control."""
    items = api.get("/projects")["items"]
    fields = {"id", "name", "sourceControl", "repoLink", "lastBuildAt", "lastBuildStatus"}
    assert [set(item) for item in items] == [fields, fields]
    names = [item["name"] for item in api.get("/projects", sourceControl="perforce")["items"]]
    assert names == ["Shooter"]
    assert api("GET", "/projects", params={"sourceControl": "svn"}).status_code == 400


def test_last_build(sandbox: Sandbox, api: Any) -> None:
    """A project has the time and status of its last build."""
    sandbox.push(sandbox.settings("MyGame")[0]["id"])
    item = api.get("/projects", sourceControl="github")["items"][0]
    assert item["lastBuildStatus"] == "pending"
    assert TIMESTAMP.fullmatch(item["lastBuildAt"])


def test_change_projects(api: Any) -> None:
    """A project can be added, changed and deleted; its source-control link cannot be changed."""
    made = api("POST", "/projects/add-repo", json=GITHUB)
    assert made.status_code == 201
    path = f"/projects/{made.json()['id']}"
    assert api.get(path)["repoLink"] == "https://github.com/pixel-studio/racer"
    changed = api("PATCH", path, json={"name": "Racer 2", "description": "fast"})
    assert (changed.json()["name"], changed.json()["description"]) == ("Racer 2", "fast")
    assert api("PATCH", path, json={"repoLink": "x"}).status_code == 400
    assert api("PATCH", path, json={"name": "MyGame"}).status_code == 400
    assert api("DELETE", path).status_code == 204
    assert api("GET", path).status_code == 404


def test_perforce_project(api: Any) -> None:
    """A Perforce project can be added with its depot and stream."""
    body = {"name": "Depot", "depot": "//depot", "streamPath": "//depot/main"}
    made = api("POST", "/projects/add-perforce", json=body)
    assert (made.status_code, made.json()["sourceControl"]) == (201, "perforce")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {**GITHUB, "name": ""},
        {**GITHUB, "name": 7},
        {**GITHUB, "name": "MyGame"},
        {**GITHUB, "repoFullName": "no-slash"},
        {**GITHUB, "installationId": None},
        {**GITHUB, "uprojectPath": 3},
    ],
)
def test_invalid_project(api: Any, body: dict[str, Any]) -> None:
    """A project with invalid fields is rejected with validation_failed."""
    response = api("POST", "/projects/add-repo", json=body)
    assert (response.status_code, response.json()["error"]) == (400, "validation_failed")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"'])
def test_body_is_an_object(api: Any, body: bytes) -> None:
    """A body that is not a JSON object is rejected."""
    response = api("POST", "/projects/add-repo", data=body)
    assert (response.status_code, response.json()["error"]) == (400, "validation_failed")


def test_change_settings(sandbox: Sandbox, api: Any, path: str) -> None:
    """A build setting can be created, read, changed and deleted; its builds stay readable."""
    made = api("POST", f"{path}/build-settings", json=SETTING)
    assert made.status_code == 201
    own = f"{path}/build-settings/{made.json()['id']}"
    assert api.get(own) == made.json()
    assert made.json()["streamPath"] is None
    assert api("PATCH", own, json={"autoDeploy": True}).json()["autoDeploy"] is True
    assert made.json()["id"] in {s["id"] for s in api.get(f"{path}/build-settings")["items"]}
    build = sandbox.push(made.json()["id"])
    assert api("DELETE", own).status_code == 204
    assert api("GET", own).status_code == 404
    assert api.get(f"/builds/{build}")["buildSettingId"] == made.json()["id"]


@pytest.mark.parametrize("missing", sorted(SETTING))
def test_required_fields(api: Any, path: str, missing: str) -> None:
    """A build setting needs platform, buildType, ueVersion, trigger and branch."""
    body = {name: value for name, value in SETTING.items() if name != missing}
    response = api("POST", f"{path}/build-settings", json=body)
    assert (response.status_code, response.json()["error"]) == (400, "validation_failed")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"ueVersion": "4.27"}, "engine_not_found"),
        ({"platform": "PS5"}, "validation_failed"),
        ({"buildType": "Debug"}, "validation_failed"),
        ({"trigger": "never"}, "validation_failed"),
        ({"streamPath": "//x/y"}, "validation_failed"),
        ({"uploadBuildUrl": "ftp://x"}, "validation_failed"),
        ({"notifyOnComplete": "yes"}, "validation_failed"),
    ],
)
def test_invalid_setting(api: Any, path: str, change: dict[str, Any], code: str) -> None:
    """A build setting with invalid fields is rejected, an old engine with a specific code."""
    response = api("POST", f"{path}/build-settings", json={**SETTING, **change})
    assert (response.status_code, response.json()["error"]) == (400, code)


def test_invalid_changes(sandbox: Sandbox, api: Any, path: str) -> None:
    """An empty change, or one to an old engine, is rejected."""
    own = f"{path}/build-settings/{sandbox.settings('MyGame')[0]['id']}"
    assert api("PATCH", own, json={}).status_code == 400
    assert api("PATCH", own, json={"ueVersion": "4.27"}).json()["error"] == "engine_not_found"
    assert api("PATCH", path, json={}).status_code == 400


def test_project_without_source(sandbox: Sandbox, api: Any) -> None:
    """Without the GitHub App or a Perforce server, such a project cannot be added."""
    organization = sandbox.world.tokens[sandbox.token].organization
    organization.github, organization.perforce = False, None
    assert api("POST", "/projects/add-repo", json=GITHUB).json()["error"] == "repo_not_accessible"
    body = {"name": "Depot", "depot": "//depot", "streamPath": "//depot/main"}
    refused = api("POST", "/projects/add-perforce", json=body)
    assert refused.json()["error"] == "perforce_auth_failed"


def test_consoles_on_enterprise(
    make_sandbox: Callable[..., Sandbox], make_api: Callable[..., Any]
) -> None:
    """Console platforms are allowed on the Enterprise plan."""
    sandbox = make_sandbox(plan="enterprise")
    path = f"/projects/{sandbox.settings('MyGame')[0]['projectId']}/build-settings"
    body = {**SETTING, "platform": "PS5"}
    assert make_api(sandbox)("POST", path, json=body).status_code == 201


def test_deleted_project_keeps_builds(sandbox: Sandbox, api: Any, path: str) -> None:
    """Deleting a project deletes its build settings; its builds stay readable."""
    setting = sandbox.settings("MyGame")[0]["id"]
    build = sandbox.push(setting)
    assert api("DELETE", path).status_code == 204
    assert api("GET", f"{path}/build-settings/{setting}").status_code == 404
    assert api.get(f"/builds/{build}")["id"] == build


def test_date_header(make_sandbox: Callable[..., Sandbox], make_api: Callable[..., Any]) -> None:
    """The Date header and createdAt use the same clock, at any speed."""
    sandbox = make_sandbox(speed=1000.0)
    sandbox.advance(86400 * 10)
    response = make_api(sandbox).trigger()
    created = sandbox.build(response.json()["buildId"])["createdAt"]
    date = parsedate_to_datetime(response.headers["Date"])
    assert TIMESTAMP.fullmatch(created)
    behind = date - datetime.fromisoformat(created)
    assert -1 <= behind.total_seconds() <= 1000
    assert (date - datetime.now(UTC)).days >= 9
