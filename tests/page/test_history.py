from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_buildpixel.api.model import Build, Status
from airflow_provider_buildpixel.builds.list_order import ALL, Since
from airflow_provider_buildpixel.page.history import MAX_SHOWN, chart, newest, since_shown, tone


def _build(number: int, status: str = "complete", seconds: float | None = 60.0) -> Build:
    return Build(f"build-{number:03}", Status(status), duration_seconds=seconds)


def test_what_the_chart_needs() -> None:
    """All builds are needed, until enough are known; then those that are newer."""
    builds = {build.id: build for build in map(_build, range(30))}
    few = dict(list(builds.items())[: MAX_SHOWN - 1])
    assert since_shown({}) == since_shown(few) == ALL
    assert since_shown(builds) == Since(None, "build-010")
    assert [build.id for build in newest(builds)] == [f"build-{n:03}" for n in range(10, 30)]
    assert newest(few) == tuple(few.values())


def test_builds_of_one_second() -> None:
    """Builds are in the order of their creation, which their ids need not have."""
    start = datetime(2026, 5, 10, 12, tzinfo=UTC)
    builds = [
        replace(_build(9 - n), created_at=start + timedelta(milliseconds=n)) for n in range(10)
    ]
    known = {build.id: build for build in builds}
    assert [build.id for build in newest(known)] == [f"build-{9 - n:03}" for n in range(10)]
    bars = chart(reversed(builds), builds[3])["bars"]
    assert [bar["id"] for bar in bars] == [build.id for build in builds]


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        ("complete", "success"),
        ("failed", "failed"),
        ("superseded", "neutral"),
        ("pending", "queued"),
        ("running", "live"),
        ("archived", "live"),
    ],
)
def test_tones(status: str, wanted: str) -> None:
    """Each status has its tone; an unknown status counts as live."""
    assert tone(Status(status)) == wanted


def test_the_chart() -> None:
    """The bars are the newest builds, oldest first, with the latest read of the current one."""
    stale = _build(29, "running", None)
    bars = chart([*(_build(n) for n in range(29)), stale], _build(29, "failed", 5))["bars"]
    assert [bar["id"] for bar in bars] == [f"build-{n:03}" for n in range(10, 30)]
    assert [bar["current"] for bar in bars] == [False] * 19 + [True]
    assert (bars[-1]["tone"], bars[-1]["seconds"]) == ("failed", 5)


def test_an_old_build_in_the_chart() -> None:
    """An old build is shown with the builds that came after it."""
    bars = chart([_build(n) for n in range(50)], _build(3))["bars"]
    assert len(bars) == MAX_SHOWN
    assert bars[0]["current"]


def test_median_duration() -> None:
    """The median duration is that of successful builds."""
    builds = [_build(1, seconds=10), _build(2, seconds=30), _build(3, seconds=1000)]
    failed = _build(4, "failed", 1)
    assert chart([*builds, failed], _build(5, "complete", None))["median_seconds"] == 30
    assert chart([], failed)["median_seconds"] is None
