from __future__ import annotations

import pytest

from airflow_provider_buildpixel.api.model import Build, Status
from airflow_provider_buildpixel.page.history import (
    MAX_PAGES,
    MAX_SHOWN,
    RecentBuilds,
    chart,
    tone,
)


def _build(number: int, status: str = "complete", seconds: float | None = 60.0) -> Build:
    return Build(f"build-{number:03}", Status(status), duration_seconds=seconds)


def test_a_list_that_starts_with_the_newest() -> None:
    """One page is enough if it shows that the list starts with the newest builds."""
    newest = RecentBuilds()
    assert newest.add_page([_build(n) for n in reversed(range(100, 130))])
    assert [build.id for build in newest.builds] == [f"build-{n:03}" for n in range(110, 130)]


def test_a_list_that_starts_with_the_oldest() -> None:
    """Further pages are read if the newest builds come last, up to a limit."""
    newest = RecentBuilds()
    enough = [newest.add_page([_build(10 * n), _build(10 * n + 1)]) for n in range(MAX_PAGES)]
    assert enough == [False] * (MAX_PAGES - 1) + [True]
    assert newest.builds[-1].id == "build-041"


def test_a_short_list() -> None:
    """A page with few builds is not assumed to be the only one."""
    assert not RecentBuilds().add_page([_build(3), _build(2)])


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
