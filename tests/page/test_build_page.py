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


def _page(now: datetime = NOW, **changes: Any) -> dict[str, Any]:
    shown = build_page.page_data(Build.from_json(FULL | changes), now)
    assert json.loads(json.dumps(shown)) == shown
    return shown


def test_a_running_build() -> None:
    """A running build shows what it builds, for how long, and is looked at again."""
    shown = _page()
    assert shown["title"] == "Win64 Shipping"
    assert shown["seconds"] == 1800
    assert shown["again"] == build_page.LIVE_REFRESH
    assert not shown["artifact"]
    assert shown["failure"] is None
    assert ["Triggered by", "push of abc"] in shown["facts"]
    assert "Changelist" not in dict(shown["facts"])


def test_an_ended_build() -> None:
    """A build that has ended is not looked at again, and a complete one has an artifact."""
    shown = _page(status="complete", durationMs=5000, finishedAt="2026-05-10T14:10:00Z")
    assert (shown["again"], shown["seconds"], shown["artifact"]) == (None, 5, True)
    assert dict(shown["facts"])["Finished at"] == "2026-05-10T14:10:00+00:00"


@pytest.mark.parametrize(
    ("finished", "again"),
    [("14:29:55", build_page.LIVE_REFRESH), ("14:29:45", None), ("14:30:05", None), (None, None)],
)
def test_lines_that_come_late(finished: str | None, again: float | None) -> None:
    """A build that has just ended is looked at some more; clocks that differ are no reason to."""
    at = finished and f"2026-05-10T{finished}Z"
    assert _page(status="failed", finishedAt=at)["again"] == again


def test_a_bare_build() -> None:
    """Of a build of which nothing is known but its status, that is shown."""
    shown = build_page.page_data(Build.from_json({"id": "build-1", "status": "running"}), NOW)
    assert shown["title"] == "Build build-1"
    assert shown["seconds"] is None
    assert shown["facts"] == [["Build", "build-1"]]


def test_a_clock_that_is_behind() -> None:
    """No build has run for a negative time."""
    assert _page(now=datetime(2026, 5, 10, 13, tzinfo=UTC))["seconds"] == 0


def test_a_failed_build() -> None:
    """A failed build shows phase, errors and advice."""
    lines = ["LogCook: Cooking maps from path...", "LogCook: Error: Failed to cook /Game/Level3"]
    failure = _page(status="failed", logs=lines)["failure"]
    assert failure["phase"] == "cook"
    assert failure["errors"] == ["LogCook: Error: Failed to cook /Game/Level3"]
    assert "asset" in failure["advice"]


def test_a_build_that_died() -> None:
    """A build whose log stops without an error is said to have died; one that ends is not."""
    assert "died" in _page(status="failed", logs=["Hello there"])["failure"]["advice"]
    assert _page(status="failed", logs=["BUILD FAILED, sadly"])["failure"]["advice"] is None
    unknown = _page(status="failed", logs=["LogInit: Error: something odd"])["failure"]
    assert (unknown["advice"], len(unknown["errors"])) == (None, 1)


def test_a_superseded_build() -> None:
    """A superseded build names the one that took its place, and is no failure."""
    newer = Build.from_json({"id": "build-2", "status": "pending", "triggeredBy": "user:7"})
    build = Build.from_json(FULL | {"status": "superseded"})
    shown = build_page.page_data(build, NOW, newer=newer, previous=[newer], dashboard="https://x/1")
    assert shown["newer"] == {
        "id": "build-2",
        "status": "pending",
        "commit": "",
        "author": "user 7",
    }
    assert shown["failure"] is None
    assert shown["dashboard"] == "https://x/1"
    assert [bar["id"] for bar in shown["history"]["bars"]] == ["build-1", "build-2"]


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
def test_authors(triggered_by: str | None, wanted: str) -> None:
    """Who started a build is said in words, and what is not documented is shown."""
    assert build_page.trigger_text(triggered_by) == wanted


def test_secrets_in_a_log() -> None:
    """What looks like a token or a signed address is hidden, and controls are neutralised."""
    secret = "curl https://store/x?X-Signature=hush -H bp_abcdefgh \x1b[31m\u202e"
    [[at, level, text]] = _page(logs=[{"message": secret, "timestamp": "2026\x00"}])["log"]
    assert "hush" not in text
    assert "bp_abc" not in text
    assert not {"\x1b", "\u202e"} & set(text)
    assert (at, level) == ("2026\N{REPLACEMENT CHARACTER}", "info")


def test_a_long_log() -> None:
    """Of a long log the end is shown."""
    log = _page(logs=[f"line number {n}" for n in range(2 * build_page.LINES_SHOWN)])["log"]
    assert len(log) == build_page.LINES_SHOWN
    assert log[-1] == [None, "info", f"line number {2 * build_page.LINES_SHOWN - 1}"]


@pytest.mark.parametrize(
    ("operator", "over", "said", "again"),
    [
        (None, True, "no such task", None),
        ("BuildPixelTriggerBuildOperator", False, "as soon as", build_page.IDLE_REFRESH),
        ("BuildPixelTriggerBuildOperator", True, "its log says why", None),
        ("BashOperator", False, "so far", build_page.IDLE_REFRESH),
        ("BashOperator", True, "has no BuildPixel build", None),
    ],
)
def test_tasks_without_a_build(
    operator: str | None, said: str, again: float | None, *, over: bool
) -> None:
    """A task without a build says why, and is looked at again while it may get one."""
    shown = build_page.no_build(operator, over=over)
    assert said in shown["message"]
    assert shown["again"] == again


def test_a_refusal() -> None:
    """A refusal names the connection, whatever is in the name."""
    shown = build_page.not_shown("{x}\u202e", build_page.CONNECTION_UNUSABLE)
    assert "{x}\N{REPLACEMENT CHARACTER}" in shown["message"]


def test_trouble() -> None:
    """Trouble is told without secrets, and looked at again."""
    shown = build_page.read_error(ValueError("bp_secretsecret at https://x/?sig=1"))
    assert shown["kind"] == "trouble"
    assert "secretsecret" not in shown["message"]
    assert shown["again"]


def test_a_row_of_the_list() -> None:
    """A row names build and task, and its address is relative to the provider's."""
    record = BuildRecord("bp", "build-1", "seal", "Win64", "Shipping", "main")
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
        TaskInstanceKey("d", "r", "t"), BuildRecord("bp", "build-1", "seal"), "running", None
    )
    assert (bare["title"], bare["branch"], bare["seconds"]) == ("build-1", "", None)
