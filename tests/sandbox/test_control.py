"""The control routes and the pages for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_buildpixel.sandbox import Sandbox
from airflow_provider_buildpixel.sandbox.control import VERBS, VIEWS

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def verb(api: Any) -> Callable[..., Any]:
    """Call a control route and return its answer."""

    def call(name: str, /, **arguments: Any) -> Any:
        answer = api("POST", f"/_sandbox/{name}", json=arguments)
        assert answer.ok, answer.text
        return answer.json()

    return call


@pytest.fixture
def view(api: Any) -> Callable[[str], Any]:
    """Look at a control route."""
    return lambda name: api.get(f"/_sandbox/{name}")


def test_verbs_are_methods() -> None:
    """Each verb is a method of the Python face."""
    assert all(callable(getattr(Sandbox, name)) for name in VERBS)


@pytest.mark.parametrize("name", VIEWS)
def test_views(view: Callable[[str], Any], name: str) -> None:
    """Each view can be seen."""
    assert view(name) is not None


def test_script(sandbox: Sandbox, verb: Callable[..., Any], view: Callable[[str], Any]) -> None:
    """Another process can plan, push, watch and end a build."""
    setting = view("settings")["MyGame"][0]["id"]
    verb("plan", outcome="failed", errors=["E1"], lines=["one"], times=1)
    failing = verb("push", setting_id=setting, branch="x")
    verb("advance", seconds=100)
    by_hand = verb("push", setting_id=setting)
    verb("log", build_id=by_hand, message="hello")
    verb("set_status", build_id=by_hand, status="running")
    statuses = {build["id"]: build["status"] for build in view("builds")}
    assert statuses == {failing: "failed", by_hand: "running"}
    assert [line.message for line in sandbox.world.builds[failing].logs][-2] == "E1"
    assert view("state")["builds"] == 2


def test_faults_by_number(api: Any, verb: Callable[..., Any]) -> None:
    """Another process can order a fault and take it back, doors included."""
    first = verb("fault", name="500", route="GET /projects")
    second = verb("fault", name="404", route="GET /projects")
    assert api("GET", "/projects").status_code == 500
    verb("heal_one", number=first["number"])
    assert api("GET", "/projects").status_code == 404
    verb("heal")
    assert api("GET", "/projects").ok
    assert second["number"] > first["number"]


def test_tokens(sandbox: Sandbox, verb: Callable[..., Any], make_api: Callable[..., Any]) -> None:
    """Another process can issue and revoke tokens."""
    token = verb("issue_token", role="viewer")
    assert make_api(sandbox, token)("GET", "/auth/me").ok
    verb("revoke", token=token)
    assert make_api(sandbox, token)("GET", "/auth/me").status_code == 401


def test_sockets(verb: Callable[..., Any], view: Callable[[str], Any], ear: Any) -> None:
    """Another process can count and cut the connections of the live channel."""
    assert view("state")["sockets"] == 1
    verb("drop_sockets")
    assert ear.cut.wait(5)


def test_requests_without_secrets(sandbox: Sandbox, api: Any, view: Callable[[str], Any]) -> None:
    """The record of requests is shown without tokens, and control routes are not in it."""
    api.get("/projects")
    assert [request["route"] for request in view("requests")] == ["GET /projects"]
    assert sandbox.token not in str(view("requests"))


def test_requests_of_one_step(
    api: Any, verb: Callable[..., Any], view: Callable[[str], Any]
) -> None:
    """Earlier requests can be forgotten, so that those of the next step stand alone."""
    api.get("/projects")
    verb("forget_requests")
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
def test_mistakes(api: Any, name: str, body: Any, status: int) -> None:
    """A verb or an argument that does not exist is refused with a reason."""
    answer = api("POST", f"/_sandbox/{name}", json=body)
    assert answer.status_code == status
    assert answer.json()["message"]


def test_only_json(api: Any) -> None:
    """What a page in a browser can send unasked has no effect."""
    answer = api("POST", "/_sandbox/heal", data="{}", headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415
    assert api("GET", "/_sandbox/nothing").status_code == 404


def test_page_of_a_build(sandbox: Sandbox, api: Any) -> None:
    """A build has a page with its facts and log, in which nothing is taken for markup."""
    setting = sandbox.settings("MyGame")[0]["id"]
    build = sandbox.push(setting, message="<script>alert(1)</script>", branch='"><b>')
    sandbox.log(build, "<img src=x onerror=alert(1)>", '"><i>')
    page = api("GET", f"/dashboard/builds/{build}")
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "&lt;img src=x" in page.text
    for evil in ("<script", "<img", "<b>", "<i>"):
        assert evil not in page.text
    assert 'http-equiv="refresh"' in page.text
    sandbox.set_status(build, "failed")
    assert 'http-equiv="refresh"' not in api("GET", f"/dashboard/builds/{build}").text
    assert build in api("GET", "/dashboard").text
    assert api("GET", "/dashboard/builds/nothing").status_code == 404
