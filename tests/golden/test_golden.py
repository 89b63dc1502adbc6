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

from airflow_provider_buildpixel.asset_events.cursor import Cursor
from airflow_provider_buildpixel.asset_events.webhook import reports_build
from airflow_provider_buildpixel.builds.record import DispatchRecord
from airflow_provider_buildpixel.builds.request import BuildRequest
from airflow_provider_buildpixel.builds.search import BuildQuery
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


def test_dispatch_records() -> None:
    """The record of a dispatch is restored, with and without the response."""
    request = BuildRequest("project-1", "setting-1", "main", "0a1b2c3d", "41234")
    newest = "mfx3v9q1-build-000000000"
    assert DispatchRecord.from_json(_read("0.1/dispatch-record")) == DispatchRecord(
        request,
        BUILD,
        1770000000.5,
        1770000001.5,
        newest,
        task_finished=True,
        clear_count=2,
        token="api_token:t1",
    )
    unanswered = DispatchRecord(BuildRequest("project-1", "setting-1"), None, 1770000000.5)
    assert DispatchRecord.from_json(_read("0.1/dispatch-record-unanswered")) == unanswered


def test_cursor() -> None:
    """The cursor of a watcher is restored."""
    handled, tracked = frozenset({"b" * 24, "c" * 24}), frozenset({"d" * 24})
    assert Cursor.from_json(_read("0.1/cursor")) == Cursor("a" * 24, handled, tracked, 7)


def test_partial_download() -> None:
    """The record of a partial download is restored."""
    part = PartialDownload(BUILD, 5_000_000_000, "0" * 32, '"etag-1"')
    assert PartialDownload.from_json(_read("0.1/part")) == part


def test_build_query() -> None:
    """The query for a build is restored."""
    stored = _read("0.1/trigger-search")["kwargs"]["query"]
    assert BuildQuery.from_json(stored) == BuildQuery("project-1", "setting-1", "main", "0a1b2c3d")


def test_facts() -> None:
    """An asset event of an earlier version is recognised as this build's, and has the same keys."""
    from airflow_provider_buildpixel.api.model import Build, Status

    facts, build = _read("0.1/facts"), Build(BUILD, Status("complete"))
    assert reports_build(facts, build)
    assert reports_build({"from_trigger": True, "payload": facts}, build)
    assert list(facts) == list(build.facts())
