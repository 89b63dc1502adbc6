"""The control routes and the dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_buildpixel.sandbox import Sandbox
from airflow_provider_buildpixel.sandbox.server.control import COMMANDS, VIEWS

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def command(api: Any) -> Callable[..., Any]:
    """Run a command over a control route and return its result."""

    def call(name: str, /, **arguments: Any) -> Any:
        response = api("POST", f"/_sandbox/{name}", json=arguments)
        assert response.ok, response.text
        return response.json()

    return call


@pytest.fixture
def view(api: Any) -> Callable[[str], Any]:
    """Read a view over a control route."""
    return lambda name: api.get(f"/_sandbox/{name}")


def test_commands_are_methods() -> None:
    """Each command is a method of Sandbox."""
    assert all(callable(getattr(Sandbox, name)) for name in COMMANDS)


@pytest.mark.parametrize("name", VIEWS)
def test_views(view: Callable[[str], Any], name: str) -> None:
    """Each view can be read."""
    assert view(name) is not None


def test_full_scenario(
    sandbox: Sandbox, command: Callable[..., Any], view: Callable[[str], Any]
) -> None:
    """Another process can plan, push, follow and end a build."""
    setting = view("settings")["MyGame"][0]["id"]
    command("plan", outcome="failed", errors=["E1"], lines=["one"], times=1)
    failing = command("push", setting_id=setting, branch="x")
    command("advance", seconds=100)
    by_hand = command("push", setting_id=setting)
    command("log", build_id=by_hand, message="hello")
    command("set_status", build_id=by_hand, status="running")
    statuses = {build["id"]: build["status"] for build in view("builds")}
    assert statuses == {failing: "failed", by_hand: "running"}
    assert [line.message for line in sandbox.world.builds[failing].logs][-2] == "E1"
    assert view("state")["builds"] == 2


def test_setup(sandbox: Sandbox, command: Callable[..., Any], view: Callable[[str], Any]) -> None:
    """Another process can add ended builds and edit a build setting."""
    setting = view("settings")["MyGame"][0]["id"]
    added = command("add_builds", setting_id=setting, count=3, branch="x")
    assert [build["id"] for build in view("builds")] == added == sandbox.world.build_ids
    command("update_setting", setting_id=setting, branch="next")
    assert view("settings")["MyGame"][0]["branch"] == "next"


def test_faults_by_number(api: Any, command: Callable[..., Any]) -> None:
    """Another process can order faults, and remove one or all of them."""
    first = command("fault", name="500", route="GET /projects")
    second = command("fault", name="404", route="GET /projects")
    assert api("GET", "/projects").status_code == 500
    command("heal_one", number=first["number"])
    assert api("GET", "/projects").status_code == 404
    command("heal")
    assert api("GET", "/projects").ok
    assert second["number"] > first["number"]


def test_tokens(
    sandbox: Sandbox, command: Callable[..., Any], make_api: Callable[..., Any]
) -> None:
    """Another process can issue and revoke tokens."""
    token = command("issue_token", role="viewer")
    assert make_api(sandbox, token)("GET", "/auth/me").ok
    command("revoke", token=token)
    assert make_api(sandbox, token)("GET", "/auth/me").status_code == 401


def test_sockets(command: Callable[..., Any], view: Callable[[str], Any], client: Any) -> None:
    """Another process can count and drop the connections of the live channel."""
    assert view("state")["sockets"] == 1
    command("drop_sockets")
    assert client.disconnected.wait(5)


def test_requests_without_secrets(sandbox: Sandbox, api: Any, view: Callable[[str], Any]) -> None:
    """The request log is shown without tokens, and does not include control routes."""
    api.get("/projects")
    assert [request["route"] for request in view("requests")] == ["GET /projects"]
    assert sandbox.token not in str(view("requests"))


def test_forget_requests(api: Any, command: Callable[..., Any], view: Callable[[str], Any]) -> None:
    """Earlier requests can be removed from the log."""
    api.get("/projects")
    command("forget_requests")
    api.get("/auth/me")
    assert [request["route"] for request in view("requests")] == ["GET /auth/me"]


@pytest.mark.parametrize(
    ("name", "body", "status"),
    [
        ("nothing", {}, 404),
        ("stop", {}, 404),
        ("advance", {"seconds": -1}, 400),
        ("advance", {"minutes": 1}, 400),
        ("push", {"setting_id": "nothing"}, 400),
        ("set_status", {"build_id": "nothing", "status": "x"}, 400),
        ("fault", {"name": "nonsense"}, 400),
        ("plan", {"outcom": "failed"}, 400),
        ("advance", [1], 400),
    ],
)
def test_invalid_calls(api: Any, name: str, body: Any, status: int) -> None:
    """A command or an argument that does not exist is rejected with a reason."""
    response = api("POST", f"/_sandbox/{name}", json=body)
    assert response.status_code == status
    assert response.json()["message"]


def test_only_json(api: Any) -> None:
    """A content type that a web page of another origin can send is rejected."""
    response = api("POST", "/_sandbox/heal", data="{}", headers={"Content-Type": "text/plain"})
    assert response.status_code == 415
    assert api("GET", "/_sandbox/nothing").status_code == 404


def test_list_page(sandbox: Sandbox, api: Any) -> None:
    """The page of all builds has the newest first."""
    setting = sandbox.settings("MyGame")[0]["id"]
    newest = sandbox.push(setting)
    ids = [*sandbox.add_builds(setting, 2), newest]
    page = api("GET", "/dashboard").text
    assert sorted(ids, key=page.index) == ids[::-1]


def test_build_page(sandbox: Sandbox, api: Any) -> None:
    """The page of a build shows its fields and log, with all markup escaped."""
    setting = sandbox.settings("MyGame")[0]["id"]
    build = sandbox.push(setting, message="<script>alert(1)</script>", branch='"><b>')
    sandbox.log(build, "<img src=x onerror=alert(1)>", '"><i>')
    page = api("GET", f"/dashboard/builds/{build}")
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "&lt;img src=x" in page.text
    for markup in ("<script", "<img", "<b>", "<i>"):
        assert markup not in page.text
    assert 'http-equiv="refresh"' in page.text
    sandbox.set_status(build, "failed")
    assert 'http-equiv="refresh"' not in api("GET", f"/dashboard/builds/{build}").text
    assert build in api("GET", "/dashboard").text
    assert api("GET", "/dashboard/builds/nothing").status_code == 404
