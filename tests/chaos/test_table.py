"""The table of ends, by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_buildpixel.sandbox.faults import KINDS
from tests.chaos.__main__ import page
from tests.chaos.rules import RULES, End, Never
from tests.chaos.table import (
    CHANNELS,
    MODES,
    PHASES,
    cells,
    possible,
    rows,
    sample,
)

if TYPE_CHECKING:
    from tests.chaos.table import (
        Row,
    )


def test_every_fault_has_a_rule() -> None:
    """A fault that the sandbox learns must be given its ends here."""
    assert set(RULES) == set(KINDS)


def test_every_combination_is_there() -> None:
    """Each fault meets each phase, mode and channel once, with an end or a reason."""
    everything = cells()
    assert len({str(cell) for cell in everything}) == len(everything)
    assert len(everything) == len(rows()) * len(PHASES) * len(MODES) * len(CHANNELS)
    assert all(cell.end.words if isinstance(cell.end, End) else cell.end.why for cell in everything)


@pytest.mark.parametrize("row", rows(), ids=str)
def test_what_heals_ends_right(row: Row) -> None:
    """What heals ends right, perhaps with a retry; what lasts fails with an error that says so."""
    ends = [cell.end for cell in cells() if cell.row == row and isinstance(cell.end, End)]
    for end in ends:
        assert (end.error is not None and not end.retried) == row.rule.lasts


def test_the_sample_leaves_nothing_out() -> None:
    """The short form has every fault that can strike at all, every phase, mode and channel."""
    chosen = sample()
    assert {cell.row.kind for cell in chosen} == {cell.row.kind for cell in possible(cells())}
    assert {cell.phase for cell in chosen} == set(PHASES)
    assert {(cell.mode, cell.channel) for cell in chosen} >= {
        ("blocking", "socket"),
        ("deferrable", "socket"),
        ("blocking", "polling"),
        ("deferrable", "polling"),
    }
    never = {row.kind for row in rows()} - {cell.row.kind for cell in chosen}
    assert never == {kind for kind in KINDS if KINDS[kind].place == "webhook"}


def test_the_page_says_why_not() -> None:
    """What cannot happen is on the page with its reason, not left out."""
    text = page([], 0.0)
    assert all(f"| {row} |" in text for row in rows())
    assert all(f": {cell.end.why} (" in text for cell in cells() if isinstance(cell.end, Never))
