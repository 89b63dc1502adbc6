from __future__ import annotations

from airflow_provider_buildpixel.api.text import MIB
from airflow_provider_buildpixel.downloads.throughput import (
    MIN_SPEEDUP,
    ConnectionProbe,
    RetryBudget,
    StallDetector,
    TransferProgress,
)


def test_slow_connection_is_noticed() -> None:
    """A connection below the least rate over the window is given up; one above it is not."""
    pace = StallDetector(least=100, window=10)
    assert not any(pace.too_slow(60, 1) for _ in range(9))
    assert pace.too_slow(60, 1)
    assert not any(pace.too_slow(110, 1) for _ in range(30))


def test_only_waiting_counts() -> None:
    """Time that went to a slow disk is not the connection's."""
    pace = StallDetector(least=100, window=10)
    assert not any(pace.too_slow(1, 0.01) for _ in range(900))


def test_progress_lines() -> None:
    """A line comes every few seconds, with bytes, percent, rate and time left."""
    progress = TransferProgress(total=100 * MIB, began_at=0.0)
    assert progress.line(4.9, 10 * MIB) is None
    line = progress.line(5.0, 20 * MIB)
    assert line == "20.0 MiB of 100.0 MiB (20.0 %), 4.0 MiB/s, 20 s left"
    assert progress.line(9.0, 30 * MIB) is None
    assert progress.line(10.0, 20 * MIB) == (
        "20.0 MiB of 100.0 MiB (20.0 %), 0 B/s, time left unknown"
    )
    assert progress.last(20.0, 100 * MIB) == (
        "100.0 MiB of 100.0 MiB (100.0 %), 100.0 MiB in 20 s, 5.0 MiB/s"
    )


def test_progress_without_a_size() -> None:
    """Where the size is unknown, neither percent nor time left is made up."""
    progress = TransferProgress(total=None, began_at=0.0, done=MIB)
    assert progress.line(5.0, 6 * MIB) == "6.0 MiB, 1.0 MiB/s"
    assert progress.last(5.0, 6 * MIB) == "6.0 MiB, 5.0 MiB in 5 s, 1.0 MiB/s"


def test_patience_ends_without_progress() -> None:
    """Failures in a row end it; their pauses grow; a mebibyte in between makes it forget."""
    patience = RetryBudget(misses=3, renewals=2)
    first, second = patience.miss(0.5), patience.miss(0.5)
    assert first is not None
    assert second is not None
    assert first < second
    patience.progressed(MIB - 1)
    assert patience.miss(0.5) is None
    patience.progressed(1)
    assert patience.miss(0.5) == first


def test_fresh_urls_are_asked_for_a_few_times() -> None:
    """A signed URL is renewed a bounded number of times without progress."""
    patience = RetryBudget(renewals=3)
    assert [patience.renew() for _ in range(3)] == [True, True, False]
    patience.progressed(MIB)
    assert patience.renew()


def _tried(lanes: int = 4) -> ConnectionProbe:
    """Give a trial that has measured one stream at 1 MiB/s and now tries several."""
    trial = ConnectionProbe(lanes, began_at=0.0)
    assert not trial.several(1.0, MIB, waited=1.0, left=100 * MIB)
    assert trial.several(2.0, 2 * MIB, waited=1.0, left=100 * MIB)
    return trial


def test_several_stay_if_faster() -> None:
    """Several connections are kept if they are faster by a fifth."""
    trial = _tried()
    assert trial.stay(3.9, 2 * MIB, blocks=8)
    assert trial.stay(4.9, 2 * MIB, blocks=7)
    assert trial.stay(5.0, 2 * MIB + int(3 * MIN_SPEEDUP * MIB) + 1, blocks=8)
    assert trial.stay(50.0, 5 * MIB, blocks=9)


def test_one_goes_on_if_several_are_not_faster() -> None:
    """Several connections that are not faster are given up for good."""
    trial = _tried()
    assert not trial.stay(5.0, 5 * MIB, blocks=8)
    trial.begin(5.0, 5 * MIB)
    assert not trial.several(8.0, 8 * MIB, waited=3.0, left=100 * MIB)


def test_several_are_not_tried_in_vain() -> None:
    """One stream stays alone if it is not what limits, if little is left, or if told so."""
    assert not ConnectionProbe(4, 0.0).several(2.0, 2 * MIB, waited=0.5, left=100 * MIB)
    assert not ConnectionProbe(4, 0.0).several(2.0, 2 * MIB, waited=2.0, left=MIB)
    assert not ConnectionProbe(4, 0.0).several(2.0, 2 * MIB, waited=2.0, left=None)
    assert not ConnectionProbe(1, 0.0).several(2.0, 2 * MIB, waited=2.0, left=100 * MIB)


def test_broken_lanes_are_tried_again_a_few_times() -> None:
    """After one of several connections broke one goes on; after the third time, for good."""
    trial = _tried()
    trial.failed()
    trial.begin(3.0, 3 * MIB)
    assert trial.several(5.0, 5 * MIB, waited=2.0, left=100 * MIB)
    trial.failed()
    trial.failed()
    assert not trial.several(9.0, 9 * MIB, waited=4.0, left=100 * MIB)
