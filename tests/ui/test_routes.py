"""Every route of the pages: for those who may see a build, and for those who may not."""

from __future__ import annotations

import asyncio
import logging
import re
from importlib import resources
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("fastapi", reason="Airflow 2.11 has no such routes")
doorman = pytest.importorskip("tests.ui.doorman", reason="needs Airflow 3.1")

from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS

from airflow_provider_buildpixel.page.record import TaskInstanceKey
from tests.ui.conftest import connection

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
    """Return a user; there is no such class below Airflow 3."""
    return getattr(doorman, name)


def reads(sandbox: Sandbox, route: str = "GET /builds/:id") -> int:
    """Count what was read of BuildPixel."""
    return len(sandbox.requests_to(route))


def test_all_routes_are_known() -> None:
    """The table of routes that the tests go through is all there is."""
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
async def test_nobody(server: Server, method: str, path: str) -> None:
    """Who is not logged in is refused everything, and gets the headers all the same."""
    answer = await (server.get(path) if method == "GET" else server.post(path))
    assert answer.status_code == 401
    assert answer.headers["cache-control"] == "no-store"
    junk = await server.get(path, cookie="_token=junk") if method == "GET" else answer
    assert junk.status_code in {401, 403}


async def test_the_way_to_the_login(server: Server) -> None:
    """A person who opens a page without being logged in gets to the login, and back."""
    answer = await server.get("builds/bp/x?dag_id=d", accept="text/html,*/*")
    assert answer.status_code == 303
    back = "%2Fbuildpixel%2Fbuilds%2Fbp%2Fx%3Fdag_id%3Dd"
    assert answer.headers["location"] == f"/api/v2/auth/login?next={back}"


async def test_headers(server: Server) -> None:
    """Pages, data and refusals are neither kept, nor framed elsewhere, nor taken for scripts."""
    for path in ("task", "builds", "static/build.js", "data/builds", "data/task", "nothing"):
        answer = await server.get(path, user(ALICE))
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'self'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"


async def test_pages_hold_nothing(server: Server) -> None:
    """A page is the same for everybody, and what it needs is where it looks for it."""
    for path, root in (("task", ""), ("builds", ""), ("builds/bp/%3Cscript%3E", "../../")):
        answer = await server.get(path, user(ALICE))
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "<script>" not in answer.text
        assert not re.search(r"<style|\sstyle=|\son\w+=|https?:", answer.text)
        for address in re.findall(r'(?:src|href)="([^"]+)"', answer.text):
            assert address.startswith(f"{root}static/")
            file = await server.get(address.removeprefix(root), user(ALICE))
            assert file.status_code == 200


def test_files_call_nowhere() -> None:
    """No file of the pages names another site, or turns text into markup."""
    files = resources.files("airflow_provider_buildpixel.plugins").joinpath("static")
    for file in files.iterdir():
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(
            r"//[a-z0-9.-]+\.[a-z]{2,}|\beval\(|innerHTML|insertAdjacent|write\(", text
        )


async def test_the_tab(server: Server, tasks: Tasks) -> None:
    """Who may read a Dag sees the build of its task."""
    build_id = tasks.pushed(message="Add a map")
    tasks.sandbox.set_status(build_id, "running")
    tasks.sandbox.log(build_id, "*** COMPILING ... ***")
    place = tasks.holding("ours", build_id)
    answer = await server.get(f"data/task?{place.query}&map_index={{MAP_INDEX}}", user(ALICE))
    shown = answer.json()
    assert (shown["id"], shown["status"], shown["connection"]) == (build_id, "running", "bp")
    assert shown["message"] == "Add a map"
    assert shown["phases"][1]["state"] == "now"
    assert [bar["id"] for bar in shown["history"]["bars"]] == [build_id]
    assert tasks.sandbox.token not in answer.text


async def test_the_tab_of_another_dag(server: Server, tasks: Tasks) -> None:
    """Who may not read the Dag learns nothing, and BuildPixel is not asked."""
    build_id = tasks.pushed()
    place = tasks.holding("ours", build_id)
    refused = await server.get(f"data/task?{place.query}", user(BOB))
    unknown = await server.get("data/task?dag_id=no&run_id=no&task_id=no", user(BOB))
    assert refused.status_code == unknown.status_code == 404
    assert refused.text == unknown.text
    assert (await server.post(f"data/task?{place.query}", user(BOB))).status_code == 404
    assert reads(tasks.sandbox) == 0


async def test_tabs_without_a_build(server: Server, tasks: Tasks) -> None:
    """A task that has no build yet, or never will, says so."""
    place = tasks.holding("ours")
    early = (await server.get(f"data/task?{place.query}", user(ALICE))).json()
    assert (early["kind"], early["again"] is None) == ("waiting", False)
    tasks.end(place, "failed")
    over = (await server.get(f"data/task?{place.query}", user(ALICE))).json()
    assert "ended before it had a build" in over["message"]
    other = TaskInstanceKey("ours", place.run_id, "other")
    found = (await server.get(f"data/task?{other.query}", user(ALICE))).json()
    assert "no BuildPixel build" in found["message"]
    gone = TaskInstanceKey("ours", "no such run", "build")
    found = (await server.get(f"data/task?{gone.query}", user(ALICE))).json()
    assert "no such task instance" in found["message"]
    assert (await server.get("data/task", user(ALICE))).status_code == 404


async def test_mapped_tasks(server: Server, tasks: Tasks) -> None:
    """Each instance of a mapped task has its own build."""
    run_id = tasks.runs("ours")
    builds = {}
    for index in (0, 1):
        place = TaskInstanceKey("ours", run_id, "mapped", index)
        builds[index] = tasks.pushed(branch=f"topic-{index}")
        tasks.keep(place, tasks.record(place, builds[index]).to_json())
        shown = (await server.get(f"data/task?{place.query}", user(ALICE))).json()
        assert shown["id"] == builds[index]


async def test_the_page(server: Server, tasks: Tasks) -> None:
    """A build's own page needs a task of a Dag that the viewer may read, named or not."""
    build_id = tasks.pushed()
    place = tasks.holding("ours", build_id)
    for query in (f"?{place.query}", ""):
        seen = await server.get(f"data/builds/bp/{build_id}{query}", user(ALICE))
        assert seen.json()["id"] == build_id
        hidden = await server.get(f"data/builds/bp/{build_id}{query}", user(BOB))
        missing = await server.get(f"data/builds/bp/nosuchbuild{query}", user(BOB))
        assert hidden.status_code == missing.status_code == 404
        assert hidden.text == missing.text


async def test_another_build_under_the_name_of_a_task(server: Server, tasks: Tasks) -> None:
    """The task that an address names must have that build, over that connection."""
    ours, theirs = tasks.pushed(branch="a"), tasks.pushed(branch="b")
    place = tasks.holding("ours", ours)
    tasks.holding("theirs", theirs)
    for path in (f"bp/{theirs}", f"other/{ours}"):
        answer = await server.get(f"data/builds/{path}?{place.query}", user(ALICE))
        assert answer.status_code == 404
    assert reads(tasks.sandbox) == 0


async def test_who_may_edit_the_connection(server: Server, tasks: Tasks) -> None:
    """A build that no task has is shown to those who may edit the connection only."""
    build_id = tasks.pushed()
    assert (await server.get(f"data/builds/bp/{build_id}", user(OPERATOR))).json()["id"] == build_id
    assert (await server.get(f"data/builds/bp/{build_id}", user(ALICE))).status_code == 404


async def test_a_connection_of_another_type(
    server: Server, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The password of a connection that is none of ours is sent nowhere."""
    uri = connection(tasks.sandbox).replace("buildpixel://", "postgres://")
    monkeypatch.setenv("AIRFLOW_CONN_DATABASE", uri)
    answer = await server.get(f"data/builds/database/{tasks.pushed()}", user(OPERATOR))
    assert answer.status_code == 404
    assert reads(tasks.sandbox) == 0


async def test_forged_records(
    server: Server, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may write XComs, but has not got the token, ties no other build to a task."""
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", connection(tasks.sandbox, tasks.sandbox.viewer_token))
    ours, theirs = tasks.pushed(branch="a"), tasks.pushed(branch="b")
    place = tasks.holding("ours", ours)
    genuine = tasks.record(place, ours).to_json()
    elsewhere = tasks.record(tasks.holding("theirs", theirs), theirs).to_json()
    for forged in (genuine | {"build_id": theirs}, genuine | {"conn_id": "other"}, elsewhere):
        tasks.keep(place, forged)
        answer = await server.get(f"data/task?{place.query}", user(ALICE))
        assert answer.json()["kind"] == "none"
        assert (await server.post(f"data/task?{place.query}", user(ALICE))).json().get(
            "url"
        ) is None
        build = f"{forged['conn_id']}/{forged['build_id']}"
        for query in (f"?{place.query}", ""):
            answer = await server.get(f"data/builds/{build}{query}", user(ALICE))
            assert answer.status_code == 404
    assert reads(tasks.sandbox) == 0


async def test_a_replaced_token(
    server: Server, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a replaced token the record proves nothing; who may edit the connection still sees."""
    build_id = tasks.pushed()
    place = tasks.holding("ours", build_id)
    monkeypatch.setenv("AIRFLOW_CONN_BP", connection(tasks.sandbox, tasks.sandbox.viewer_token))
    shown = (await server.get(f"data/task?{place.query}", user(ALICE))).json()
    assert "was replaced" in shown["message"]
    shown = (await server.get(f"data/task?{place.query}", user(OPERATOR))).json()
    assert shown["id"] == build_id


async def test_a_connection_that_is_gone(
    server: Server, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its connection a build cannot be shown, and that is all that is said."""
    build_id = tasks.pushed()
    place = tasks.holding("ours", build_id)
    for value in (None, "buildpixel://:token%20with%20spaces@127.0.0.1:9"):
        if value is None:
            monkeypatch.delenv("AIRFLOW_CONN_BP")
        else:
            monkeypatch.setenv("AIRFLOW_CONN_BP", value)
        answer = await server.get(f"data/task?{place.query}", user(ALICE))
        assert "is not there, or cannot be used" in answer.json()["message"]
        assert "spaces" not in answer.text
        answer = await server.get(f"data/builds/bp/{build_id}", user(OPERATOR))
        assert answer.status_code == 404


async def test_the_download(server: Server, tasks: Tasks, caplog: pytest.LogCaptureFixture) -> None:
    """The signed address is made when it is asked for, for those who see the build, unlogged."""
    caplog.set_level(logging.DEBUG)
    build_id = tasks.pushed()
    tasks.sandbox.set_status(build_id, "complete")
    place = tasks.holding("ours", build_id)
    for path in (f"data/task?{place.query}", f"data/builds/bp/{build_id}"):
        assert "url" not in (await server.get(path, user(ALICE))).json()
        made = (await server.post(path, user(ALICE))).json()["url"]
        assert made.startswith(tasks.sandbox.store_url)
        assert made.split("?")[1] not in caplog.text
        assert (await server.post(path, user(BOB))).status_code == 404
    assert tasks.sandbox.token not in caplog.text


async def test_no_artifact(server: Server, tasks: Tasks) -> None:
    """An artifact that is gone is said to be; trouble is told, and no token with it."""
    build_id = tasks.pushed()
    tasks.sandbox.set_status(build_id, "complete")
    place = tasks.holding("ours", build_id)
    tasks.sandbox.remove_artifact(build_id)
    answer = await server.post(f"data/task?{place.query}", user(ALICE))
    assert (answer.status_code, "retention" in answer.json()["message"]) == (404, True)
    tasks.sandbox.fault("500", "GET /builds/:id/download")
    answer = await server.post(f"data/task?{place.query}", user(ALICE))
    assert (answer.status_code, answer.json()["kind"]) == (502, "trouble")


async def test_hostile_strings(server: Server, tasks: Tasks) -> None:
    """Markup from BuildPixel stays text, in an answer that nobody takes for anything but JSON."""
    markup = "<script>alert(1)</script>"
    build_id = tasks.pushed(message=markup, branch=markup)
    tasks.sandbox.log(build_id, f"{markup}\u202e\x1b]0;x\x07", "error")
    tasks.sandbox.set_status(build_id, "failed")
    place = tasks.holding("ours", build_id)
    answer = await server.get(f"data/task?{place.query}", user(ALICE))
    assert answer.headers["content-type"] == "application/json"
    shown = answer.json()
    assert shown["message"] == markup
    assert shown["log"][0][2].startswith(markup)
    assert not {"\u202e", "\x1b"} & set(shown["log"][0][2] + shown["failure"]["errors"][0])


async def test_a_superseded_build(server: Server, tasks: Tasks) -> None:
    """A superseded build names the one that took its place."""
    build_id = tasks.pushed()
    place = tasks.holding("ours", build_id)
    newer = tasks.pushed()
    shown = (await server.get(f"data/task?{place.query}", user(ALICE))).json()
    assert (shown["status"], shown["newer"]["id"]) == ("superseded", newer)


async def test_trouble(server: Server, tasks: Tasks) -> None:
    """While BuildPixel cannot be asked, the page says so; lists that fail are left out."""
    build_id = tasks.pushed()
    place = tasks.holding("ours", build_id)
    tasks.sandbox.fault("500", "GET /builds", times=1)
    shown = (await server.get(f"data/task?{place.query}", user(ALICE))).json()
    assert [bar["id"] for bar in shown["history"]["bars"]] == [build_id]
    other = tasks.holding("theirs", tasks.pushed(branch="b"))
    tasks.sandbox.fault("500", "GET /builds/:id")
    answer = await server.get(f"data/task?{other.query}", user(BOB))
    assert answer.json()["kind"] == "trouble"
    assert tasks.sandbox.token not in answer.text


async def test_many_viewers(server: Server, tasks: Tasks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many who look at a build at once cause one read of it, and one of the list."""
    # "At once" lasts as long as the machine needs for so many requests.
    monkeypatch.setattr("airflow_provider_buildpixel.plugins.build_reader.LIVE_TTL", 60.0)
    build_id = tasks.pushed()
    path = f"data/task?{tasks.holding('ours', build_id).query}"
    answers = await asyncio.gather(*(server.get(path, user(ALICE)) for _ in range(30)))
    assert {answer.json()["id"] for answer in answers} == {build_id}
    assert (reads(tasks.sandbox), reads(tasks.sandbox, "GET /builds")) == (1, 1)


async def test_the_list(server: Server, tasks: Tasks) -> None:
    """The list has the builds of Dags that the viewer may read: waited for, and over."""
    live, over, theirs = (tasks.pushed(branch=name) for name in ("a", "b", "c"))
    tasks.sandbox.set_status(live, "running")
    run_id = tasks.runs("ours")
    for task_id, build_id in (("build", live), ("other", over)):
        place = TaskInstanceKey("ours", run_id, task_id)
        tasks.keep(place, tasks.record(place, build_id).to_json())
    tasks.end(TaskInstanceKey("ours", run_id, "other"), "success")
    tasks.holding("theirs", theirs)
    shown = (await server.get("data/builds", user(ALICE))).json()
    waited = {row["build"]: row for row in shown["waited"] if row["task"]["run_id"] == run_id}
    recent = {row["build"]: row for row in shown["recent"] if row["task"]["run_id"] == run_id}
    assert set(waited) == {live}
    assert set(recent) == {over}
    assert (waited[live]["status"], waited[live]["tone"]) == ("running", "live")
    assert recent[over]["task"]["state"] == "success"
    assert theirs not in str(shown)
    seen = (await server.get(f"data/{waited[live]['page']}", user(ALICE))).json()
    assert seen["id"] == live


async def test_the_list_in_trouble(server: Server, tasks: Tasks) -> None:
    """The list does without the statuses that it cannot have, and with no forged record."""
    build_id = tasks.pushed()
    place = tasks.holding("ours", build_id)
    tasks.sandbox.fault("500", "GET /builds/:id")
    rows = (await server.get("data/builds", user(ALICE))).json()["waited"]
    assert [row.get("status") for row in rows if row["build"] == build_id] == [None]
    tasks.sandbox.heal()
    other = tasks.pushed(branch="b")
    tasks.keep(place, tasks.record(place, build_id).to_json() | {"build_id": other})
    before = reads(tasks.sandbox)
    rows = (await server.get("data/builds", user(ALICE))).json()["waited"]
    assert [row.get("status") for row in rows if row["build"] == other] == [None]
    assert reads(tasks.sandbox) == before
