"""Tests of the table itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_buildpixel.sandbox.faults.catalog import KINDS
from tests.chaos.__main__ import page
from tests.chaos.rules import RULES, End, Impossible
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
    """Every fault of the sandbox has a rule."""
    assert set(RULES) == set(KINDS)


def test_every_combination_exists() -> None:
    """Each combination of fault, phase, mode and channel exists once, with an end or a reason."""
    everything = cells()
    assert len({str(cell) for cell in everything}) == len(everything)
    assert len(everything) == len(rows()) * len(PHASES) * len(MODES) * len(CHANNELS)
    assert all(
        cell.end.text if isinstance(cell.end, End) else cell.end.reason for cell in everything
    )


@pytest.mark.parametrize("row", rows(), ids=str)
def test_only_permanent_faults_fail(row: Row) -> None:
    """A temporary fault ends in success, perhaps with a retry; a permanent one in an error."""
    ends = [cell.end for cell in cells() if cell.row == row and isinstance(cell.end, End)]
    for end in ends:
        assert (end.error is not None and not end.retried) == row.rule.permanent


def test_sample_covers_everything() -> None:
    """The sample has every fault that can happen, every phase, mode and channel."""
    selected = sample()
    assert {cell.row.kind for cell in selected} == {cell.row.kind for cell in possible(cells())}
    assert {cell.phase for cell in selected} == set(PHASES)
    assert {(cell.mode, cell.channel) for cell in selected} >= {
        ("blocking", "socket"),
        ("deferrable", "socket"),
        ("blocking", "polling"),
        ("deferrable", "polling"),
    }
    missing = {row.kind for row in rows()} - {cell.row.kind for cell in selected}
    assert missing == {kind for kind in KINDS if KINDS[kind].layer == "webhook"}


def test_page_shows_reasons() -> None:
    """The page lists what cannot happen, with the reason."""
    text = page([], 0.0)
    assert all(f"| {row} |" in text for row in rows())
    assert all(
        f": {cell.end.reason} (" in text for cell in cells() if isinstance(cell.end, Impossible)
    )
