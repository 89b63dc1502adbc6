from __future__ import annotations

import pytest

from airflow_provider_buildpixel.api.model import Build, Status
from airflow_provider_buildpixel.api.paging import is_newest_first, is_surely_newest_first


def builds(ids: str, statuses: str = "") -> list[Build]:
    """Return builds with ids of one letter."""
    return [Build(one, Status(status)) for one, status in zip(ids, statuses or ids, strict=True)]


@pytest.mark.parametrize(
    ("ids", "expected"), [("cba", True), ("ab", False), ("a", False), ("", False), ("bb", False)]
)
def test_is_newest_first(ids: str, *, expected: bool) -> None:
    """A list counts as sorted only if its ids prove it."""
    assert is_newest_first(builds(ids)) is expected


@pytest.mark.parametrize(
    ("ids", "statuses", "expected"),
    [
        ("edcba", "rcfcc", True),
        ("edcba", "ccccc", False),
        ("edcba", "rrccc", False),
        ("edabc", "rcfcc", False),
        ("", "", False),
    ],
    ids=["mixed", "one-status", "grouped", "not-falling", "empty"],
)
def test_is_surely_newest_first(ids: str, statuses: str, *, expected: bool) -> None:
    """A list that may be grouped by status does not count as sorted by age."""
    assert is_surely_newest_first(builds(ids, statuses)) is expected
