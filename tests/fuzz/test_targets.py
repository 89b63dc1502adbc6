"""The targets of ``make fuzz``, on their seeds and on what is made of them at random."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS

SEEDS = seeds()
SLOW = {"archive", "unpack"}


def _changed(seed: bytes) -> st.SearchStrategy[bytes]:
    """Give a seed with some of its bytes replaced, left out or repeated."""
    place = st.integers(0, max(0, len(seed) - 1))
    bits = st.sampled_from([b"", b"\x00", b"\xff", b"9" * 400, b'"', b"[", b"\x1b[2J", b"../"])
    change = st.tuples(place, st.integers(0, 8), bits | st.binary(max_size=8))

    def apply(changes: list[tuple[int, int, bytes]]) -> bytes:
        made = seed
        for at, length, put in changes:
            made = made[:at] + put + made[at + length :]
        return made

    return st.lists(change, max_size=6).map(apply)


def _inputs(name: str) -> st.SearchStrategy[bytes]:
    return st.binary(max_size=600) | st.sampled_from(SEEDS[name]).flatmap(_changed)


@pytest.mark.parametrize("name", TARGETS)
def test_seeds(name: str) -> None:
    """Each seed is read without an undeclared error."""
    assert SEEDS[name]
    for seed in SEEDS[name]:
        TARGETS[name](seed)


@pytest.mark.parametrize("name", TARGETS)
def test_anything(name: str) -> None:
    """So is what is made of the seeds, and so are any bytes."""
    most = 60 if name in SLOW else 200

    @settings(max_examples=most, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=_inputs(name))
    def run(data: Any) -> None:
        TARGETS[name](data)

    run()
