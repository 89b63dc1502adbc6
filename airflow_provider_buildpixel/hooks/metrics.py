"""Reports the metrics of waits through Airflow's metrics."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_buildpixel.channel.metrics import Metrics


def report_metrics(metrics: Metrics) -> None:
    """Send the metrics to Airflow's metrics backend."""
    from airflow.providers.common.compat.sdk import Stats  # used in the triggerer only

    Stats.gauge("buildpixel.waits", metrics.waits)
    if metrics.up is not None:
        Stats.gauge("buildpixel.channel.up", int(metrics.up))
    for name, count in _counts(metrics):
        if count:
            Stats.incr(name, count)
    for (route, status), count in metrics.requests.items():
        Stats.incr("buildpixel.requests", count, tags={"route": route, "status": status})
    for kind, count in metrics.events.items():
        Stats.incr("buildpixel.events", count, tags={"kind": kind})
    for status, seconds in metrics.wait_times:
        Stats.timing("buildpixel.wait", timedelta(seconds=seconds), tags={"status": status})
    for seconds in metrics.queue_times:
        Stats.timing("buildpixel.queue", timedelta(seconds=seconds))


def _counts(metrics: Metrics) -> tuple[tuple[str, int], ...]:
    return (
        ("buildpixel.channel.connects", metrics.connects),
        ("buildpixel.channel.drops", metrics.drops),
        ("buildpixel.lines_left_out", metrics.lines_dropped),
    )
