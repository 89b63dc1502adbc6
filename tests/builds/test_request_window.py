from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from airflow_provider_buildpixel.api.model import Build, Status
from airflow_provider_buildpixel.builds.request_window import (
    AFTER_ERROR,
    LATE_START,
    MAX_KNOWN_IDS,
    RequestWindow,
)

SENT_AT = 1000.0
WINDOW = RequestWindow(SENT_AT, SENT_AT + 60.0, tolerance=2.0, known_ids=("old",))
LATE = replace(WINDOW, may_run_later=True)
LATEST = SENT_AT + LATE_START + 2.0


def build(identity: str = "b", at: float | None = 1005.0) -> Build:
    """Return a build that was created at some time."""
    created_at = None if at is None else datetime.fromtimestamp(at, UTC)
    return Build(identity, Status("pending"), created_at=created_at)


@pytest.mark.parametrize(
    ("window", "identity", "at", "includes", "includes_own", "may_include"),
    [
        (WINDOW, "b", 997.9, False, False, False),
        (WINDOW, "b", 998.0, True, True, True),
        (WINDOW, "b", 1062.0, True, True, True),
        (WINDOW, "b", 1062.1, False, False, False),
        (WINDOW, "b", None, False, False, True),
        (WINDOW, "old", 1005.0, False, False, False),
        (WINDOW, "old", None, False, False, False),
        (LATE, "b", 997.9, False, False, False),
        (LATE, "b", 998.0, True, True, True),
        (LATE, "b", 1062.0, True, True, True),
        (LATE, "b", 1062.1, False, True, True),
        (LATE, "b", LATEST, False, True, True),
        (LATE, "b", LATEST + 0.1, False, False, True),
        (LATE, "b", None, False, False, True),
        (LATE, "old", 1005.0, False, False, False),
        (LATE, "old", None, False, False, False),
        (replace(LATE, until=9e3), "b", 9002.0, True, True, True),
        (replace(LATE, until=9e3), "b", 9002.1, False, False, True),
    ],
)
def test_a_window(
    window: RequestWindow,
    identity: str,
    at: float | None,
    *,
    includes: bool,
    includes_own: bool,
    may_include: bool,
) -> None:
    """A build is ours only if it was created while a request can have run, and was not known."""
    found = build(identity, at)
    assert window.includes(found) is includes
    assert window.includes(found, is_own_token=True) is includes_own
    assert window.may_include(found) is may_include


def test_the_window_of_a_request() -> None:
    """Builds from before a request are remembered, if clocks could take them for later ones."""
    listed = [build("a", 995.9), build("b", 996.0), build("c", 1000.0)]
    window = RequestWindow.of_request(SENT_AT, 60.0, 2.0, listed)
    assert window == RequestWindow(SENT_AT, 1060.0, tolerance=2.0, known_ids=("b", "c"))
    assert window.starts_at == 998.0
    many = [build(str(number)) for number in range(MAX_KNOWN_IDS + 1)]
    window = RequestWindow.of_request(SENT_AT, 60.0, 2.0, many)
    assert window.known_ids == tuple(str(number) for number in range(1, MAX_KNOWN_IDS + 1))


def test_the_window_after_an_error() -> None:
    """A request that is over starts no build after a while; one that timed out may at any time."""
    assert WINDOW.after_error(1001.0, is_over=True) == replace(WINDOW, until=1001.0 + AFTER_ERROR)
    assert WINDOW.after_error(1059.0, is_over=True) == WINDOW
    assert WINDOW.after_error(1059.0, is_over=False) == LATE
    assert LATE.after_error(1001.0, is_over=True).may_run_later


def test_a_window_that_was_stored() -> None:
    """A window is read as it was stored; what is missing promises nothing."""
    stored = {"since": 1000, "until": "1060", "tolerance": 2.0, "known_ids": ["old", None, ""]}
    assert RequestWindow.from_json(stored) == WINDOW
    assert RequestWindow.from_json({**stored, "may_run_later": True}) == LATE
    assert RequestWindow.from_json({"known_ids": "abc", "since": []}) == RequestWindow()
    assert RequestWindow.from_json(None) == RequestWindow()
