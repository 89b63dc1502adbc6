"""A sample of the matrix: each fault once, spread over phases, modes and channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.chaos.run_cells import run_cells
from tests.chaos.table import sample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chaos.run_cells import CellResult
    from tests.chaos.table import Cell

CONCURRENCY = 12


@pytest.fixture(scope="module")
def results() -> Iterator[dict[str, CellResult]]:
    """Run the sample, many cells at the same time."""
    with pytest.MonkeyPatch.context() as patch:
        # Deferred tasks resume without a delay: no scheduler here could mistake them for failed.
        patch.setenv("AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL", "-5")
        yield {str(result.cell): result for result in run_cells(sample(), CONCURRENCY)}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("cell", sample(), ids=str)
def test_end(cell: Cell, results: dict[str, CellResult]) -> None:
    """A task ends as stated in the table, with the stated number of builds."""
    assert not results[str(cell)].problems
