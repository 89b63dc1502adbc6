"""All routes of the pages, for users with and without permissions."""

from __future__ import annotations

import asyncio
import logging
import re
from importlib import resources
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("fastapi", reason="Airflow 2.11 has no such routes")
auth_manager = pytest.importorskip("tests.ui.auth_manager", reason="needs Airflow 3.1")

from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS  # noqa: E402

from airflow_provider_buildpixel.page.record import TaskInstanceKey  # noqa: E402
from tests.ui.conftest import connection  # noqa: E402

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox import Sandbox
    from tests.ui.conftest import Server, Tasks

pytestmark = pytest.mark.skipif(not AIRFLOW_V_3_1_PLUS, reason="the pages need Airflow 3.1")

ALICE, BOB, OPERATOR = "ALICE", "BOB", "OPERATOR"
ROUTES = (
    ("GET", "task"),
    ("GET", "builds"),
    ("GET", "builds/bp/x"),
    ("GET", "static/page.css"),
    ("GET", "static/no.such"),
    ("GET", "data/task"),
    ("GET", "data/builds"),
    ("GET", "data/builds/bp/x"),
    ("POST", "data/task"),
    ("POST", "data/builds/bp/x"),
)


def user(name: str) -> Any:
    """Return a user by name; Airflow 2 has no such class."""
    return getattr(auth_manager, name)


def reads(sandbox: Sandbox, route: str = "GET /builds/:id") -> int:
    """Return the number of requests to a route of BuildPixel."""
    return len(sandbox.requests_to(route))


def test_route_table_is_complete() -> None:
    """The table of tested routes has all routes of the app."""
    from airflow_provider_buildpixel.plugins.build_reader import PageReader
    from airflow_provider_buildpixel.plugins.pages import build_router

    routes: list[Any] = [*build_router(PageReader()).routes]
    found = {(method, route.path) for route in routes for method in route.methods}
    wanted = {
        (
            method,
            "/"
            + re.sub(r"static/.*", "static/{name}", path.replace("bp/x", "{conn_id}/{build_id}")),
        )
        for method, path in ROUTES
    }
    assert found == wanted


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_not_logged_in(server: Server, method: str, path: str) -> None:
    """Without a login every route answers 401, with the security headers."""
    answer = await (server.get(path) if method == "GET" else server.post(path))
    assert answer.status_code == 401
    assert answer.headers["cache-control"] == "no-store"
    junk = await server.get(path, cookie="_token=junk") if method == "GET" else answer
    assert junk.status_code in {401, 403}


async def test_redirect_to_the_login(server: Server) -> None:
    """A page opened without a login redirects to the login, and from there back."""
    answer = await server.get("builds/bp/x?dag_id=d", accept="text/html,*/*")
    assert answer.status_code == 303
    next_url = "%2Fbuildpixel%2Fbuilds%2Fbp%2Fx%3Fdag_id%3Dd"
    assert answer.headers["location"] == f"/api/v2/auth/login?next={next_url}"


async def test_headers(server: Server) -> None:
    """Pages, data and refusals are not cached, not framed by other sites, and not sniffed."""
    for path in ("task", "builds", "static/build.js", "data/builds", "data/task", "nothing"):
        answer = await server.get(path, user(ALICE))
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'self'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"


async def test_pages_contain_no_data(server: Server) -> None:
    """A page is the same for all users, and the files that it links exist."""
    for path, root in (("task", ""), ("builds", ""), ("builds/bp/%3Cscript%3E", "../../")):
        answer = await server.get(path, user(ALICE))
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "<script>" not in answer.text
        assert not re.search(r"<style|\sstyle=|\son\w+=|https?:", answer.text)
        for url in re.findall(r'(?:src|href)="([^"]+)"', answer.text):
            assert url.startswith(f"{root}static/")
            file = await server.get(url.removeprefix(root), user(ALICE))
            assert file.status_code == 200


def test_files_use_no_other_site() -> None:
    """No file of the pages names another site or inserts text as markup."""
    files = resources.files("airflow_provider_buildpixel.plugins").joinpath("static")
    for file in files.iterdir():
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(
            r"//[a-z0-9.-]+\.[a-z]{2,}|\beval\(|innerHTML|insertAdjacent|write\(", text
        )


async def test_task_page(server: Server, tasks: Tasks) -> None:
    """A user who may read a Dag sees the build of its task."""
    build_id = tasks.push(message="Add a map")
    tasks.sandbox.set_status(build_id, "running")
    tasks.sandbox.log(build_id, "*** COMPILING ... ***")
    ti_key = tasks.with_build("ours", build_id)
    answer = await server.get(f"data/task?{ti_key.url_query}&map_index={{MAP_INDEX}}", user(ALICE))
    data = answer.json()
    assert (data["id"], data["status"], data["connection"]) == (build_id, "running", "bp")
    assert data["message"] == "Add a map"
    assert data["phases"][1]["state"] == "running"
    assert [bar["id"] for bar in data["history"]["bars"]] == [build_id]
    assert tasks.sandbox.token not in answer.text


async def test_task_page_of_another_dag(server: Server, tasks: Tasks) -> None:
    """A user who may not read the Dag gets a 404 answer, without a request to BuildPixel."""
    build_id = tasks.push()
    ti_key = tasks.with_build("ours", build_id)
    refused = await server.get(f"data/task?{ti_key.url_query}", user(BOB))
    unknown = await server.get("data/task?dag_id=no&run_id=no&task_id=no", user(BOB))
    assert refused.status_code == unknown.status_code == 404
    assert refused.text == unknown.text
    assert (await server.post(f"data/task?{ti_key.url_query}", user(BOB))).status_code == 404
    assert reads(tasks.sandbox) == 0


async def test_task_pages_without_a_build(server: Server, tasks: Tasks) -> None:
    """A task without a build gets a message with the reason."""
    ti_key = tasks.with_build("ours")
    early = (await server.get(f"data/task?{ti_key.url_query}", user(ALICE))).json()
    assert (early["kind"], early["refresh_after"] is None) == ("waiting", False)
    tasks.end(ti_key, "failed")
    ended = (await server.get(f"data/task?{ti_key.url_query}", user(ALICE))).json()
    assert "ended before it had a build" in ended["message"]
    other = TaskInstanceKey("ours", ti_key.run_id, "other")
    found = (await server.get(f"data/task?{other.url_query}", user(ALICE))).json()
    assert "no BuildPixel build" in found["message"]
    missing = TaskInstanceKey("ours", "no such run", "build")
    found = (await server.get(f"data/task?{missing.url_query}", user(ALICE))).json()
    assert "does not exist" in found["message"]
    assert (await server.get("data/task", user(ALICE))).status_code == 404


async def test_mapped_tasks(server: Server, tasks: Tasks) -> None:
    """Each instance of a mapped task has its own build."""
    run_id = tasks.runs("ours")
    builds = {}
    for index in (0, 1):
        ti_key = TaskInstanceKey("ours", run_id, "mapped", index)
        builds[index] = tasks.push(branch=f"topic-{index}")
        tasks.push_xcom(ti_key, tasks.record(ti_key, builds[index]).to_json())
        data = (await server.get(f"data/task?{ti_key.url_query}", user(ALICE))).json()
        assert data["id"] == builds[index]


async def test_build_page(server: Server, tasks: Tasks) -> None:
    """A build's page needs a task in a Dag that the viewer may read, in the URL or not."""
    build_id = tasks.push()
    ti_key = tasks.with_build("ours", build_id)
    for query in (f"?{ti_key.url_query}", ""):
        seen = await server.get(f"data/builds/bp/{build_id}{query}", user(ALICE))
        assert seen.json()["id"] == build_id
        hidden = await server.get(f"data/builds/bp/{build_id}{query}", user(BOB))
        missing = await server.get(f"data/builds/bp/nosuchbuild{query}", user(BOB))
        assert hidden.status_code == missing.status_code == 404
        assert hidden.text == missing.text


async def test_build_of_another_task(server: Server, tasks: Tasks) -> None:
    """The task that a URL names must have the build of the URL, over the same connection."""
    ours, theirs = tasks.push(branch="a"), tasks.push(branch="b")
    ti_key = tasks.with_build("ours", ours)
    tasks.with_build("theirs", theirs)
    for path in (f"bp/{theirs}", f"other/{ours}"):
        answer = await server.get(f"data/builds/{path}?{ti_key.url_query}", user(ALICE))
        assert answer.status_code == 404
    assert reads(tasks.sandbox) == 0


async def test_editors_of_the_connection(server: Server, tasks: Tasks) -> None:
    """A build that no task has is shown only to users who may edit the connection."""
    build_id = tasks.push()
    assert (await server.get(f"data/builds/bp/{build_id}", user(OPERATOR))).json()["id"] == build_id
    assert (await server.get(f"data/builds/bp/{build_id}", user(ALICE))).status_code == 404


async def test_a_connection_of_another_type(
    server: Server, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The password of a connection of another type is never sent."""
    uri = connection(tasks.sandbox).replace("buildpixel://", "postgres://")
    monkeypatch.setenv("AIRFLOW_CONN_DATABASE", uri)
    answer = await server.get(f"data/builds/database/{tasks.push()}", user(OPERATOR))
    assert answer.status_code == 404
    assert reads(tasks.sandbox) == 0


async def test_forged_records(
    server: Server, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the token, a forged XCom cannot tie another build to a task."""
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", connection(tasks.sandbox, tasks.sandbox.viewer_token))
    ours, theirs = tasks.push(branch="a"), tasks.push(branch="b")
    ti_key = tasks.with_build("ours", ours)
    valid = tasks.record(ti_key, ours).to_json()
    elsewhere = tasks.record(tasks.with_build("theirs", theirs), theirs).to_json()
    for forged in (valid | {"build_id": theirs}, valid | {"conn_id": "other"}, elsewhere):
        tasks.push_xcom(ti_key, forged)
        answer = await server.get(f"data/task?{ti_key.url_query}", user(ALICE))
        assert answer.json()["kind"] == "unavailable"
        assert (await server.post(f"data/task?{ti_key.url_query}", user(ALICE))).json().get(
            "url"
        ) is None
        build = f"{forged['conn_id']}/{forged['build_id']}"
        for query in (f"?{ti_key.url_query}", ""):
            answer = await server.get(f"data/builds/{build}{query}", user(ALICE))
            assert answer.status_code == 404
    assert reads(tasks.sandbox) == 0


async def test_a_replaced_token(
    server: Server, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the token is replaced, only users who may edit the connection see the build."""
    build_id = tasks.push()
    ti_key = tasks.with_build("ours", build_id)
    monkeypatch.setenv("AIRFLOW_CONN_BP", connection(tasks.sandbox, tasks.sandbox.viewer_token))
    data = (await server.get(f"data/task?{ti_key.url_query}", user(ALICE))).json()
    assert "was replaced" in data["message"]
    data = (await server.get(f"data/task?{ti_key.url_query}", user(OPERATOR))).json()
    assert data["id"] == build_id


async def test_an_unusable_connection(
    server: Server, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a usable connection the page shows only that."""
    build_id = tasks.push()
    ti_key = tasks.with_build("ours", build_id)
    for value in (None, "buildpixel://:token%20with%20spaces@127.0.0.1:9"):
        if value is None:
            monkeypatch.delenv("AIRFLOW_CONN_BP")
        else:
            monkeypatch.setenv("AIRFLOW_CONN_BP", value)
        answer = await server.get(f"data/task?{ti_key.url_query}", user(ALICE))
        assert "does not exist or cannot be used" in answer.json()["message"]
        assert "spaces" not in answer.text
        answer = await server.get(f"data/builds/bp/{build_id}", user(OPERATOR))
        assert answer.status_code == 404


async def test_the_download(server: Server, tasks: Tasks, caplog: pytest.LogCaptureFixture) -> None:
    """A signed URL is made for a click of a permitted user, and is not logged."""
    caplog.set_level(logging.DEBUG)
    build_id = tasks.push()
    tasks.sandbox.set_status(build_id, "complete")
    ti_key = tasks.with_build("ours", build_id)
    for path in (f"data/task?{ti_key.url_query}", f"data/builds/bp/{build_id}"):
        assert "url" not in (await server.get(path, user(ALICE))).json()
        made = (await server.post(path, user(ALICE))).json()["url"]
        assert made.startswith(tasks.sandbox.store_url)
        assert made.split("?")[1] not in caplog.text
        assert (await server.post(path, user(BOB))).status_code == 404
    assert tasks.sandbox.token not in caplog.text


async def test_no_artifact(server: Server, tasks: Tasks) -> None:
    """A missing artifact and a failed read are reported, without the token."""
    build_id = tasks.push()
    tasks.sandbox.set_status(build_id, "complete")
    ti_key = tasks.with_build("ours", build_id)
    tasks.sandbox.remove_artifact(build_id)
    answer = await server.post(f"data/task?{ti_key.url_query}", user(ALICE))
    assert (answer.status_code, "retention" in answer.json()["message"]) == (404, True)
    tasks.sandbox.fault("500", "GET /builds/:id/download")
    answer = await server.post(f"data/task?{ti_key.url_query}", user(ALICE))
    assert (answer.status_code, answer.json()["kind"]) == (502, "error")


async def test_hostile_strings(server: Server, tasks: Tasks) -> None:
    """Markup from BuildPixel stays text in a JSON response."""
    markup = "<script>alert(1)</script>"
    build_id = tasks.push(message=markup, branch=markup)
    tasks.sandbox.log(build_id, f"{markup}\u202e\x1b]0;x\x07", "error")
    tasks.sandbox.set_status(build_id, "failed")
    ti_key = tasks.with_build("ours", build_id)
    answer = await server.get(f"data/task?{ti_key.url_query}", user(ALICE))
    assert answer.headers["content-type"] == "application/json"
    data = answer.json()
    assert data["message"] == markup
    assert data["log"][0][2].startswith(markup)
    assert not {"\u202e", "\x1b"} & set(data["log"][0][2] + data["failure"]["errors"][0])


async def test_a_superseded_build(server: Server, tasks: Tasks) -> None:
    """A superseded build names the newer one."""
    build_id = tasks.push()
    ti_key = tasks.with_build("ours", build_id)
    newer = tasks.push()
    data = (await server.get(f"data/task?{ti_key.url_query}", user(ALICE))).json()
    assert (data["status"], data["newer"]["id"]) == ("superseded", newer)


async def test_failed_reads(server: Server, tasks: Tasks) -> None:
    """A failed read of the build is reported; failed lists are left out."""
    build_id = tasks.push()
    ti_key = tasks.with_build("ours", build_id)
    tasks.sandbox.fault("500", "GET /builds", times=1)
    data = (await server.get(f"data/task?{ti_key.url_query}", user(ALICE))).json()
    assert [bar["id"] for bar in data["history"]["bars"]] == [build_id]
    other = tasks.with_build("theirs", tasks.push(branch="b"))
    tasks.sandbox.fault("500", "GET /builds/:id")
    answer = await server.get(f"data/task?{other.url_query}", user(BOB))
    assert answer.json()["kind"] == "error"
    assert tasks.sandbox.token not in answer.text


async def test_many_viewers(server: Server, tasks: Tasks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Concurrent viewers of a build cause one read of it and one of the list."""
    # Long enough for all requests, even on a busy machine.
    monkeypatch.setattr("airflow_provider_buildpixel.plugins.build_reader.LIVE_TTL", 60.0)
    build_id = tasks.push()
    path = f"data/task?{tasks.with_build('ours', build_id).url_query}"
    answers = await asyncio.gather(*(server.get(path, user(ALICE)) for _ in range(30)))
    assert {answer.json()["id"] for answer in answers} == {build_id}
    assert (reads(tasks.sandbox), reads(tasks.sandbox, "GET /builds")) == (1, 1)


async def test_the_list(server: Server, tasks: Tasks) -> None:
    """The list has the live and recent builds of Dags that the viewer may read."""
    live, ended, theirs = (tasks.push(branch=name) for name in ("a", "b", "c"))
    tasks.sandbox.set_status(live, "running")
    run_id = tasks.runs("ours")
    for task_id, build_id in (("build", live), ("other", ended)):
        ti_key = TaskInstanceKey("ours", run_id, task_id)
        tasks.push_xcom(ti_key, tasks.record(ti_key, build_id).to_json())
    tasks.end(TaskInstanceKey("ours", run_id, "other"), "success")
    tasks.with_build("theirs", theirs)
    data = (await server.get("data/builds", user(ALICE))).json()
    waiting = {row["build"]: row for row in data["waiting"] if row["task"]["run_id"] == run_id}
    recent = {row["build"]: row for row in data["recent"] if row["task"]["run_id"] == run_id}
    assert set(waiting) == {live}
    assert set(recent) == {ended}
    assert (waiting[live]["status"], waiting[live]["tone"]) == ("running", "live")
    assert recent[ended]["task"]["state"] == "success"
    assert theirs not in str(data)
    seen = (await server.get(f"data/{waiting[live]['page']}", user(ALICE))).json()
    assert seen["id"] == live


async def test_the_list_with_failed_reads(server: Server, tasks: Tasks) -> None:
    """The list shows no status for failed reads and for forged records."""
    build_id = tasks.push()
    ti_key = tasks.with_build("ours", build_id)
    tasks.sandbox.fault("500", "GET /builds/:id")
    rows = (await server.get("data/builds", user(ALICE))).json()["waiting"]
    assert [row.get("status") for row in rows if row["build"] == build_id] == [None]
    tasks.sandbox.heal()
    other = tasks.push(branch="b")
    tasks.push_xcom(ti_key, tasks.record(ti_key, build_id).to_json() | {"build_id": other})
    before = reads(tasks.sandbox)
    rows = (await server.get("data/builds", user(ALICE))).json()["waiting"]
    assert [row.get("status") for row in rows if row["build"] == other] == [None]
    assert reads(tasks.sandbox) == before
