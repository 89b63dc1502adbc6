"""The metrics of waits, as reported to Airflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_buildpixel.channel.metrics import Metrics
from airflow_provider_buildpixel.exceptions import ServerFault, Unreachable
from airflow_provider_buildpixel.hooks.metrics import report_metrics

if TYPE_CHECKING:
    import pytest


class RecordingStats:
    """Records reported metrics by name and tags."""

    def __init__(self) -> None:
        self.recorded: dict[str, float] = {}

    def gauge(self, name: str, value: float) -> None:
        """Record a gauge."""
        self.recorded[name] = value

    def incr(self, name: str, count: int, *, tags: dict[str, str] | None = None) -> None:
        """Record a counter."""
        self.recorded[",".join([name, *(tags or {}).values()])] = count

    def timing(self, name: str, dt: object, *, tags: dict[str, str] | None = None) -> None:
        """Record a duration."""
        self.recorded[",".join([name, *(tags or {}).values()])] = getattr(dt, "total_seconds")()  # noqa: B009


def test_reported_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each metric has the documented name and tags."""
    from airflow.providers.common.compat import sdk

    stats = RecordingStats()
    monkeypatch.setitem(sdk.__dict__, "Stats", stats)
    metrics = Metrics(connects=1, drops=2, lines_dropped=3, waits=4, up=True)
    metrics.count_request("/builds", None)
    metrics.count_request("/builds/:id", ServerFault("x", status_code=502))
    metrics.count_request("/builds/:id", Unreachable("x"))
    metrics.events["log"] = 5
    metrics.wait_times.append(("complete", 60.0))
    metrics.queue_times.append(6.0)
    report_metrics(metrics)
    assert stats.recorded == {
        "buildpixel.waits": 4,
        "buildpixel.channel.up": 1,
        "buildpixel.channel.connects": 1,
        "buildpixel.channel.drops": 2,
        "buildpixel.lines_left_out": 3,
        "buildpixel.requests,/builds,200": 1,
        "buildpixel.requests,/builds/:id,502": 1,
        "buildpixel.requests,/builds/:id,none": 1,
        "buildpixel.events,log": 5,
        "buildpixel.wait,complete": 60.0,
        "buildpixel.queue": 6.0,
    }
    metrics.reset_counts()
    assert (metrics.waits, metrics.requests, metrics.wait_times) == (4, {}, [])
