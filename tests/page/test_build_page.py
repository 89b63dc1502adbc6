from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_buildpixel.api.model import Build
from airflow_provider_buildpixel.page import build_page
from airflow_provider_buildpixel.page.record import BuildRecord, TaskInstanceKey

NOW = datetime(2026, 5, 10, 14, 30, tzinfo=UTC)
FULL = {
    "id": "build-1",
    "status": "running",
    "platform": "Win64",
    "buildType": "Shipping",
    "branch": "main",
    "commit": "abc",
    "commitMessage": "Add a map",
    "ueVersion": "5.4",
    "triggeredBy": "push:abc",
    "createdAt": "2026-05-10T14:00:00.000Z",
}


def _page_data(now: datetime = NOW, **changes: Any) -> dict[str, Any]:
    data = build_page.page_data(Build.from_json(FULL | changes), now)
    assert json.loads(json.dumps(data)) == data
    return data


def test_a_running_build() -> None:
    """The page of a running build shows target and elapsed time, and refreshes."""
    data = _page_data()
    assert data["title"] == "Win64 Shipping"
    assert data["seconds"] == 1800
    assert data["refresh_after"] == build_page.LIVE_REFRESH
    assert not data["has_artifact"]
    assert data["failure"] is None
    assert ["Triggered by", "push of abc"] in data["facts"]
    assert "Changelist" not in dict(data["facts"])


def test_an_ended_build() -> None:
    """The page of an ended build does not refresh, and a complete build has an artifact."""
    data = _page_data(status="complete", durationMs=5000, finishedAt="2026-05-10T14:10:00Z")
    assert (data["refresh_after"], data["seconds"], data["has_artifact"]) == (None, 5, True)
    assert dict(data["facts"])["Finished at"] == "2026-05-10T14:10:00+00:00"


@pytest.mark.parametrize(
    ("finished", "refresh_after"),
    [("14:29:55", build_page.LIVE_REFRESH), ("14:29:45", None), ("14:30:05", None), (None, None)],
)
def test_late_lines(finished: str | None, refresh_after: float | None) -> None:
    """The page refreshes for some seconds after the end, unless the clocks differ."""
    at = finished and f"2026-05-10T{finished}Z"
    assert _page_data(status="failed", finishedAt=at)["refresh_after"] == refresh_after


def test_a_build_with_few_fields() -> None:
    """The page of a build with only a status shows that."""
    data = build_page.page_data(Build.from_json({"id": "build-1", "status": "running"}), NOW)
    assert data["title"] == "Build build-1"
    assert data["seconds"] is None
    assert data["facts"] == [["Build", "build-1"]]


def test_a_slow_clock() -> None:
    """No elapsed time is negative."""
    assert _page_data(now=datetime(2026, 5, 10, 13, tzinfo=UTC))["seconds"] == 0


def test_a_failed_build() -> None:
    """The page of a failed build shows phase, errors and advice."""
    lines = ["LogCook: Cooking maps from path...", "LogCook: Error: Failed to cook /Game/Level3"]
    failure = _page_data(status="failed", logs=lines)["failure"]
    assert failure["phase"] == "cook"
    assert failure["errors"] == ["LogCook: Error: Failed to cook /Game/Level3"]
    assert "asset" in failure["advice"]


def test_a_build_that_died() -> None:
    """The advice says that a build died if its log has no error and no end."""
    assert "died" in _page_data(status="failed", logs=["Hello there"])["failure"]["advice"]
    assert _page_data(status="failed", logs=["BUILD FAILED, sadly"])["failure"]["advice"] is None
    unknown = _page_data(status="failed", logs=["LogInit: Error: something odd"])["failure"]
    assert (unknown["advice"], len(unknown["errors"])) == (None, 1)


def test_a_superseded_build() -> None:
    """The page of a superseded build names the newer build and no failure."""
    newer = Build.from_json({"id": "build-2", "status": "pending", "triggeredBy": "user:7"})
    build = Build.from_json(FULL | {"status": "superseded"})
    data = build_page.page_data(
        build, NOW, newer=newer, previous=[newer], dashboard_url="https://x/1"
    )
    assert data["newer"] == {
        "id": "build-2",
        "status": "pending",
        "commit": "",
        "triggered_by": "user 7",
    }
    assert data["failure"] is None
    assert data["dashboard_url"] == "https://x/1"
    assert [bar["id"] for bar in data["history"]["bars"]] == ["build-1", "build-2"]


@pytest.mark.parametrize(
    ("triggered_by", "wanted"),
    [
        (None, ""),
        ("cron", "schedule"),
        ("api_token:7", "API token 7"),
        ("user:a:b", "user a:b"),
        ("robot:7", "robot 7"),
    ],
)
def test_trigger_text(triggered_by: str | None, wanted: str) -> None:
    """Who started a build is shown as words; an undocumented value is unchanged."""
    assert build_page.trigger_text(triggered_by) == wanted


def test_secrets_in_a_log() -> None:
    """Tokens and signed URLs are masked, and control characters are replaced."""
    secret = "curl https://store/x?X-Signature=hush -H bp_abcdefgh \x1b[31m\u202e"
    [[at, level, text]] = _page_data(logs=[{"message": secret, "timestamp": "2026\x00"}])["log"]
    assert "hush" not in text
    assert "bp_abc" not in text
    assert not {"\x1b", "\u202e"} & set(text)
    assert (at, level) == ("2026\N{REPLACEMENT CHARACTER}", "info")


def test_a_long_log() -> None:
    """Only the last lines of a long log are returned."""
    log = _page_data(logs=[f"line number {n}" for n in range(2 * build_page.LINES_SHOWN)])["log"]
    assert len(log) == build_page.LINES_SHOWN
    assert log[-1] == [None, "info", f"line number {2 * build_page.LINES_SHOWN - 1}"]


@pytest.mark.parametrize(
    ("operator", "has_ended", "message", "refresh_after"),
    [
        (None, True, "does not exist", None),
        ("BuildPixelTriggerBuildOperator", False, "as soon as", build_page.IDLE_REFRESH),
        ("BuildPixelTriggerBuildOperator", True, "log shows the reason", None),
        ("BashOperator", False, "so far", build_page.IDLE_REFRESH),
        ("BashOperator", True, "has no BuildPixel build", None),
    ],
)
def test_tasks_without_a_build(
    operator: str | None, message: str, refresh_after: float | None, *, has_ended: bool
) -> None:
    """The page of a task without a build shows why, and refreshes while it may get one."""
    data = build_page.no_build(operator, has_ended=has_ended)
    assert message in data["message"]
    assert data["refresh_after"] == refresh_after


def test_a_refusal() -> None:
    """A refusal names the connection, even with unusual characters."""
    data = build_page.not_shown("{x}\u202e", build_page.CONNECTION_UNUSABLE)
    assert "{x}\N{REPLACEMENT CHARACTER}" in data["message"]


def test_a_read_error() -> None:
    """A read error is shown without secrets, and the page refreshes."""
    data = build_page.read_error(ValueError("bp_secretsecret at https://x/?sig=1"))
    assert data["kind"] == "error"
    assert "secretsecret" not in data["message"]
    assert data["refresh_after"]


def test_a_row_of_the_list() -> None:
    """A row names build and task, and its URL is relative to the provider's root."""
    record = BuildRecord("bp", "build-1", "signature", "Win64", "Shipping", "main")
    row = build_page.list_row(TaskInstanceKey("d", "r", "t", 3), record, None, 5.0)
    assert row["title"] == "Win64 Shipping"
    assert row["page"] == "builds/bp/build-1?dag_id=d&run_id=r&task_id=t&map_index=3"
    assert row["task"] == {
        "dag_id": "d",
        "run_id": "r",
        "task_id": "t",
        "map_index": 3,
        "state": "none",
    }
    bare = build_page.list_row(
        TaskInstanceKey("d", "r", "t"), BuildRecord("bp", "build-1", "signature"), "running", None
    )
    assert (bare["title"], bare["branch"], bare["seconds"]) == ("build-1", "", None)
