"""Requests and responses where the documentation is unspecific."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_buildpixel.api.endpoints import (
    get_build,
    trigger_build,
    update_build_setting,
)
from airflow_provider_buildpixel.exceptions import UnexpectedAnswer


@pytest.mark.parametrize(
    ("given", "sent"),
    [(41234, "41234"), ("41234", "41234"), (" 41234 ", "41234"), ("@head", "@head"), (None, None)],
)
def test_changelist_in_the_body(given: str | int | None, sent: str | None) -> None:
    """A changelist is sent as text, also if it was given as a number."""
    body = trigger_build("p", "s", changelist=given).body
    assert body is not None
    assert body.get("changelist") == sent


@pytest.mark.parametrize(("answer", "found"), [(None, None), ({"ok": True}, None), ([], None)])
def test_change_without_object_in_the_response(answer: Any, found: None) -> None:
    """A change succeeds if its response does not contain the changed object."""
    assert update_build_setting("p", "s", {}).parse(answer) is found


def test_change_with_object_in_the_response() -> None:
    """A change returns the object that its response contains."""
    changed = update_build_setting("p", "s", {}).parse({"id": "s", "platform": "Mac"})
    assert changed is not None
    assert changed.platform == "Mac"


@pytest.mark.parametrize("more", [{}, {"status": "queued", "projectId": "other"}])
def test_started_build(more: dict[str, Any]) -> None:
    """Both forms of the response to a trigger request give a pending build of the setting."""
    build = trigger_build("p", "s").parse({"buildId": "b", **more})
    assert (build.id, build.project_id, build.build_setting_id) == ("b", "p", "s")
    assert build.status.queued
    assert build.raw == {"buildId": "b", **more}


def test_number_is_not_a_build_id() -> None:
    """A number in place of a build id is rejected: a wait for it would never end."""
    with pytest.raises(UnexpectedAnswer, match="buildId"):
        trigger_build("p", "s").parse({"buildId": 24, "status": "pending"})


def test_response_about_another_build() -> None:
    """A response about another build is rejected: its end must not end the wait."""
    with pytest.raises(UnexpectedAnswer, match="about build other"):
        get_build("ours").parse({"id": "other", "status": "complete"})
    assert get_build(" ours ").parse({"id": "ours", "status": "complete"}).status == "complete"
