from __future__ import annotations

from collections import deque
from dataclasses import replace

import pytest

from airflow_provider_buildpixel.api.text import GIB
from airflow_provider_buildpixel.downloads.destinations.archive_guard import (
    ArchiveGuard,
    ArchiveMember,
    limit_for,
)
from airflow_provider_buildpixel.exceptions import UnexpectedAnswer

GOOD = [
    [ArchiveMember("Game/x.pak", "file", 5)],
    [
        ArchiveMember(".", "directory"),
        ArchiveMember("./Game", "directory"),
        ArchiveMember("./Game/x", "file"),
    ],
    [
        ArchiveMember("lib/libx.so.1", "file"),
        ArchiveMember("lib/libx.so", "symlink", link="libx.so.1"),
    ],
    [ArchiveMember("a/b/link", "symlink", link="../../c"), ArchiveMember("c", "file")],
    # As in a framework for the Mac: a link that leads through a link.
    [
        ArchiveMember("F/Versions/A/F", "file"),
        ArchiveMember("F/Versions/Current", "symlink", link="A"),
        ArchiveMember("F/F", "symlink", link="Versions/Current/F"),
    ],
    [ArchiveMember("a", "file"), ArchiveMember("b", "hardlink", link="a")],
    [ArchiveMember("l", "symlink", link="x"), ArchiveMember("l", "symlink", link="y")],
]
BAD = {
    "absolute": [ArchiveMember("/etc/passwd", "file")],
    "empty": [ArchiveMember("", "file")],
    "long": [ArchiveMember("a/" * 5000, "file")],
    "dots": [ArchiveMember("a/../../x", "file")],
    "inner-dots": [ArchiveMember("a/../x", "file")],
    "device": [ArchiveMember("null", "character device")],
    "pipe": [ArchiveMember("p", "pipe")],
    "target-itself": [ArchiveMember(".", "symlink", link="x")],
    "absolute-link": [ArchiveMember("l", "symlink", link="/etc")],
    "link-out": [ArchiveMember("l", "symlink", link="..")],
    "link-out-of-depth": [ArchiveMember("a/l", "symlink", link="../../x")],
    "dots-behind-a-name": [ArchiveMember("a/b/l", "symlink", link="x/../../../y")],
    "through-a-link": [ArchiveMember("l", "symlink", link="x"), ArchiveMember("l/f", "file")],
    "over-a-link": [ArchiveMember("l", "symlink", link="x"), ArchiveMember("l", "file")],
    "hard-link-out": [ArchiveMember("h", "hardlink", link="../x")],
    "hard-link-absolute": [ArchiveMember("h", "hardlink", link="/etc/passwd")],
    "hard-link-to-link": [
        ArchiveMember("l", "symlink", link="x"),
        ArchiveMember("h", "hardlink", link="l"),
    ],
    "hard-link-through-link": [
        ArchiveMember("l", "symlink", link="x"),
        ArchiveMember("h", "hardlink", link="l/y"),
    ],
    "bomb": [ArchiveMember("big", "file", 2 * GIB + 1)],
    "many-small": [ArchiveMember(f"f{n}", "file", GIB) for n in range(3)],
}


@pytest.mark.parametrize("members", GOOD)
def test_good_archive(members: list[ArchiveMember]) -> None:
    """What builds contain is admitted, links inside the target included."""
    guard = ArchiveGuard(limit=2 * GIB)
    for member in members:
        guard.admit(member)
    assert guard.members == len(members)


@pytest.mark.parametrize("members", BAD.values(), ids=BAD)
def test_bad_archive(members: list[ArchiveMember]) -> None:
    """A member that could land outside, or is none of a build, refuses the whole archive."""
    guard = ArchiveGuard(limit=2 * GIB)
    for member in members[:-1]:
        guard.admit(member)
    with pytest.raises(UnexpectedAnswer):
        guard.admit(members[-1])


def test_expansion_is_limited() -> None:
    """What comes out of the decompression is limited too, apart from what is in files."""
    guard = ArchiveGuard(limit=GIB)
    guard.expanded(GIB)
    with pytest.raises(UnexpectedAnswer, match="bomb"):
        guard.expanded(3 * GIB)


def test_members_are_limited() -> None:
    """An archive of endlessly many members is refused."""
    guard, member = ArchiveGuard(limit=GIB, most_members=2), ArchiveMember("f", "file")
    guard.admit(member)
    guard.admit(replace(member, name="g"))
    with pytest.raises(UnexpectedAnswer, match="more than 2"):
        guard.admit(member)


def test_links_are_limited() -> None:
    """Symbolic links, which must be remembered, are limited by what that takes."""
    guard = ArchiveGuard(limit=GIB)
    linked = (
        ArchiveMember(f"{number}-{'x' * 1000}", "symlink", link="x") for number in range(70_000)
    )
    with pytest.raises(UnexpectedAnswer, match="too many symbolic links"):
        deque(map(guard.admit, linked), 0)


def test_limit_follows_the_size() -> None:
    """The limit is a multiple of the size, and never less than a gibibyte."""
    assert limit_for(10 * GIB, 50) == 500 * GIB
    assert limit_for(10, 50) == GIB
    assert limit_for(None, 50) == float("inf")
