"""What requests send and answers hold where the documentation is silent."""

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
    [(41234, 41234), ("41234", 41234), (" 41234 ", 41234), ("@head", "@head"), (None, None)],
)
def test_a_changelist(given: str | int | None, sent: str | int | None) -> None:
    """A changelist goes out as a number, also when a template made text of it."""
    body = trigger_build("p", "s", changelist=given).body
    assert body is not None
    assert body.get("changelist") == sent


@pytest.mark.parametrize(("answer", "found"), [(None, None), ({"ok": True}, None), ([], None)])
def test_a_change_without_an_object(answer: Any, found: None) -> None:
    """A change whose answer does not hold the object is no error: it was made."""
    assert update_build_setting("p", "s", {}).parse(answer) is found


def test_a_change_with_its_object() -> None:
    """A change whose answer holds the object gives it."""
    changed = update_build_setting("p", "s", {}).parse({"id": "s", "platform": "Mac"})
    assert changed is not None
    assert changed.platform == "Mac"


def test_a_build_by_a_number() -> None:
    """A number where the id should be is no id: whoever believed it would wait for nothing."""
    with pytest.raises(UnexpectedAnswer, match="buildId"):
        trigger_build("p", "s").parse({"buildId": 24, "status": "pending"})


def test_another_build() -> None:
    """An answer about another build than the one asked for is none: its end is not ours."""
    with pytest.raises(UnexpectedAnswer, match="about build other"):
        get_build("ours").parse({"id": "other", "status": "complete"})
    assert get_build(" ours ").parse({"id": "ours", "status": "complete"}).status == "complete"
