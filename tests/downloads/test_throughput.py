from __future__ import annotations

from airflow_provider_buildpixel.api.text import MIB
from airflow_provider_buildpixel.downloads.throughput import (
    MIN_SPEEDUP,
    ConnectionProbe,
    RetryBudget,
    StallDetector,
    TransferProgress,
)


def test_slow_connection_is_detected() -> None:
    """A connection below the minimum rate over the window is stalled; one above it is not."""
    detector = StallDetector(min_rate=100, window=10)
    assert not any(detector.is_stalled_after(60, 1) for _ in range(9))
    assert detector.is_stalled_after(60, 1)
    assert not any(detector.is_stalled_after(110, 1) for _ in range(30))


def test_only_waiting_time_counts() -> None:
    """Time spent on a slow disk does not count."""
    detector = StallDetector(min_rate=100, window=10)
    assert not any(detector.is_stalled_after(1, 0.01) for _ in range(900))


def test_progress_lines() -> None:
    """A line is due every few seconds, with bytes, percent, rate and time left."""
    progress = TransferProgress(total=100 * MIB, started_at=0.0)
    assert progress.line_if_due(4.9, 10 * MIB) is None
    line = progress.line_if_due(5.0, 20 * MIB)
    assert line == "20.0 MiB of 100.0 MiB (20.0 %), 4.0 MiB/s, 20 s left"
    assert progress.line_if_due(9.0, 30 * MIB) is None
    assert progress.line_if_due(10.0, 20 * MIB) == (
        "20.0 MiB of 100.0 MiB (20.0 %), 0 B/s, time left unknown"
    )
    assert progress.final_line(20.0, 100 * MIB) == (
        "100.0 MiB of 100.0 MiB (100.0 %), 100.0 MiB in 20 s, 5.0 MiB/s"
    )


def test_progress_without_a_size() -> None:
    """Where the size is unknown, a line has no percent and no time left."""
    progress = TransferProgress(total=None, started_at=0.0, initial_bytes=MIB)
    assert progress.line_if_due(5.0, 6 * MIB) == "6.0 MiB, 1.0 MiB/s"
    assert progress.final_line(5.0, 6 * MIB) == "6.0 MiB, 5.0 MiB in 5 s, 1.0 MiB/s"


def test_failures_without_progress_end_the_transfer() -> None:
    """Pauses grow with each failure, up to the last one; a mebibyte of progress resets them."""
    budget = RetryBudget(max_failures=3, max_url_refusals=2)
    first, second = budget.pause_after_failure(0.5), budget.pause_after_failure(0.5)
    assert first is not None
    assert second is not None
    assert first < second
    budget.add_progress(MIB - 1)
    assert budget.pause_after_failure(0.5) is None
    budget.add_progress(1)
    assert budget.pause_after_failure(0.5) == first


def test_fresh_urls_are_limited() -> None:
    """Without progress, a fresh signed URL is requested a limited number of times."""
    budget = RetryBudget(max_url_refusals=3)
    assert [budget.may_refresh_url() for _ in range(3)] == [True, True, False]
    budget.add_progress(MIB)
    assert budget.may_refresh_url()


def _probe_of_several() -> ConnectionProbe:
    """Return a probe that has measured one connection at 1 MiB/s and now tries several."""
    probe = ConnectionProbe(4, started_at=0.0)
    assert not probe.should_try_parallel(1.0, MIB, waited=1.0, remaining=100 * MIB)
    assert probe.should_try_parallel(2.0, 2 * MIB, waited=1.0, remaining=100 * MIB)
    return probe


def test_several_are_kept_if_faster() -> None:
    """Several connections are kept if they are faster by a fifth."""
    probe = _probe_of_several()
    assert probe.should_stay_parallel(3.9, 2 * MIB, blocks=8)
    assert probe.should_stay_parallel(4.9, 2 * MIB, blocks=7)
    assert probe.should_stay_parallel(5.0, 2 * MIB + int(3 * MIN_SPEEDUP * MIB) + 1, blocks=8)
    assert probe.should_stay_parallel(50.0, 5 * MIB, blocks=9)


def test_several_are_dropped_if_not_faster() -> None:
    """Several connections that are not faster are not tried again."""
    probe = _probe_of_several()
    assert not probe.should_stay_parallel(5.0, 5 * MIB, blocks=8)
    probe.restart(5.0, 5 * MIB)
    assert not probe.should_try_parallel(8.0, 8 * MIB, waited=3.0, remaining=100 * MIB)


def test_several_are_not_tried_needlessly() -> None:
    """Several are not tried if the network is not the limit, little is left, or one is set."""
    assert not ConnectionProbe(4, 0.0).should_try_parallel(
        2.0, 2 * MIB, waited=0.5, remaining=100 * MIB
    )
    assert not ConnectionProbe(4, 0.0).should_try_parallel(2.0, 2 * MIB, waited=2.0, remaining=MIB)
    assert not ConnectionProbe(4, 0.0).should_try_parallel(2.0, 2 * MIB, waited=2.0, remaining=None)
    assert not ConnectionProbe(1, 0.0).should_try_parallel(
        2.0, 2 * MIB, waited=2.0, remaining=100 * MIB
    )


def test_failed_connections_are_tried_again_a_few_times() -> None:
    """After a parallel failure one connection continues; after the third failure, for good."""
    probe = _probe_of_several()
    probe.on_parallel_failure()
    probe.restart(3.0, 3 * MIB)
    assert probe.should_try_parallel(5.0, 5 * MIB, waited=2.0, remaining=100 * MIB)
    probe.on_parallel_failure()
    probe.on_parallel_failure()
    assert not probe.should_try_parallel(9.0, 9 * MIB, waited=4.0, remaining=100 * MIB)
