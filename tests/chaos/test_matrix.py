"""The short form of the matrix: each fault once, spread over phases, modes and channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.chaos.drive import play_all
from tests.chaos.table import sample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chaos.drive import Outcome
    from tests.chaos.table import Cell

AT_ONCE = 12


@pytest.fixture(scope="module")
def outcomes() -> Iterator[dict[str, Outcome]]:
    """Carry the sample out, many cells at once."""
    with pytest.MonkeyPatch.context() as patch:
        # Deferred tasks come back at once: no scheduler here could mistake them for failed.
        patch.setenv("AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL", "-5")
        yield {str(outcome.cell): outcome for outcome in play_all(sample(), AT_ONCE)}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("cell", sample(), ids=str)
def test_end(cell: Cell, outcomes: dict[str, Outcome]) -> None:
    """A task ends as the table says, with as many builds as it says."""
    assert not outcomes[str(cell)].problems
