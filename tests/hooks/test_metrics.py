"""What waits count, as Airflow reports it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_buildpixel.channel.metrics import Metrics
from airflow_provider_buildpixel.exceptions import ServerFault, Unreachable
from airflow_provider_buildpixel.hooks.metrics import report_metrics

if TYPE_CHECKING:
    import pytest


class Stats:
    """Keeps what it is told, by Airflow's names for that."""

    def __init__(self) -> None:
        self.told: dict[str, float] = {}

    def gauge(self, name: str, value: float) -> None:
        """Take a state."""
        self.told[name] = value

    def incr(self, name: str, count: int, *, tags: dict[str, str] | None = None) -> None:
        """Take a count."""
        self.told[",".join([name, *(tags or {}).values()])] = count

    def timing(self, name: str, dt: object, *, tags: dict[str, str] | None = None) -> None:
        """Take a time."""
        self.told[",".join([name, *(tags or {}).values()])] = getattr(dt, "total_seconds")()


def test_counts_become_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each count has the name and the tags that the documentation gives."""
    from airflow.providers.common.compat import sdk

    stats = Stats()
    monkeypatch.setitem(sdk.__dict__, "Stats", stats)
    metrics = Metrics(connects=1, drops=2, lines_left_out=3, waits=4, up=True)
    metrics.request("/builds", None)
    metrics.request("/builds/:id", ServerFault("x", status_code=502))
    metrics.request("/builds/:id", Unreachable("x"))
    metrics.events["log"] = 5
    metrics.waited.append(("complete", 60.0))
    metrics.queued.append(6.0)
    report_metrics(metrics)
    assert stats.told == {
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
    metrics.clear()
    assert (metrics.waits, metrics.requests, metrics.waited) == (4, {}, [])
