"""What waits count of themselves, through Airflow's metrics."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_buildpixel.client.tally import Tally


def report(tally: Tally) -> None:
    """Pass counts on to whatever Airflow reports metrics to."""
    from airflow.providers.common.compat.sdk import Stats  # only a triggerer needs it

    Stats.gauge("buildpixel.waits", tally.waits)
    if tally.up is not None:
        Stats.gauge("buildpixel.channel.up", int(tally.up))
    for name, count in _counts(tally):
        if count:
            Stats.incr(name, count)
    for (route, status), count in tally.requests.items():
        Stats.incr("buildpixel.requests", count, tags={"route": route, "status": status})
    for kind, count in tally.events.items():
        Stats.incr("buildpixel.events", count, tags={"kind": kind})
    for status, seconds in tally.waited:
        Stats.timing("buildpixel.wait", timedelta(seconds=seconds), tags={"status": status})
    for seconds in tally.queued:
        Stats.timing("buildpixel.queue", timedelta(seconds=seconds))


def _counts(tally: Tally) -> tuple[tuple[str, int], ...]:
    return (
        ("buildpixel.channel.connects", tally.connects),
        ("buildpixel.channel.drops", tally.drops),
        ("buildpixel.lines_left_out", tally.lines_left_out),
    )
