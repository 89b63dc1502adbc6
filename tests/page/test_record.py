from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_buildpixel.api.model import Build, Status
from airflow_provider_buildpixel.page.record import BuildRecord, TaskInstanceKey

TI_KEY = TaskInstanceKey("release", "manual__2026-01-01T00:00:00+00:00", "build", 1)
BUILD = Build("build-1", Status("running"), platform="Win64", branch="main", commit="abc")
TOKEN = "bp_token"
RECORD = BuildRecord.create(TI_KEY, "bp", BUILD, TOKEN)


def test_a_record_is_valid_for_its_task() -> None:
    """A record is valid for its own task instance and with the same token."""
    assert RECORD.is_valid_for(TI_KEY, TOKEN)
    assert not RECORD.is_valid_for(TI_KEY, "bp_other")


@pytest.mark.parametrize("name", ["dag_id", "run_id", "task_id"])
def test_a_record_is_invalid_for_another_task(name: str) -> None:
    """A record that was copied to another task instance is invalid there."""
    changed: dict[str, Any] = {name: "other"}
    assert not RECORD.is_valid_for(replace(TI_KEY, **changed), TOKEN)
    assert not RECORD.is_valid_for(replace(TI_KEY, map_index=2), TOKEN)


@pytest.mark.parametrize("name", ["conn_id", "build_id", "signature"])
def test_a_changed_record_is_invalid(name: str) -> None:
    """A record with another connection, build or signature is invalid."""
    changed: dict[str, Any] = {name: "other ü"}
    assert not replace(RECORD, **changed).is_valid_for(TI_KEY, TOKEN)


def test_signed_names_are_separated() -> None:
    """Names that are equal when joined without a separator have different signatures."""
    one, two = TaskInstanceKey("a", "bc", "d"), TaskInstanceKey("ab", "c", "d")
    assert not BuildRecord.create(one, "bp", BUILD, TOKEN).is_valid_for(two, TOKEN)


def test_json_of_a_record() -> None:
    """A record is unchanged after its way through JSON, which does not contain the token."""
    stored = RECORD.to_json()
    assert BuildRecord.from_json(stored) == RECORD
    assert "build_type" not in stored
    assert TOKEN not in str(stored)


@pytest.mark.parametrize("value", [None, "build-1", [], {}, {"conn_id": "bp", "build_id": "x"}])
def test_other_values_are_no_record(value: object) -> None:
    """Any other XCom value is not a record."""
    assert BuildRecord.from_json(value) is None


def test_a_changelist_is_recorded_as_commit() -> None:
    """A Perforce build is recorded with its changelist."""
    build = Build("build-2", Status("running"), changelist="41001")
    assert BuildRecord.create(TI_KEY, "bp", build, TOKEN).commit == "41001"


@pytest.mark.parametrize("text", ["{MAP_INDEX}", "", "-1", "x", "²", "1" * 20])
def test_an_invalid_map_index(text: str) -> None:
    """An invalid map index means a task that is not mapped."""
    query = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": text}
    assert TaskInstanceKey.from_query(query) == TaskInstanceKey("d", "r", "t")


@pytest.mark.parametrize("name", ["dag_id", "run_id", "task_id"])
@pytest.mark.parametrize("value", ["", "{TASK_ID}", None])
def test_a_url_without_a_task(name: str, value: str | None) -> None:
    """A URL with a missing id, or with an id's placeholder, names no task instance."""
    query = {"dag_id": "d", "run_id": "r", "task_id": "t"} | {name: value or ""}
    if value is None:
        del query[name]
    assert TaskInstanceKey.from_query(query) is None


def test_the_url_query_names_the_task() -> None:
    """The query of a page URL is parsed to the same task instance."""
    from urllib.parse import parse_qsl, urlsplit

    for ti_key in (TI_KEY, TaskInstanceKey("d", "r+ &?", "group.t")):
        url = urlsplit(RECORD.page_url(ti_key))
        assert url.path == "buildpixel/builds/bp/build-1"
        assert TaskInstanceKey.from_query(dict(parse_qsl(url.query))) == ti_key


def test_a_url_is_quoted() -> None:
    """Special characters of a name stay within its part of the URL."""
    record = replace(RECORD, conn_id="a#b?c", build_id="../x")
    assert record.page_url(TI_KEY).startswith("buildpixel/builds/a%23b%3Fc/..%2Fx?")


def test_unmapped_task_instances() -> None:
    """A task instance that is not mapped has the map index -1, None or no such attribute."""
    names = {"dag_id": "d", "run_id": "r", "task_id": "t"}
    for more in ({}, {"map_index": None}, {"map_index": -1}):
        assert TaskInstanceKey.from_task_instance(
            SimpleNamespace(**names, **more)
        ) == TaskInstanceKey("d", "r", "t")
    assert TaskInstanceKey.from_task_instance(SimpleNamespace(**names, map_index=0)).map_index == 0
