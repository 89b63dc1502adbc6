"""Every unspecified point of the REST API, with each of its values."""

from __future__ import annotations

import base64
import binascii
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_buildpixel.sandbox import Variants
from tests.sandbox.clients import push_build

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.sandbox import Sandbox

    StartVariant = Callable[..., tuple[Sandbox, Any]]


def each_value(name: str) -> pytest.MarkDecorator:
    """Parametrize a test with all values of one point."""
    return pytest.mark.parametrize(name, Variants.points()[name])


@each_value("settings_list")
def test_settings_list(start_variant: StartVariant, settings_list: str) -> None:
    """Build settings are listed as a page or as a bare list."""
    sandbox, api = start_variant(settings_list=settings_list)
    listed = api.get(f"/projects/{sandbox.settings('MyGame')[0]['projectId']}/build-settings")
    items = listed if settings_list == "list" else listed["items"]
    assert items == sandbox.settings("MyGame")


@each_value("project_settings")
def test_project_settings(start_variant: StartVariant, project_settings: str) -> None:
    """A project has its build settings in one of several fields, or not."""
    sandbox, api = start_variant(project_settings=project_settings)
    detail = api.get(f"/projects/{sandbox.settings('MyGame')[0]['projectId']}")
    found = detail.get("buildSettings" if project_settings == "page" else project_settings)
    expected: Any = sandbox.settings("MyGame")
    if project_settings == "page":
        expected = {"items": expected, "nextCursor": None}
    assert found == (None if project_settings == "none" else expected)


@each_value("project_uproject")
def test_project_uproject(start_variant: StartVariant, project_uproject: str) -> None:
    """A project has its .uproject in one of several fields, or not."""
    sandbox, api = start_variant(project_uproject=project_uproject)
    detail = api.get(f"/projects/{sandbox.settings('MyGame')[0]['projectId']}")
    assert (project_uproject in detail) == (project_uproject != "none")
    assert ("MyGame.uproject" in str(detail)) == (project_uproject != "none")


@pytest.mark.parametrize(
    ("body", "status"),
    list(product(Variants.points()["trigger_answer"], Variants.points()["trigger_status"])),
)
def test_trigger(start_variant: StartVariant, body: str, status: int) -> None:
    """A trigger responds with more or fewer fields, and with one of three statuses."""
    _, api = start_variant(trigger_answer=body, trigger_status=status)
    response = api.trigger()
    assert response.status_code == status
    assert {"buildId", "status"} <= set(response.json())
    assert len(response.json()) == {"long": 4, "short": 2, "build": 15}[body]


@each_value("strict_bodies")
def test_strict_bodies(start_variant: StartVariant, strict_bodies: str) -> None:
    """Unknown fields of a request body are ignored or rejected."""
    _, api = start_variant(strict_bodies=strict_bodies)
    assert api.trigger(colour="red").status_code == (400 if strict_bodies == "yes" else 202)


@each_value("plan_limit")
def test_plan_limit(start_variant: StartVariant, plan_limit: str) -> None:
    """Used-up build minutes result in one of several errors, never with Retry-After."""
    sandbox, api = start_variant(plan_limit=plan_limit)
    sandbox.set_minutes(0)
    response = api.trigger()
    assert f"{response.status_code} {response.json()['error']}" == plan_limit
    assert "Retry-After" not in response.headers


@each_value("setup_refusal")
def test_setup_refusal(start_variant: StartVariant, setup_refusal: int) -> None:
    """An inaccessible repository results in one of several statuses, always with its code."""
    sandbox, api = start_variant(setup_refusal=setup_refusal)
    sandbox.set_accessible("MyGame", accessible=False)
    response = api.trigger()
    assert (response.status_code, response.json()["error"]) == (
        setup_refusal,
        "repo_not_accessible",
    )


@pytest.mark.parametrize(
    ("field", "shape"),
    list(product(Variants.points()["log_field"], Variants.points()["log_shape"])),
)
def test_logs(start_variant: StartVariant, field: str, shape: str) -> None:
    """Recent log lines are in one of several fields and shapes, or not included."""
    sandbox, api = start_variant(log_field=field, log_shape=shape)
    build_id = push_build(sandbox)
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


@each_value("open_fields")
def test_open_fields(start_variant: StartVariant, open_fields: str) -> None:
    """Before the end, finishedAt and durationMs are null or absent; afterwards they are set."""
    sandbox, api = start_variant(open_fields=open_fields)
    build_id = push_build(sandbox)
    for name in ("finishedAt", "durationMs"):
        assert (name in api.get(f"/builds/{build_id}")) == (open_fields == "null")
    sandbox.set_status(build_id, "complete")
    assert api.get(f"/builds/{build_id}")["finishedAt"].endswith("Z")


@each_value("commit_echo")
def test_commit_echo(start_variant: StartVariant, commit_echo: str) -> None:
    """An abbreviated commit is returned in full, or as given."""
    sandbox, api = start_variant(commit_echo=commit_echo)
    build_id = api.trigger(commit="0123abc").json()["buildId"]
    commit = api.get(f"/builds/{build_id}")["commit"]
    assert len(commit) == (40 if commit_echo == "full" else 7)
    assert commit.startswith("0123abc")
    assert len(api.get(f"/builds/{push_build(sandbox)}")["commit"]) == 40


@pytest.mark.parametrize(
    ("field", "kind"),
    list(product(Variants.points()["changelist_field"], Variants.points()["changelist_type"])),
)
def test_changelist(start_variant: StartVariant, field: str, kind: str) -> None:
    """A Perforce build has its changelist in one of several fields, as number or text."""
    sandbox, api = start_variant(changelist_field=field, changelist_type=kind)
    found = api.get(f"/builds/{push_build(sandbox, 'Shooter', changelist=77)}")[field]
    assert found == ("77" if kind == "str" or field == "commit" else 77)


@each_value("changelist_body")
def test_changelist_body(start_variant: StartVariant, changelist_body: str) -> None:
    """A trigger accepts a changelist as text, and as a number under one variant."""
    _, api = start_variant(changelist_body=changelist_body)
    as_text, as_number = (api.trigger("Shooter", changelist=one) for one in ("12345", 12345))
    assert as_text.status_code == 202
    assert api.get(f"/builds/{as_text.json()['buildId']}")["changelist"] == 12345
    if changelist_body == "any":
        assert as_number.status_code == 202
        assert api.get(f"/builds/{as_number.json()['buildId']}")["changelist"] == 12345
    else:
        assert (as_number.status_code, as_number.json()["error"]) == (400, "validation_failed")


@each_value("stream_field")
def test_stream(start_variant: StartVariant, stream_field: str) -> None:
    """A Perforce build has its stream as branch, as streamPath, as both, or not."""
    sandbox, api = start_variant(stream_field=stream_field)
    build = api.get(f"/builds/{push_build(sandbox, 'Shooter')}")
    found = (build["branch"], build.get("streamPath"))
    stream = "//shooter/main"
    expected = {
        "branch": (stream, None),
        "streamPath": (None, stream),
        "both": (stream, stream),
        "none": (None, None),
    }
    assert found == expected[stream_field]


@each_value("triggered_by")
def test_triggered_by(start_variant: StartVariant, triggered_by: str) -> None:
    """The author of a build triggered with a token is the token, or its user."""
    sandbox, api = start_variant(triggered_by=triggered_by)
    build = sandbox.build(api.trigger().json()["buildId"])
    assert build["triggeredBy"].startswith(f"{triggered_by}:")


@each_value("duration")
def test_duration(start_variant: StartVariant, duration: str) -> None:
    """The duration is that of the run, or includes the time in the queue."""
    sandbox, api = start_variant(duration=duration)
    sandbox.plan(queue=5, run=60)
    build_id = push_build(sandbox)
    sandbox.advance(100)
    found = api.get(f"/builds/{build_id}")["durationMs"]
    assert found == {"running": 60_000, "whole": 65_000}[duration]


@each_value("checksum")
def test_checksum(start_variant: StartVariant, checksum: str) -> None:
    """The checksum is in lower-case hex, upper-case hex, or base64."""
    sandbox, api = start_variant(checksum=checksum)
    build_id = push_build(sandbox)
    sandbox.set_status(build_id, "complete")
    text = api.get(f"/builds/{build_id}/download")["checksumMd5"]
    raw = base64.b64decode(text) if checksum == "base64" else binascii.unhexlify(text)
    assert len(raw) == 16
    assert text == {"hex": text.lower(), "HEX": text.upper(), "base64": text}[checksum]


@each_value("error_body")
def test_error_body(start_variant: StartVariant, error_body: str) -> None:
    """An error has its status, and one of several bodies or none."""
    _, api = start_variant(error_body=error_body)
    response = api("GET", "/builds/none")
    assert response.status_code == 404
    if error_body in {"empty", "html"}:
        assert response.text == "" if error_body == "empty" else "<html>" in response.text
        return
    body = response.json()
    code = body["error"]["code"] if error_body == "nested" else body["error"]
    assert code == "not_found"
    assert ("requestId" in body) == (error_body in {"full", "nested"})


@each_value("patch_answer")
def test_patch_answer(start_variant: StartVariant, patch_answer: str) -> None:
    """A PATCH responds with the object, or with 204; it takes effect either way."""
    sandbox, api = start_variant(patch_answer=patch_answer)
    path = f"/projects/{sandbox.settings('MyGame')[0]['projectId']}"
    response = api("PATCH", path, json={"name": "New"})
    assert (response.status_code, bool(response.content)) == {
        "object": (200, True),
        "nothing": (204, False),
    }[patch_answer]
    assert api.get(path)["name"] == "New"


@each_value("extra_fields")
def test_extra_fields(start_variant: StartVariant, extra_fields: str) -> None:
    """Objects have undocumented fields, or not."""
    sandbox, api = start_variant(extra_fields=extra_fields)
    assert ("labels" in api.get(f"/builds/{push_build(sandbox)}")) == (extra_fields == "some")
    assert ("labels" in api.get("/auth/me")) == (extra_fields == "some")


@each_value("markers")
def test_markers(start_variant: StartVariant, markers: str) -> None:
    """The phase markers in the log have details, or are exactly as documented."""
    sandbox, _ = start_variant(markers=markers)
    build_id = push_build(sandbox)
    sandbox.advance(100)
    log = [line.message for line in sandbox.world.builds[build_id].logs]
    documented = ("*** COMPILING ... ***", "LogCook: Cooking maps from path...")
    assert [each in log for each in documented] == [markers == "literal"] * 2


@each_value("signed_head")
def test_signed_head(start_variant: StartVariant, signed_head: str) -> None:
    """A signed URL is valid for HEAD and GET, or for GET only."""
    sandbox, api = start_variant(signed_head=signed_head)
    build_id = push_build(sandbox)
    sandbox.set_status(build_id, "complete")
    url = api.get(f"/builds/{build_id}/download")["url"]
    del api.session.headers["Authorization"]
    response = api.session.head(url, timeout=5)
    assert response.status_code == {"allowed": 200, "refused": 403}[signed_head]
