from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_buildpixel.api.errors import ServerFault, Unreachable
from airflow_provider_buildpixel.channel.metrics import Metrics, discard_metrics

if TYPE_CHECKING:
    from collections.abc import Callable


def test_requests_are_counted_by_route_and_status() -> None:
    """A request counts with its route and HTTP status, ``none`` if there was no answer."""
    metrics = Metrics()
    metrics.count_request("/builds", None)
    metrics.count_request("/builds", None)
    metrics.count_request("/builds", ServerFault("broken", status_code=502))
    metrics.count_request("/builds/:id", Unreachable("no answer"))
    assert metrics.requests == {
        ("/builds", "200"): 2,
        ("/builds", "502"): 1,
        ("/builds/:id", "none"): 1,
    }


COUNTS: dict[str, Callable[[Metrics], None]] = {
    "requests": lambda metrics: metrics.count_request("/builds", None),
    "events": lambda metrics: metrics.events.update(["log"]),
    "connects": lambda metrics: setattr(metrics, "connects", 1),
    "drops": lambda metrics: setattr(metrics, "drops", 1),
    "lines_dropped": lambda metrics: setattr(metrics, "lines_dropped", 1),
    "wait_times": lambda metrics: metrics.wait_times.append(("complete", 60.0)),
    "queue_times": lambda metrics: metrics.queue_times.append(6.0),
}


@pytest.mark.parametrize("count", COUNTS.values(), ids=list(COUNTS))
def test_each_count_is_noticed_and_reset(count: Callable[[Metrics], None]) -> None:
    """Anything counted makes the metrics worth a report, until the counts are reset."""
    metrics = Metrics()
    count(metrics)
    assert metrics.has_counts
    metrics.reset_counts()
    assert metrics == Metrics()


def test_the_state_is_kept() -> None:
    """The number of waits and the state of the channel are no counts, and survive a reset."""
    metrics = Metrics(waits=4, up=True)
    assert not metrics.has_counts
    metrics.reset_counts()
    assert (metrics.waits, metrics.up) == (4, True)


def test_metrics_can_be_discarded() -> None:
    """A monitor without a report function discards its metrics."""
    metrics = Metrics(connects=1)
    discard_metrics(metrics)
    assert metrics == Metrics(connects=1)
