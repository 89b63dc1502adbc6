from __future__ import annotations

import pytest

from airflow_provider_buildpixel.api.model import Build, Status
from airflow_provider_buildpixel.api.paging import newest_first, surely_newest_first


def builds(ids: str, statuses: str = "") -> list[Build]:
    """Make builds of one letter each."""
    return [Build(one, Status(status)) for one, status in zip(ids, statuses or ids, strict=True)]


@pytest.mark.parametrize(
    ("ids", "expected"), [("cba", True), ("ab", False), ("a", False), ("", False), ("bb", False)]
)
def test_newest_first(ids: str, *, expected: bool) -> None:
    """A list is taken as sorted only if its ids show it."""
    assert newest_first(builds(ids)) is expected


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
def test_by_age(ids: str, statuses: str, *, expected: bool) -> None:
    """A list that may be grouped by status is not sorted by age, however its ids fall."""
    assert surely_newest_first(builds(ids, statuses)) is expected
