from __future__ import annotations

from collections import deque
from dataclasses import replace

import pytest

from airflow_provider_buildpixel.api.text import GIB
from airflow_provider_buildpixel.downloads.destinations.archive_guard import (
    ArchiveGuard,
    ArchiveMember,
    unpacked_limit,
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
    # As in a macOS framework: a link that leads through a link.
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
    "dots-after-a-name": [ArchiveMember("a/b/l", "symlink", link="x/../../../y")],
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
    "many-files": [ArchiveMember(f"f{n}", "file", GIB) for n in range(3)],
}


@pytest.mark.parametrize("members", GOOD)
def test_good_archive(members: list[ArchiveMember]) -> None:
    """The members of usual builds are accepted, including links inside the target."""
    guard = ArchiveGuard(limit=2 * GIB)
    for member in members:
        guard.check_member(member)
    assert guard.member_count == len(members)


@pytest.mark.parametrize("members", BAD.values(), ids=BAD)
def test_bad_archive(members: list[ArchiveMember]) -> None:
    """A member that could be written outside, or is of a kind no build has, is refused."""
    guard = ArchiveGuard(limit=2 * GIB)
    for member in members[:-1]:
        guard.check_member(member)
    with pytest.raises(UnexpectedAnswer):
        guard.check_member(members[-1])


def test_unpacked_size_is_limited() -> None:
    """The decompressed bytes are limited too, in addition to the sizes of the files."""
    guard = ArchiveGuard(limit=GIB)
    guard.check_unpacked_size(GIB)
    with pytest.raises(UnexpectedAnswer, match="bomb"):
        guard.check_unpacked_size(3 * GIB)


def test_members_are_limited() -> None:
    """An archive of too many members is refused."""
    guard, member = ArchiveGuard(limit=GIB, max_members=2), ArchiveMember("f", "file")
    guard.check_member(member)
    guard.check_member(replace(member, name="g"))
    with pytest.raises(UnexpectedAnswer, match="more than 2"):
        guard.check_member(member)


def test_links_are_limited() -> None:
    """Symbolic links, which are kept in memory, are limited by the memory they need."""
    guard = ArchiveGuard(limit=GIB)
    links = (
        ArchiveMember(f"{number}-{'x' * 1000}", "symlink", link="x") for number in range(70_000)
    )
    with pytest.raises(UnexpectedAnswer, match="too many symbolic links"):
        deque(map(guard.check_member, links), 0)


def test_limit_depends_on_the_size() -> None:
    """The limit is a multiple of the size, at least one gibibyte."""
    assert unpacked_limit(10 * GIB, 50) == 500 * GIB
    assert unpacked_limit(10, 50) == GIB
    assert unpacked_limit(None, 50) == float("inf")
