from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_buildpixel.api.model import BuildSetting, Project
from airflow_provider_buildpixel.builds.lookup import (
    CANDIDATES_SHOWN,
    checked_project,
    find_project,
    find_setting,
    looks_like_id,
    parse_selector,
)
from airflow_provider_buildpixel.builds.request import may_be_same_branch, same_branch
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
def test_like_an_id(text: str, *, expected: bool) -> None:
    """An id has 24 URL-safe characters."""
    assert looks_like_id(text) is expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Game", ID), ("p2", "p2"), (ID, ID), ("A name of 24 characters.", "p6")],
)
def test_a_project_by_name_or_id(name: str, expected: str) -> None:
    """A project is found by its exact name or id; an id wins over another's name."""
    assert find_project(name, PROJECTS).id == expected


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("Twin", InvalidRequest, r"2 BuildPixel projects .* p3 \(Twin\), p4 \(Twin\)"),
        ("game", NotFound, r"no BuildPixel project .* p2 \(Shooter\)"),
    ],
)
def test_no_one_project(name: str, kind: type[Exception], said: str) -> None:
    """A name that fits none or several is refused with the candidates."""
    with pytest.raises(kind, match=said):
        find_project(name, PROJECTS)


@pytest.mark.parametrize(("count", "said"), [(0, "none"), (CANDIDATES_SHOWN + 2, "and 2 more")])
def test_candidates_are_few(count: int, said: str) -> None:
    """A list of candidates stays short, and is never empty."""
    with pytest.raises(NotFound, match=said):
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
    ("wanted", "expected"),
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
def test_a_setting_by_its_fields(wanted: dict[str, Any], expected: str) -> None:
    """A setting is found by any of its fields, in either spelling and as templates render them."""
    assert find_setting(wanted, SETTINGS).id == expected


@pytest.mark.parametrize(
    ("wanted", "kind", "said"),
    [
        ({}, InvalidRequest, "is empty"),
        ({"branch": "main"}, InvalidRequest, "3 build settings fit branch='main'"),
        ({"platform": "None"}, NotFound, "no build setting fits"),
        ({"ueVersion": 5.5}, NotFound, "no build setting fits"),
        ({"tags": ["b"]}, NotFound, "no build setting fits"),
        ({"x": "None"}, NotFound, "no build setting fits"),
    ],
)
def test_no_one_setting(wanted: dict[str, Any], kind: type[Exception], said: str) -> None:
    """Fields that fit none or several settings are refused with the candidates."""
    with pytest.raises(kind, match=said):
        find_setting(wanted, SETTINGS)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"platform": "Win64"}, {"platform": "Win64"}),
        (' {"platform": "Win64"} ', {"platform": "Win64"}),
        (" s1 ", {"id": "s1"}),
        ("", {}),
        (None, {}),
    ],
)
def test_a_selector(wanted: Any, expected: dict[str, Any]) -> None:
    """A DAG author gives fields, fields as JSON, or an id."""
    assert parse_selector(wanted) == expected


def test_a_broken_selector() -> None:
    """A template that rendered to broken JSON is refused."""
    with pytest.raises(InvalidRequest, match="no JSON object"):
        parse_selector("{'platform': 'Win64'}")


@pytest.mark.parametrize(
    ("one", "other", "same", "maybe"),
    [
        ("main", "main", True, True),
        ("refs/heads/main", "main", True, True),
        ("main", "next", False, False),
        ("//depot/Main", "main", False, True),
        ("feature/main", "main", False, True),
    ],
)
def test_branches(one: str, other: str, *, same: bool, maybe: bool) -> None:
    """A branch may be spelt as a reference; what only ends alike may be the same."""
    assert (same_branch(one, other), may_be_same_branch(other, one)) == (same, maybe)


@pytest.mark.parametrize(("wanted", "text"), [(" MyGame ", "MyGame"), (12, "12")])
def test_project_wanted(wanted: Any, text: str) -> None:
    """A template may give an id as a number."""
    assert checked_project(wanted) == text


@pytest.mark.parametrize("wanted", [None, "", " ", "None", ["MyGame"], True])
def test_no_project_wanted(wanted: Any) -> None:
    """What a template makes of nothing is no project."""
    with pytest.raises(InvalidRequest, match="project is"):
        checked_project(wanted)
