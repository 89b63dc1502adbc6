from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from airflow_provider_buildpixel.api.model import Build, BuildSetting, Status
from airflow_provider_buildpixel.builds.request import (
    BuildFilter,
    BuildRequest,
    Match,
    branch_name,
    kind_of,
    kind_of_build,
    projects_without_lines,
    same_branch,
    same_commit,
)
from airflow_provider_buildpixel.exceptions import InvalidRequest
from tests.strategies import EXAMPLES, JSON, OBJECTS

BUILD = Build("b", Status("pending"), "p", "s", "Win64", "Shipping")
HASH = "0123456789abcdef0123456789abcdef01234567"
NO, MAYBE, YES = Match


@pytest.mark.parametrize(
    ("wanted", "reported", "strictly", "loosely"),
    [
        ({}, {}, YES, YES),
        ({}, {"branch": "main", "commit": HASH, "changelist": "7"}, YES, YES),
        # Ids and names that BuildPixel gives.
        ({"project_id": "p"}, {}, YES, YES),
        ({"project_id": "p"}, {"project_id": "q"}, NO, NO),
        ({"project_id": "p"}, {"project_id": None}, MAYBE, MAYBE),
        ({"build_setting_id": "s"}, {}, YES, YES),
        ({"build_setting_id": "s"}, {"build_setting_id": "t"}, NO, NO),
        ({"build_setting_id": "s"}, {"build_setting_id": None}, MAYBE, MAYBE),
        ({"platform": "Win64"}, {}, YES, YES),
        ({"platform": "Win64"}, {"platform": "Linux"}, NO, NO),
        ({"platform": "Win64"}, {"platform": None}, MAYBE, MAYBE),
        ({"build_type": "Shipping"}, {}, YES, YES),
        ({"build_type": "Shipping"}, {"build_type": "Test"}, NO, NO),
        ({"build_type": "Shipping"}, {"build_type": None}, MAYBE, MAYBE),
        # Branches and streams.
        ({"branch": "main"}, {"branch": "main"}, YES, YES),
        ({"branch": "main"}, {"branch": "refs/heads/main"}, YES, YES),
        ({"branch": "refs/heads/main"}, {"branch": "main"}, YES, YES),
        ({"branch": "main\n"}, {"branch": " main"}, YES, YES),
        ({"branch": "main"}, {"branch": "next"}, NO, NO),
        ({"branch": "main"}, {"branch": "MAIN"}, NO, MAYBE),
        ({"branch": "MAIN"}, {"branch": "main"}, NO, MAYBE),
        ({"branch": "main"}, {"branch": "feature/main"}, NO, MAYBE),
        ({"branch": "feature/main"}, {"branch": "main"}, NO, MAYBE),
        ({"branch": "main"}, {"branch": "domain"}, NO, NO),
        ({"branch": "main"}, {}, MAYBE, MAYBE),
        ({"branch": "//depot/game"}, {"branch": "//depot/game/..."}, YES, YES),
        ({"branch": "//depot/game/"}, {"branch": "//depot/game"}, YES, YES),
        ({"branch": "//depot/game"}, {"branch": "//depot/game/next"}, NO, NO),
        ({"branch": "//depot/game"}, {"branch": "game"}, NO, MAYBE),
        ({"branch": "odd/..."}, {"branch": "odd"}, NO, NO),
        # Commits.
        ({"commit": HASH}, {"commit": HASH}, YES, YES),
        ({"commit": HASH}, {"commit": HASH[:7]}, YES, YES),
        ({"commit": HASH[:7]}, {"commit": HASH}, YES, YES),
        ({"commit": HASH[:6].upper()}, {"commit": HASH}, YES, YES),
        ({"commit": HASH + "\n"}, {"commit": HASH}, YES, YES),
        ({"commit": "fedcba"}, {"commit": HASH}, NO, NO),
        ({"commit": "fedcba"}, {}, MAYBE, MAYBE),
        ({"commit": "v1.2"}, {"commit": HASH}, NO, MAYBE),
        ({"commit": HASH}, {"commit": "v1.2"}, NO, MAYBE),
        ({"commit": "fedcb"}, {"commit": HASH}, NO, MAYBE),
        # Changelists.
        ({"changelist": "7"}, {"changelist": "7"}, YES, YES),
        ({"changelist": "007"}, {"changelist": "7"}, YES, YES),
        ({"changelist": " 7\n"}, {"changelist": "7"}, YES, YES),
        ({"changelist": "7"}, {"changelist": "8"}, NO, NO),
        ({"changelist": "7"}, {}, MAYBE, MAYBE),
        ({"changelist": "7"}, {"commit": "7"}, YES, YES),
        ({"changelist": "7"}, {"commit": "8"}, NO, NO),
        ({"changelist": "7"}, {"commit": "abc"}, MAYBE, MAYBE),
        ({"changelist": "7"}, {"changelist": "7", "commit": "8"}, YES, YES),
        ({"changelist": "@label"}, {"changelist": "@label"}, YES, YES),
        ({"changelist": "@label"}, {"changelist": "7"}, NO, MAYBE),
        ({"changelist": "7"}, {"changelist": "@label"}, NO, MAYBE),
        # A field that differs decides, whatever is not known.
        ({"branch": "main", "commit": HASH}, {"commit": "fedcba9"}, NO, NO),
        ({"branch": "main", "commit": HASH}, {"commit": HASH}, MAYBE, MAYBE),
    ],
)
def test_compare(
    wanted: dict[str, str], reported: dict[str, Any], strictly: Match, loosely: Match
) -> None:
    """Spellings of one thing match; without strictness, what may be another spelling may match."""
    build_filter, build = BuildFilter(**wanted), replace(BUILD, **reported)
    assert build_filter.compare(build) is strictly
    assert build_filter.compare(build, {}, loosely=True) is loosely


STREAMS = {"s": "//streams/game/main", "t": None}


@pytest.mark.parametrize(
    ("setting_id", "branch", "expected"),
    [
        ("s", None, YES),
        ("s", "", YES),
        ("s", "//streams/game/next", NO),
        ("t", None, MAYBE),
        ("unknown", None, MAYBE),
        (None, None, MAYBE),
        (None, "//streams/game/main/...", YES),
    ],
)
def test_the_stream_of_a_build(setting_id: str, branch: str | None, expected: Match) -> None:
    """A build that does not tell its stream has that of its setting."""
    build = replace(BUILD, build_setting_id=setting_id, branch=branch)
    assert BuildFilter(branch="//streams/game/main").compare(build, STREAMS) is expected


@EXAMPLES
@given(JSON | OBJECTS)
def test_any_json_is_a_filter_or_none(data: Any) -> None:
    """A filter that was stored is read again; anything else is none, and no query."""
    found = BuildFilter.from_json(data)
    assert (found is None) == (not isinstance(data, dict))
    if found is None or found == BuildFilter():
        with pytest.raises(InvalidRequest, match="has no fields"):
            BuildFilter.of_query(data)
    else:
        assert BuildFilter.of_query(data) == BuildFilter.from_json(found.to_json()) == found


@pytest.mark.parametrize("data", [None, "text", {}, {"odd": 1}, {"project_id": None}])
def test_a_query_without_fields_is_refused(data: Any) -> None:
    """A query without a field would match any build."""
    with pytest.raises(InvalidRequest, match="has no fields"):
        BuildFilter.of_query(data)


def test_a_query() -> None:
    """A query is a filter of the fields that it has; numbers become text."""
    query = BuildFilter("p", changelist="7")
    assert BuildFilter.of_query({"project_id": "p", "changelist": 7, "odd": 1}) == query
    assert BuildFilter.from_json(query.to_json()) == query
    assert BuildFilter.from_json("text") is None


def test_the_texts_and_the_call_of_a_filter() -> None:
    """A filter has a title; its list is not filtered by branch: that may be spelled differently."""
    build_filter = BuildFilter("p", "s", "Win64", "Shipping", "main", "abc", "7")
    assert BuildFilter("p", branch="main").title == "a build with project_id p, branch main"
    assert BuildFilter().title == "any build"
    assert (build_filter.wanted, BuildFilter().wanted) == ({"branch": "main"}, {})
    query = {"projectId": "p", "buildSettingId": "s", "platform": "Win64", "buildType": "Shipping"}
    assert dict(build_filter.list_call().query) == {**query, "limit": "100"}
    assert dict(build_filter.list_call("failed").query)["status"] == "failed"


def test_a_listed_build_has_what_its_list_was_filtered_by() -> None:
    """A row that leaves out fields gets those of the filter, but no others."""
    build_filter = BuildFilter("p", "s", "Win64", "Shipping", "main", "abc", "7")
    assert build_filter.complete(Build("b", Status("pending"))) == BUILD
    other = Build("b", Status("pending"), "p2", "s2", "Linux", "Test", "dev")
    assert build_filter.complete(other) is other  # not a copy: lists are long


SETTING = BuildSetting("s", "Win64", "Shipping", "main")


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({}, {}),
        ({"branch": "", "commit": " ", "changelist": None}, {}),
        ({"branch": " refs/heads/release/5.4 "}, {"branch": "release/5.4"}),
        ({"branch": "refs/heads/"}, {}),
        ({"branch": "//depot/game/..."}, {"branch": "//depot/game/..."}),
        ({"commit": HASH + "\n"}, {"commit": HASH}),
        ({"commit": 123456}, {"commit": "123456"}),
        ({"changelist": 7}, {"changelist": "7"}),
        ({"changelist": " 7 "}, {"changelist": "7"}),
    ],
)
def test_a_request(given: dict[str, Any], sent: dict[str, str]) -> None:
    """What a Dag author gives is sent in BuildPixel's spelling; empty values are not sent."""
    request = BuildRequest.create(SETTING, "p", **given)
    assert request.call().body == sent
    assert request.call().path == "/projects/p/build-settings/s/trigger"
    target = BuildFilter("p", "s", "Win64", "Shipping", "main")
    assert request.target(SETTING) == replace(target, **sent)


@pytest.mark.parametrize(
    ("setting", "branch"),
    [
        (SETTING, "main"),
        (replace(SETTING, branch="refs/heads/main"), "main"),
        (BuildSetting("s", stream_path="//streams/game/main"), "//streams/game/main"),
        (BuildSetting("s"), None),
    ],
)
def test_the_line_of_a_target(setting: BuildSetting, branch: str | None) -> None:
    """A request without a branch is for the branch or stream of the setting as it is now."""
    assert BuildRequest("p", "s").target(setting).branch == branch


def test_kinds() -> None:
    """Builds of one project, platform, build type and line supersede each other."""
    target = BuildFilter("p", "s", "Win64", "Shipping", "main", "abc", "7")
    kind = BuildFilter("p", None, "Win64", "Shipping", "main")
    assert kind_of(target) == kind
    assert kind_of_build(replace(BUILD, branch="refs/heads/main"), {}) == kind
    assert kind_of_build(BUILD, {"s": "main"}) == kind
    assert kind_of_build(BUILD, {}) == replace(kind, branch=None)


def test_projects_without_lines() -> None:
    """Settings are read for builds without a line whose setting was not read yet."""
    other = replace(BUILD, project_id="q", build_setting_id="t")
    assert projects_without_lines([BUILD, other], {"t": None}) == {"p"}
    assert projects_without_lines([replace(BUILD, branch="main")], {}) == set()
    assert projects_without_lines([replace(BUILD, project_id=None)], {}) == set()
    assert projects_without_lines([replace(BUILD, build_setting_id=None)], {}) == set()


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (None, None),
        ("  ", None),
        ("refs/heads/", None),
        (5.4, "5.4"),
        ("refs/heads/a/b", "a/b"),
        ("refs/tags/v1",) * 2,
    ],
)
def test_branch_name(given: Any, name: str | None) -> None:
    """The name of a branch is what comes after refs/heads/."""
    assert branch_name(given) == name


def test_same() -> None:
    """Branches are the same in any spelling, commits also if either is abbreviated."""
    assert same_branch("refs/heads/main", " main")
    assert not same_branch("main", "Main")
    assert same_branch("refs/heads/", "")
    assert same_commit("ABC", "abcdef ")
    assert same_commit("abcdef", "abc")
    assert not same_commit("abd", "abcdef")
