from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given

from airflow_provider_buildpixel.api import fields
from airflow_provider_buildpixel.api.endpoints import Page, trigger_build
from airflow_provider_buildpixel.api.model import (
    Artifact,
    Build,
    BuildSetting,
    Identity,
    Project,
    Status,
)
from airflow_provider_buildpixel.exceptions import UnexpectedAnswer
from tests.strategies import EXAMPLES, JSON, OBJECTS

if TYPE_CHECKING:
    from collections.abc import Callable

MODELS: tuple[Callable[[Any], object], ...] = (
    Artifact.from_json,
    Build.from_json,
    BuildSetting.from_json,
    trigger_build("p", "s").parse,
    Identity.from_json,
    Project.from_json,
)


@pytest.mark.parametrize("parse", MODELS, ids=lambda parse: str(parse.__qualname__))
@EXAMPLES
@given(data=JSON | OBJECTS)
def test_any_json_is_a_value_or_an_unexpected_answer(
    parse: Callable[[Any], object], data: Any
) -> None:
    """Parsing any JSON returns the value or raises UnexpectedAnswer."""
    with suppress(UnexpectedAnswer):
        assert parse(data)


@EXAMPLES
@given(JSON)
def test_any_json_is_a_page_or_an_unexpected_answer(data: Any) -> None:
    """Parsing any JSON as a list returns a page or raises UnexpectedAnswer."""
    try:
        page = Page.from_json(data, Build.from_json, "builds")
    except UnexpectedAnswer:
        return
    assert all(isinstance(build, Build) for build in page.items)


@pytest.mark.parametrize(
    ("read", "value", "expected"),
    [
        (fields.text, "x", "x"),
        (fields.text, 7, "7"),
        (fields.text, True, None),
        (fields.text, 1.5, None),
        (fields.boolean, True, True),
        (fields.boolean, "true", False),
        (fields.number, "1.5", 1.5),
        (fields.number, True, None),
        (fields.number, [], None),
        (fields.number, "x", None),
        (fields.number, 10**400, None),
        (fields.number, float("nan"), None),
        (fields.integer, 2**60 + 1, 2**60 + 1),
        (fields.integer, "12.0", 12),
        (fields.integer, True, None),
        (fields.integer, None, None),
        (
            fields.timestamp,
            "2026-05-10T14:23:45.123Z",
            datetime(2026, 5, 10, 14, 23, 45, 123000, UTC),
        ),
        (fields.timestamp, "2026-05-10T16:23:45+02:00", datetime(2026, 5, 10, 14, 23, 45, 0, UTC)),
        (fields.timestamp, "2026-05-10T14:23:45", datetime(2026, 5, 10, 14, 23, 45, 0, UTC)),
        (fields.timestamp, "0001-01-01T00:00:00+14:00", None),
        (fields.timestamp, "soon", None),
        (fields.timestamp, 5, None),
        (fields.json_type, {}, "an object"),
        (fields.json_type, None, "null"),
        (fields.json_type, 1.5, "a number"),
        (fields.camel, "build_type", "buildType"),
        (fields.camel, "buildType", "buildType"),
        (fields.request_body, {"ue_version": "5.4", "branch": None}, {"ueVersion": "5.4"}),
    ],
)
def test_field(read: Callable[[Any], object], value: Any, expected: object) -> None:
    """A field of the right type is returned; anything else counts as missing."""
    assert read(value) == expected


@pytest.mark.parametrize(
    ("status", "terminal", "succeeded", "superseded", "queued"),
    [
        ("pending", False, False, False, True),
        ("running", False, False, False, False),
        ("complete", True, True, False, False),
        ("failed", True, False, False, False),
        ("superseded", True, False, True, False),
        ("made-up", False, False, False, False),
    ],
)
def test_status_properties(
    status: str, *, terminal: bool, succeeded: bool, superseded: bool, queued: bool
) -> None:
    """Only the documented terminal statuses are terminal, and only complete is a success."""
    known = Status(status)
    assert (known.terminal, known.succeeded) == (terminal, succeeded)
    assert (known.superseded, known.queued) == (superseded, queued)


def test_build_fields() -> None:
    """A build's documented fields are parsed, and milliseconds become seconds."""
    build = Build.from_json(
        {
            "id": "b1",
            "status": "complete",
            "platform": "Win64",
            "buildType": "Shipping",
            "branch": "main",
            "durationMs": 1500,
            "createdAt": "2026-05-10T14:23:45.123Z",
            "autoDeployStatus": "done",
        }
    )
    assert build.title == "build b1 (Win64 Shipping on main)"
    assert build.raw["autoDeployStatus"] == "done"
    facts = build.facts("https://page")
    assert facts["duration_seconds"] == 1.5
    assert facts["created_at"] == "2026-05-10T14:23:45.123000+00:00"
    assert facts["finished_at"] is None
    assert Build("b2", Status("x\n\x1b[1m")).title == "build b2"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"changelist": 1234}, "1234"),
        ({"perforceChangelist": "1234"}, "1234"),
        ({"change": {"id": 1234}}, "1234"),
        ({"cl": {"number": "1234"}}, "1234"),
        ({"changelist": None, "p4_change": 9}, "9"),
        ({"changelistDescription": "fix the door", "changelist": 9}, "9"),
        ({"changelist": "@label"}, "@label"),
        ({"commitMessage": "change"}, None),
    ],
)
def test_changelist_field(raw: dict[str, Any], expected: str | None) -> None:
    """A changelist is found under every key that could mean one."""
    assert Build.from_json({"id": "b", "status": "running", **raw}).changelist == expected


def test_titles_and_roles() -> None:
    """Titles contain the readable names; only a viewer cannot trigger builds."""
    assert BuildSetting("s", "Win64", None, None, "//main").title == "s (Win64 //main)"
    assert BuildSetting("s").title == "s"
    assert Project("p", "Game").title == "p (Game)"
    assert Project("p").title == "p"
    assert not Identity.from_json({"membership": {"role": "viewer"}}).can_trigger
    assert Identity.from_json({"membership": None}).can_trigger
    assert Artifact.from_json({"url": "u", "sizeBytes": "12"}).size_bytes == 12


def test_null_list() -> None:
    """A null list counts as empty; a response without a list is rejected."""
    assert fields.items({"items": None, "nextCursor": None}, "builds") == []
    with pytest.raises(UnexpectedAnswer):
        fields.items({"nextCursor": None}, "builds")
    with pytest.raises(UnexpectedAnswer):
        fields.items(None, "builds")
