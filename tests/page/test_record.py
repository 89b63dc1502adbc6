from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_buildpixel.api.model import Build, Status
from airflow_provider_buildpixel.page.record import BuildRecord, TaskInstanceKey

PLACE = TaskInstanceKey("release", "manual__2026-01-01T00:00:00+00:00", "build", 1)
BUILD = Build("build-1", Status("running"), platform="Win64", branch="main", commit="abc")
TOKEN = "bp_token"
RECORD = BuildRecord.made(PLACE, "bp", BUILD, TOKEN)


def test_a_record_proves_its_task() -> None:
    """A record proves that this task has this build, to whoever knows the same token."""
    assert RECORD.proves(PLACE, TOKEN)
    assert not RECORD.proves(PLACE, "bp_other")


@pytest.mark.parametrize("name", ["dag_id", "run_id", "task_id"])
def test_a_record_proves_no_other_task(name: str) -> None:
    """A record that was copied to another task instance proves nothing there."""
    changed: dict[str, Any] = {name: "other"}
    assert not RECORD.proves(replace(PLACE, **changed), TOKEN)
    assert not RECORD.proves(replace(PLACE, map_index=2), TOKEN)


@pytest.mark.parametrize("name", ["conn_id", "build_id", "seal"])
def test_a_changed_record_proves_nothing(name: str) -> None:
    """A record in which anything that counts was changed proves nothing."""
    changed: dict[str, Any] = {name: "other ü"}
    assert not replace(RECORD, **changed).proves(PLACE, TOKEN)


def test_names_that_run_together_stay_apart() -> None:
    """The seal tells names apart that would be the same text in a row."""
    one, two = TaskInstanceKey("a", "bc", "d"), TaskInstanceKey("ab", "c", "d")
    assert not BuildRecord.made(one, "bp", BUILD, TOKEN).proves(two, TOKEN)


def test_a_record_survives_json() -> None:
    """A record comes back from an XCom as it was, without the token."""
    told = RECORD.to_json()
    assert BuildRecord.from_json(told) == RECORD
    assert "build_type" not in told
    assert TOKEN not in str(told)


@pytest.mark.parametrize("value", [None, "build-1", [], {}, {"conn_id": "bp", "build_id": "x"}])
def test_what_is_no_record(value: object) -> None:
    """Any other XCom is no record."""
    assert BuildRecord.from_json(value) is None


def test_a_changelist_stands_in_for_a_commit() -> None:
    """A Perforce build is recorded with its changelist."""
    build = Build("build-2", Status("running"), changelist="41001")
    assert BuildRecord.made(PLACE, "bp", build, TOKEN).commit == "41001"


@pytest.mark.parametrize("text", ["{MAP_INDEX}", "", "-1", "x", "²", "1" * 20])
def test_a_map_index_that_is_none(text: str) -> None:
    """What is no map index means a task that is not mapped."""
    query = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": text}
    assert TaskInstanceKey.from_query(query) == TaskInstanceKey("d", "r", "t")


@pytest.mark.parametrize("name", ["dag_id", "run_id", "task_id"])
@pytest.mark.parametrize("value", ["", "{TASK_ID}", None])
def test_an_address_without_a_task(name: str, value: str | None) -> None:
    """An address in which a name is missing, or was not replaced, names no task instance."""
    query = {"dag_id": "d", "run_id": "r", "task_id": "t"} | {name: value or ""}
    if value is None:
        del query[name]
    assert TaskInstanceKey.from_query(query) is None


def test_an_address_leads_back() -> None:
    """The query of an address names the task instance that it was made of."""
    from urllib.parse import parse_qsl, urlsplit

    for place in (PLACE, TaskInstanceKey("d", "r+ &?", "group.t")):
        address = urlsplit(RECORD.page(place))
        assert address.path == "buildpixel/builds/bp/build-1"
        assert TaskInstanceKey.from_query(dict(parse_qsl(address.query))) == place


def test_an_address_is_quoted() -> None:
    """Nothing in a name breaks out of its part of the address."""
    record = replace(RECORD, conn_id="a#b?c", build_id="../x")
    assert record.page(PLACE).startswith("buildpixel/builds/a%23b%3Fc/..%2Fx?")


def test_task_instances_of_every_airflow() -> None:
    """A task instance that is not mapped says -1, None or nothing."""
    names = {"dag_id": "d", "run_id": "r", "task_id": "t"}
    for more in ({}, {"map_index": None}, {"map_index": -1}):
        assert TaskInstanceKey.of(SimpleNamespace(**names, **more)) == TaskInstanceKey(
            "d", "r", "t"
        )
    assert TaskInstanceKey.of(SimpleNamespace(**names, map_index=0)).map_index == 0
