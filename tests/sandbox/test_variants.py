"""Every unspecified point of the contract, in each of its readings."""

from __future__ import annotations

import base64
import binascii
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_buildpixel.sandbox import Variants

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.sandbox import Sandbox

    Given = Callable[..., tuple[Sandbox, Any]]


def values(name: str) -> pytest.MarkDecorator:
    """Parametrize a test with the readings of one point."""
    return pytest.mark.parametrize(name, Variants.points()[name])


def pushed(sandbox: Sandbox, project: str = "MyGame", **kwargs: Any) -> str:
    """Queue a build."""
    return sandbox.push(sandbox.settings(project)[0]["id"], **kwargs)


@values("settings_list")
def test_settings_list(given: Given, settings_list: str) -> None:
    """Build settings are listed as a page or as a bare list."""
    sandbox, api = given(settings_list=settings_list)
    listed = api.get(f"/projects/{sandbox.settings('MyGame')[0]['projectId']}/build-settings")
    items = listed if settings_list == "list" else listed["items"]
    assert items == sandbox.settings("MyGame")


@values("project_settings")
def test_project_settings(given: Given, project_settings: str) -> None:
    """A project's detail has its build settings under some name, or not at all."""
    sandbox, api = given(project_settings=project_settings)
    detail = api.get(f"/projects/{sandbox.settings('MyGame')[0]['projectId']}")
    found = detail.get("buildSettings" if project_settings == "page" else project_settings)
    expected: Any = sandbox.settings("MyGame")
    if project_settings == "page":
        expected = {"items": expected, "nextCursor": None}
    assert found == (None if project_settings == "none" else expected)


@values("project_uproject")
def test_project_uproject(given: Given, project_uproject: str) -> None:
    """A project's detail tells of the .uproject under some name, or not at all."""
    sandbox, api = given(project_uproject=project_uproject)
    detail = api.get(f"/projects/{sandbox.settings('MyGame')[0]['projectId']}")
    assert (project_uproject in detail) == (project_uproject != "none")
    assert ("MyGame.uproject" in str(detail)) == (project_uproject != "none")


@pytest.mark.parametrize(
    ("form", "status"),
    list(product(Variants.points()["trigger_answer"], Variants.points()["trigger_status"])),
)
def test_trigger(given: Given, form: str, status: int) -> None:
    """A trigger is answered with more or fewer fields and one of three statuses."""
    _, api = given(trigger_answer=form, trigger_status=status)
    answer = api.trigger()
    assert answer.status_code == status
    assert {"buildId", "status"} <= set(answer.json())
    assert len(answer.json()) == {"long": 4, "short": 2, "build": 15}[form]


@values("strict_bodies")
def test_strict_bodies(given: Given, strict_bodies: str) -> None:
    """Unknown fields of a body are ignored or refused."""
    _, api = given(strict_bodies=strict_bodies)
    assert api.trigger(colour="red").status_code == (400 if strict_bodies == "yes" else 202)


@values("plan_limit")
def test_plan_limit(given: Given, plan_limit: str) -> None:
    """Used-up build minutes have one of several statuses and codes, and Retry-After never."""
    sandbox, api = given(plan_limit=plan_limit)
    sandbox.set_minutes(0)
    answer = api.trigger()
    assert f"{answer.status_code} {answer.json()['error']}" == plan_limit
    assert "Retry-After" not in answer.headers


@values("setup_refusal")
def test_setup_refusal(given: Given, setup_refusal: int) -> None:
    """A lost repository has one of several statuses and always its code."""
    sandbox, api = given(setup_refusal=setup_refusal)
    sandbox.set_accessible("MyGame", accessible=False)
    answer = api.trigger()
    assert (answer.status_code, answer.json()["error"]) == (setup_refusal, "repo_not_accessible")


@pytest.mark.parametrize(
    ("order", "last"),
    list(product(Variants.points()["builds_order"], Variants.points()["last_page"])),
)
def test_order_and_last_page(given: Given, order: str, last: str) -> None:
    """In any order, and with an empty last page or not, pages give each build once."""
    sandbox, api = given(builds_order=order, last_page=last)
    ids = [pushed(sandbox) for _ in range(12)]
    seen, pages, cursor = [], 0, None
    while True:
        page = api.get("/builds", limit=4, **({"cursor": cursor} if cursor else {}))
        seen += [build["id"] for build in page["items"]]
        pages, cursor = pages + 1, page["nextCursor"]
        if cursor is None:
            break
    assert sorted(seen) == ids
    assert pages == {"exact": 3, "empty": 4}[last]
    assert (seen == ids, seen == ids[::-1]) == (order == "oldest", order == "newest")


@values("list_items")
def test_list_items(given: Given, list_items: str) -> None:
    """Items of lists have all fields or the necessary ones."""
    sandbox, api = given(list_items=list_items)
    build_id = pushed(sandbox)
    item = api.get("/builds")["items"][0]
    assert (item["id"], item["status"]) == (build_id, "pending")
    assert ("commitMessage" in item) == (list_items == "full")
    assert "commitMessage" in api.get(f"/builds/{build_id}")


@pytest.mark.parametrize(
    ("field", "shape"),
    list(product(Variants.points()["log_field"], Variants.points()["log_shape"])),
)
def test_logs(given: Given, field: str, shape: str) -> None:
    """Recent log lines come under some name and in some shape, or not at all."""
    sandbox, api = given(log_field=field, log_shape=shape)
    build_id = pushed(sandbox)
    sandbox.log(build_id, "one")
    sandbox.log(build_id, "two", "error")
    found = api.get(f"/builds/{build_id}").get(field)
    if field == "none":
        assert found is None
        return
    objects = found["items"] if shape == "page" else found
    plain = {"strings": objects, "lines": found["lines"] if shape == "lines" else None}
    if shape == "string":
        assert found == "one\ntwo"
    elif shape in plain:
        assert plain[shape] == ["one", "two"]
    else:
        messages = [line["message"] for line in objects]
        assert messages == (["two", "one"] if shape == "newest-first" else ["one", "two"])


@values("open_fields")
def test_open_fields(given: Given, open_fields: str) -> None:
    """Before the end finishedAt and durationMs are null or absent, after it they are there."""
    sandbox, api = given(open_fields=open_fields)
    build_id = pushed(sandbox)
    for name in ("finishedAt", "durationMs"):
        assert (name in api.get(f"/builds/{build_id}")) == (open_fields == "null")
    sandbox.set_status(build_id, "complete")
    assert api.get(f"/builds/{build_id}")["finishedAt"].endswith("Z")


@values("commit_echo")
def test_commit_echo(given: Given, commit_echo: str) -> None:
    """An abbreviated commit is completed or comes back as it was given."""
    sandbox, api = given(commit_echo=commit_echo)
    build_id = api.trigger(commit="0123abc").json()["buildId"]
    commit = api.get(f"/builds/{build_id}")["commit"]
    assert len(commit) == (40 if commit_echo == "full" else 7)
    assert commit.startswith("0123abc")
    assert len(api.get(f"/builds/{pushed(sandbox)}")["commit"]) == 40


@pytest.mark.parametrize(
    ("field", "kind"),
    list(product(Variants.points()["changelist_field"], Variants.points()["changelist_type"])),
)
def test_changelist(given: Given, field: str, kind: str) -> None:
    """A Perforce build has its changelist under some name, as a number or as text."""
    sandbox, api = given(changelist_field=field, changelist_type=kind)
    found = api.get(f"/builds/{pushed(sandbox, 'Shooter', changelist=77)}")[field]
    assert found == ("77" if kind == "str" or field == "commit" else 77)


@values("stream_field")
def test_stream(given: Given, stream_field: str) -> None:
    """A Perforce build has its stream as branch, as streamPath, or as both."""
    sandbox, api = given(stream_field=stream_field)
    build = api.get(f"/builds/{pushed(sandbox, 'Shooter')}")
    found = (build["branch"], build.get("streamPath"))
    stream = "//shooter/main"
    expected = {"branch": (stream, None), "streamPath": (None, stream), "both": (stream, stream)}
    assert found == expected[stream_field]


@values("triggered_by")
def test_triggered_by(given: Given, triggered_by: str) -> None:
    """A build triggered with a token is by the token or by its user."""
    sandbox, api = given(triggered_by=triggered_by)
    build = sandbox.build(api.trigger().json()["buildId"])
    assert build["triggeredBy"].startswith(f"{triggered_by}:")


@values("duration")
def test_duration(given: Given, duration: str) -> None:
    """The duration is that of the run, or includes the queue."""
    sandbox, api = given(duration=duration)
    sandbox.plan(queue=5, run=60)
    build_id = pushed(sandbox)
    sandbox.advance(100)
    found = api.get(f"/builds/{build_id}")["durationMs"]
    assert found == {"running": 60_000, "whole": 65_000}[duration]


@values("checksum")
def test_checksum(given: Given, checksum: str) -> None:
    """The checksum is spelt in small letters, in capitals, or in base 64."""
    sandbox, api = given(checksum=checksum)
    build_id = pushed(sandbox)
    sandbox.set_status(build_id, "complete")
    text = api.get(f"/builds/{build_id}/download")["checksumMd5"]
    raw = base64.b64decode(text) if checksum == "base64" else binascii.unhexlify(text)
    assert len(raw) == 16
    assert text == {"hex": text.lower(), "HEX": text.upper(), "base64": text}[checksum]


@values("error_body")
def test_error_body(given: Given, error_body: str) -> None:
    """An error has its status and more or less of a body."""
    _, api = given(error_body=error_body)
    answer = api("GET", "/builds/none")
    assert answer.status_code == 404
    if error_body in {"empty", "html"}:
        assert answer.text == "" if error_body == "empty" else "<html>" in answer.text
        return
    body = answer.json()
    code = body["error"]["code"] if error_body == "nested" else body["error"]
    assert code == "not_found"
    assert ("requestId" in body) == (error_body in {"full", "nested"})


@values("patch_answer")
def test_patch_answer(given: Given, patch_answer: str) -> None:
    """A PATCH answers the object, or nothing with 204; it is carried out in any case."""
    sandbox, api = given(patch_answer=patch_answer)
    path = f"/projects/{sandbox.settings('MyGame')[0]['projectId']}"
    answer = api("PATCH", path, json={"name": "New"})
    assert (answer.status_code, bool(answer.content)) == {
        "object": (200, True),
        "nothing": (204, False),
    }[patch_answer]
    assert api.get(path)["name"] == "New"


@values("extra_fields")
def test_extra_fields(given: Given, extra_fields: str) -> None:
    """Objects have fields nobody heard of, or not."""
    sandbox, api = given(extra_fields=extra_fields)
    assert ("labels" in api.get(f"/builds/{pushed(sandbox)}")) == (extra_fields == "some")
    assert ("labels" in api.get("/auth/me")) == (extra_fields == "some")


@values("ids")
def test_ids(given: Given, ids: str) -> None:
    """Ids sort by time with either alphabet."""
    sandbox, _ = given(ids=ids)
    made = [pushed(sandbox) for _ in range(200)]
    assert made == sorted(made)
    assert {len(each) for each in made} == {24}
    assert (set("".join(made)) & set("-_") != set()) == (ids == "punctuated")


@values("markers")
def test_markers(given: Given, markers: str) -> None:
    """The phases are marked in the log with details, or just as documented."""
    sandbox, _ = given(markers=markers)
    build_id = pushed(sandbox)
    sandbox.advance(100)
    log = [line.message for line in sandbox.world.builds[build_id].logs]
    documented = ("*** COMPILING ... ***", "LogCook: Cooking maps from path...")
    assert [each in log for each in documented] == [markers == "literal"] * 2


@values("signed_head")
def test_signed_head(given: Given, signed_head: str) -> None:
    """A signed address is good for HEAD as well, or for GET only."""
    sandbox, api = given(signed_head=signed_head)
    build_id = pushed(sandbox)
    sandbox.set_status(build_id, "complete")
    url = api.get(f"/builds/{build_id}/download")["url"]
    del api.session.headers["Authorization"]
    answer = api.session.head(url, timeout=5)
    assert answer.status_code == {"allowed": 200, "refused": 403}[signed_head]
