from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_buildpixel.api.model import BuildSetting, Project
from airflow_provider_buildpixel.builds.lookup import (
    MAX_CANDIDATES,
    checked_project,
    find_project,
    find_setting,
    looks_like_id,
    parse_selector,
)
from airflow_provider_buildpixel.exceptions import InvalidRequest, NotFound

ID = "0123456789abcdefABCDEF-_"
PROJECTS = [
    Project(ID, "Game"),
    Project("p2", "Shooter"),
    Project("p3", "Twin"),
    Project("p4", "Twin"),
    Project("p5", ID),
    Project("p6", "A name of 24 characters."),
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ID, True),
        (ID[:-1], False),
        (ID + "x", False),
        ("A name of 24 characters.", False),
        ("", False),
    ],
)
def test_looks_like_id(text: str, *, expected: bool) -> None:
    """An id has 24 URL-safe characters."""
    assert looks_like_id(text) is expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Game", ID), ("p2", "p2"), (ID, ID), ("A name of 24 characters.", "p6")],
)
def test_a_project_by_name_or_id(name: str, expected: str) -> None:
    """A project is found by its exact name or id; an id takes precedence over a name."""
    assert find_project(name, PROJECTS).id == expected


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("Twin", InvalidRequest, r"2 BuildPixel projects .* p3 \(Twin\), p4 \(Twin\)"),
        ("game", NotFound, r"no BuildPixel project .* p2 \(Shooter\)"),
    ],
)
def test_no_unique_project(name: str, error: type[Exception], message: str) -> None:
    """A name that matches no project, or several, is an error that lists the candidates."""
    with pytest.raises(error, match=message):
        find_project(name, PROJECTS)


@pytest.mark.parametrize(("count", "message"), [(0, "none"), (MAX_CANDIDATES + 2, "and 2 more")])
def test_list_of_candidates_is_short(count: int, message: str) -> None:
    """A list of candidates is short, and never an empty text."""
    with pytest.raises(NotFound, match=message):
        find_project("x", [Project(str(number)) for number in range(count)])


SETTINGS = [
    BuildSetting.from_json({"id": identity, "branch": "main", **raw})
    for identity, raw in (
        (
            "s1",
            {"platform": "Win64", "buildType": "Shipping", "ueVersion": "5.4", "autoDeploy": True},
        ),
        ("s2", {"platform": "Win64", "buildType": "Development", "ueVersion": 5.3, "x": None}),
        ("s3", {"platform": "Linux", "buildType": "Shipping", "tags": ["a"], "changelist": 7}),
    )
]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"platform": "Linux"}, "s3"),
        ({"build_type": "Development"}, "s2"),
        ({"platform": "Win64", "BUILDTYPE": "Shipping"}, "s1"),
        ({"ueVersion": 5.4}, "s1"),
        ({"ue_version": "5.3"}, "s2"),
        ({"autoDeploy": "True"}, "s1"),
        ({"auto_deploy": True}, "s1"),
        ({"changelist": "7"}, "s3"),
        ({"tags": ["a"]}, "s3"),
        ({"id": "s2", "x": None}, "s2"),
    ],
)
def test_a_setting_by_its_fields(given: dict[str, Any], expected: str) -> None:
    """A setting is found by any field, in camel case or snake case, and with rendered values."""
    assert find_setting(given, SETTINGS).id == expected


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({}, InvalidRequest, "is empty"),
        ({"branch": "main"}, InvalidRequest, "3 build settings match branch='main'"),
        ({"platform": "None"}, NotFound, "no build setting matches"),
        ({"ueVersion": 5.5}, NotFound, "no build setting matches"),
        ({"tags": ["b"]}, NotFound, "no build setting matches"),
        ({"x": "None"}, NotFound, "no build setting matches"),
    ],
)
def test_no_unique_setting(given: dict[str, Any], error: type[Exception], message: str) -> None:
    """Fields that match no setting, or several, are an error that lists the candidates."""
    with pytest.raises(error, match=message):
        find_setting(given, SETTINGS)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"platform": "Win64"}, {"platform": "Win64"}),
        (' {"platform": "Win64"} ', {"platform": "Win64"}),
        (" s1 ", {"id": "s1"}),
        ("", {}),
        (None, {}),
    ],
)
def test_a_selector(given: Any, expected: dict[str, Any]) -> None:
    """A selector is a mapping of fields, such a mapping as JSON, or an id."""
    assert parse_selector(given) == expected


def test_an_invalid_selector() -> None:
    """A selector that is invalid JSON is an error."""
    with pytest.raises(InvalidRequest, match="not a JSON object"):
        parse_selector("{'platform': 'Win64'}")


@pytest.mark.parametrize(("given", "text"), [(" MyGame ", "MyGame"), (12, "12")])
def test_checked_project(given: Any, text: str) -> None:
    """A project id that a template rendered to a number is accepted."""
    assert checked_project(given) == text


@pytest.mark.parametrize("given", [None, "", " ", "None", ["MyGame"], True])
def test_checked_project_refuses_empty_values(given: Any) -> None:
    """An empty value, None or a value of another type is an error."""
    with pytest.raises(InvalidRequest, match="project is"):
        checked_project(given)
