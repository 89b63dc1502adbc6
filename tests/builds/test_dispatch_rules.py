"""Single rules of a dispatch: when a request may be repeated, and which builds may be its own."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_buildpixel.api.model import Build, BuildSetting, Status
from airflow_provider_buildpixel.builds.dispatch import DispatchMachine, may_have_run
from airflow_provider_buildpixel.builds.record import (
    CLOCK_TOLERANCE,
    DispatchRecord,
    NewBuild,
    Snapshot,
    builds_of_request,
    decide_about_build,
    possible_builds_of_request,
)
from airflow_provider_buildpixel.builds.request import BuildRequest
from airflow_provider_buildpixel.exceptions import (
    DispatchUncertain,
    ServerFault,
    UnexpectedAnswer,
    Unreachable,
)

SETTING = BuildSetting("s", "Win64", "Shipping", "main")
REQUEST = BuildRequest("p", "s")
BUILD = Build("2", Status("pending"), "p", "s", triggered_by="api_token:x")
BEFORE = Snapshot("1")


def test_the_error_of_a_failed_search_names_the_first_error() -> None:
    """The lost answer is the cause; without one, the failed search is."""
    machine = DispatchMachine(search_first=True)
    assert "(down)" in str(machine.lookup_failed(ServerFault("down")))
    machine = DispatchMachine()
    machine.on_error(Unreachable("reset"))
    assert "(reset)" in str(machine.lookup_failed(ServerFault("down")))


def test_an_unknown_cause_is_not_mentioned() -> None:
    """If an earlier process sent the request, its error is not known."""
    with pytest.raises(DispatchUncertain) as caught:
        DispatchMachine(search_first=True).on_search((BUILD, replace(BUILD, id="3")))
    assert "None" not in str(caught.value)


@pytest.mark.parametrize(("status_code", "expected"), [(None, True), (299, True), (300, False)])
def test_a_redirect_has_not_run(status_code: int | None, *, expected: bool) -> None:
    """An unreadable answer may mean that the request has run, a redirect does not."""
    assert may_have_run(UnexpectedAnswer("odd", status_code=status_code)) is expected


@pytest.mark.parametrize(("early", "expected"), [(0.0, True), (0.001, False)])
def test_a_snapshot_without_builds_tolerates_clocks(early: float, *, expected: bool) -> None:
    """Without an id to compare, a build may seem to be created a little before the request."""
    created_at = datetime.fromtimestamp(100.0 - CLOCK_TOLERANCE - early, UTC)
    assert Snapshot(taken_at=100.0).precedes(replace(BUILD, created_at=created_at)) is expected


def test_only_builds_that_match_are_of_a_request() -> None:
    """Another project is another request's; an unknown trigger may be ours."""
    other, unknown = replace(BUILD, project_id="q"), replace(BUILD, triggered_by=None)
    assert builds_of_request([other], REQUEST, SETTING, BEFORE) == ()
    assert possible_builds_of_request([other], REQUEST, SETTING, BEFORE) == ()
    assert builds_of_request([unknown], REQUEST, SETTING, BEFORE) == (unknown,)
    assert builds_of_request([unknown, BUILD], REQUEST, SETTING, BEFORE) == (BUILD,)


@pytest.mark.parametrize("build", [None, replace(BUILD, status=Status("failed"))])
def test_why_a_stored_build_is_not_used(build: Build | None) -> None:
    """The reason for a new build names the stored one."""
    decision = decide_about_build(build, DispatchRecord(REQUEST, build_id="2"), 0)
    assert isinstance(decision, NewBuild)
    assert "2" in decision.reason


@pytest.mark.parametrize(
    ("requested", "reported", "matches", "may_match"),
    [
        ({}, {}, True, True),
        ({"branch": "dev"}, {"branch": "dev"}, True, True),
        ({"branch": "dev"}, {"branch": "main"}, False, False),
        ({"branch": "DEV"}, {"branch": "refs/heads/dev"}, False, True),
        ({"branch": "//depot/dev"}, {"branch": "dev"}, False, True),
        ({"branch": "dev"}, {}, True, True),
        ({}, {"branch": "main"}, True, True),
        ({}, {"branch": "dev"}, False, False),
        ({"changelist": "5"}, {"changelist": "5"}, True, True),
        ({"changelist": "5"}, {"changelist": "6"}, False, False),
        ({"changelist": "5"}, {}, True, True),
        ({"changelist": "5"}, {"changelist": "release"}, False, True),
        ({"changelist": "release"}, {"changelist": "6"}, False, True),
        ({}, {"changelist": "6"}, True, True),
        ({"commit": "abcdef0"}, {"commit": "abcdef0123"}, True, True),
        ({"commit": "abcdef0"}, {"commit": "1234567"}, False, False),
        ({"commit": "v1.0"}, {"commit": "1234567"}, False, True),
        ({"commit": "abcdef0"}, {}, True, True),
        ({}, {"project_id": "q"}, False, False),
        ({}, {"build_setting_id": "t"}, False, False),
        ({}, {"project_id": None, "build_setting_id": None}, True, True),
    ],
)
def test_which_builds_match(
    requested: dict[str, str], reported: dict[str, Any], *, matches: bool, may_match: bool
) -> None:
    """A field that both have must agree, or must be able to be another spelling."""
    request, build = replace(REQUEST, **requested), replace(BUILD, **reported)
    assert request.matches(build, SETTING) is matches
    assert request.may_match(build, SETTING) is may_match


def test_without_any_branch_all_branches_match() -> None:
    """A setting need not have a branch, and then a build of any branch may be the request's."""
    setting = replace(SETTING, branch=None)
    build = replace(BUILD, branch="dev")
    assert REQUEST.matches(build, setting)
    assert REQUEST.may_match(build, setting)
