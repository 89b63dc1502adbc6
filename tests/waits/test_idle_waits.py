from __future__ import annotations

from math import inf

import pytest

from airflow_provider_buildpixel.api.model import Build, Status
from airflow_provider_buildpixel.waits.actions import IdleTerms, IdleWait, ReadTime
from airflow_provider_buildpixel.waits.tracker import BuildTracker

TERMS = IdleTerms(Status("running"), since=100.0, pause=10.0, until=300.0)


def idle_wait(terms: IdleTerms | None = TERMS) -> IdleWait:
    """Return a wait that idles until 110."""
    found = IdleWait()
    found.go_idle(terms, 110.0)
    return found


def test_a_read_with_the_known_status_delays_waking() -> None:
    """A read with the known status lets a wait stay idle, counted from that read."""
    wait = idle_wait()
    assert wait.wake_at() == 110.0
    assert wait.on_status("running", ReadTime(104.0, 105.0))
    assert wait.wake_at() == 115.0
    assert wait.take_last_read() == ReadTime(104.0, 105.0)
    assert wait.take_last_read() is None
    assert not wait.on_status("running", ReadTime(106.0, 107.0)), "it is awake"


def test_no_read_delays_waking_beyond_its_limit() -> None:
    """A wait wakes for its own deadline, whatever is read."""
    wait = idle_wait()
    wait.on_status("running", ReadTime(298.0, 299.0))
    assert wait.wake_at() == 300.0
    assert not wait.on_status("running", ReadTime(299.0, 300.0))


def test_a_read_from_before_the_last_event_does_not_delay_waking() -> None:
    """Such a read does not wake the wait, but it does not count either."""
    wait = idle_wait()
    assert wait.on_status("running", ReadTime(99.0, 105.0))
    assert wait.wake_at() == 110.0
    assert wait.take_last_read() is None


def test_a_read_that_began_with_the_last_event_counts() -> None:
    """The limit itself is inside."""
    wait = idle_wait()
    assert wait.on_status("running", ReadTime(100.0, 105.0))
    assert wait.wake_at() == 115.0


@pytest.mark.parametrize("terms", [TERMS, None])
def test_a_wait_without_idle_terms_skips_no_read(terms: IdleTerms | None) -> None:
    """A new status wakes a wait; so does any status without terms, or once the wait is awake."""
    wait = idle_wait(terms)
    assert not wait.on_status("complete", ReadTime(104.0, 105.0))
    wait.wake()
    assert not wait.on_status("running", ReadTime(104.0, 105.0))
    assert wait.wake_at() == 110.0


def test_new_terms_replace_the_old_ones() -> None:
    """A wait that idles again without terms skips no read any more."""
    wait = idle_wait()
    wait.on_status("running", ReadTime(104.0, 105.0))
    wait.go_idle(None, 120.0)
    assert not wait.on_status("running", ReadTime(106.0, 107.0))
    assert wait.wake_at() == 120.0


def test_a_new_wait_is_awake() -> None:
    """Before it idles, a wait wakes at once and has no read."""
    wait = IdleWait()
    assert wait.wake_at() == -inf
    assert not wait.on_status("running", ReadTime(1.0, 2.0))
    assert wait.take_last_read() is None


def test_when_a_wait_may_idle() -> None:
    """A wait may idle once a read has counted, until it requests a read or its build ends."""
    tracker = BuildTracker(0.0, uses_channel=False, deadline=500.0)
    assert tracker.idle_terms() is None
    tracker.on_read(Build("b", Status("running")), 10.0, 9.0)
    assert tracker.idle_terms(50.0) == IdleTerms(Status("running"), -inf, 31.5, 50.0)
    assert tracker.idle_terms() == IdleTerms(Status("running"), -inf, 31.5, 500.0)
    tracker.read_requested(41.0)
    assert tracker.idle_terms() is None
    tracker.on_read(Build("b", Status("complete")), 42.0, 41.0)
    assert tracker.idle_terms() is None
