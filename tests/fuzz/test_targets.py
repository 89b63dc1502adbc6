"""Runs the targets of ``make fuzz`` on their seeds, on random mutations and on random bytes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS

SEEDS = seeds()
SLOW = {"archive", "unpack"}


def _mutated(seed: bytes) -> st.SearchStrategy[bytes]:
    """Generate a seed with some bytes replaced, removed or inserted."""
    position = st.integers(0, max(0, len(seed) - 1))
    bits = st.sampled_from([b"", b"\x00", b"\xff", b"9" * 400, b'"', b"[", b"\x1b[2J", b"../"])
    change = st.tuples(position, st.integers(0, 8), bits | st.binary(max_size=8))

    def apply(changes: list[tuple[int, int, bytes]]) -> bytes:
        mutated = seed
        for at, length, inserted in changes:
            mutated = mutated[:at] + inserted + mutated[at + length :]
        return mutated

    return st.lists(change, max_size=6).map(apply)


def _inputs(name: str) -> st.SearchStrategy[bytes]:
    return st.binary(max_size=600) | st.sampled_from(SEEDS[name]).flatmap(_mutated)


@pytest.mark.parametrize("name", TARGETS)
def test_seeds(name: str) -> None:
    """Each seed is decoded without an undeclared error."""
    assert SEEDS[name]
    for seed in SEEDS[name]:
        TARGETS[name](seed)


@pytest.mark.parametrize("name", TARGETS)
def test_mutated_seeds(name: str) -> None:
    """Mutated seeds and random bytes are decoded without an undeclared error."""
    max_examples = 60 if name in SLOW else 200

    @settings(max_examples=max_examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=_inputs(name))
    def run(data: Any) -> None:
        TARGETS[name](data)

    run()
