"""Values that a released version stored in Airflow's database can be read by later versions.

There is one folder per version with values that this version wrote. These files are never changed;
a version with a new format adds a folder.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_buildpixel.asset_events.cursor import Cursor, Position
from airflow_provider_buildpixel.asset_events.webhook import reports_build
from airflow_provider_buildpixel.builds.record import DispatchRecord
from airflow_provider_buildpixel.builds.request import BuildFilter
from airflow_provider_buildpixel.builds.request_window import RequestWindow
from airflow_provider_buildpixel.builds.task_try import TryOfTask
from airflow_provider_buildpixel.downloads.artifacts import PartialDownload
from airflow_provider_buildpixel.tasks.deadlines import WaitProgress

HERE = Path(__file__).parent
TRIGGERS = sorted(HERE.glob("*/trigger*.json")) + sorted(HERE.glob("*/watcher*.json"))
BUILD = "mfx3v9q1-build-000000001"


def _read(name: str) -> Any:
    return json.loads((HERE / f"{name}.json").read_text())


@pytest.mark.parametrize("path", TRIGGERS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_triggers(path: Path) -> None:
    """A stored trigger is loaded with its path and all arguments."""
    stored = json.loads(path.read_text())
    if path.stem.startswith("watcher"):
        pytest.importorskip("airflow.sdk", reason="Airflow 2.11 has no watchers")
    module, _, name = stored["classpath"].rpartition(".")
    trigger = getattr(import_module(module), name)(**stored["kwargs"])
    classpath, kwargs = trigger.serialize()
    assert classpath == stored["classpath"]
    assert kwargs == stored["kwargs"]


def test_shared_poll_of_a_watcher() -> None:
    """A stored watcher shares its poll with others of its connection."""
    pytest.importorskip("airflow.sdk", reason="Airflow 2.11 has no watchers")
    from airflow_provider_buildpixel.triggers.events import BuildPixelBuildEventTrigger

    keys = [
        BuildPixelBuildEventTrigger(**_read(f"0.1/{name}")["kwargs"]).shared_stream_key()
        for name in ("watcher", "watcher-full")
    ]
    assert keys == [("buildpixel", "buildpixel_default", 30.0), ("buildpixel", "studio", 10.0)]


class _Instance:
    start_date = None


def test_wait_progress() -> None:
    """The deadlines and the number of deferrals of a deferred task are restored."""
    context: Any = {"ti": _Instance()}
    assert WaitProgress.from_json(context, _read("0.1/progress")) == WaitProgress(
        1770000000.5, 1760000000.5, 3, 1
    )


RECORDS = {
    "dispatch-record": DispatchRecord(
        BuildFilter("project-1", "setting-1", "Win64", "Shipping", "main", "0a1b2c3d", "41234"),
        BUILD,
        RequestWindow(
            1770000000.5, 1770000060.5, tolerance=2.0, known_ids=("mfx3v9q1-build-000000000",)
        ),
        1770000001.5,
        token="api_token:t1",
        task_finished=True,
        stored_by=TryOfTask(1, 2, 2, 1),
    ),
    "dispatch-record-unanswered": DispatchRecord(
        BuildFilter("project-1", "setting-1"),
        window=RequestWindow(1770000000.5, 1770000060.5, may_run_later=True),
        user="user:u1",
        is_reported=True,
    ),
}


@pytest.mark.parametrize("name", RECORDS)
def test_dispatch_records(name: str) -> None:
    """The record of a dispatch is restored, with and without the response."""
    assert DispatchRecord.from_json(_read(f"0.1/{name}")) == RECORDS[name]


CURSOR = Cursor(
    Position(1770000000.5, "a" * 24),
    {"b" * 24: 1770000001.5, "c" * 24: None},
    frozenset({"d" * 24}),
    started_at=1770000000.0,
    version=7,
)


def test_cursor() -> None:
    """The cursor of a watcher is restored."""
    assert Cursor.from_json(_read("0.1/cursor")) == CURSOR


def test_partial_download() -> None:
    """The record of a partial download is restored."""
    part = PartialDownload(BUILD, 5_000_000_000, "0" * 32, '"etag-1"')
    assert PartialDownload.from_json(_read("0.1/part")) == part


def test_build_query() -> None:
    """The query for a build is restored."""
    stored = _read("0.1/trigger-search")["kwargs"]["query"]
    expected = BuildFilter("project-1", "setting-1", branch="main", commit="0a1b2c3d")
    assert BuildFilter.of_query(stored) == expected


def test_facts() -> None:
    """An asset event of an earlier version is recognised as this build's, and has the same keys."""
    from airflow_provider_buildpixel.api.model import Build, Status

    facts, build = _read("0.1/facts"), Build(BUILD, Status("complete"))
    assert reports_build(facts, build)
    assert reports_build({"from_trigger": True, "payload": facts}, build)
    assert list(facts) == list(build.facts())
