from __future__ import annotations

from collections import deque
from dataclasses import replace

import pytest

from airflow_provider_buildpixel.core.sizes import GIB
from airflow_provider_buildpixel.core.unpacking import Guard, Member, limit_for
from airflow_provider_buildpixel.exceptions import UnexpectedAnswer

GOOD = [
    [Member("Game/x.pak", "file", 5)],
    [Member(".", "directory"), Member("./Game", "directory"), Member("./Game/x", "file")],
    [Member("lib/libx.so.1", "file"), Member("lib/libx.so", "symlink", link="libx.so.1")],
    [Member("a/b/link", "symlink", link="../../c"), Member("c", "file")],
    # As in a framework for the Mac: a link that leads through a link.
    [
        Member("F/Versions/A/F", "file"),
        Member("F/Versions/Current", "symlink", link="A"),
        Member("F/F", "symlink", link="Versions/Current/F"),
    ],
    [Member("a", "file"), Member("b", "hardlink", link="a")],
    [Member("l", "symlink", link="x"), Member("l", "symlink", link="y")],
]
BAD = {
    "absolute": [Member("/etc/passwd", "file")],
    "empty": [Member("", "file")],
    "long": [Member("a/" * 5000, "file")],
    "dots": [Member("a/../../x", "file")],
    "inner-dots": [Member("a/../x", "file")],
    "device": [Member("null", "character device")],
    "pipe": [Member("p", "pipe")],
    "target-itself": [Member(".", "symlink", link="x")],
    "absolute-link": [Member("l", "symlink", link="/etc")],
    "link-out": [Member("l", "symlink", link="..")],
    "link-out-of-depth": [Member("a/l", "symlink", link="../../x")],
    "dots-behind-a-name": [Member("a/b/l", "symlink", link="x/../../../y")],
    "through-a-link": [Member("l", "symlink", link="x"), Member("l/f", "file")],
    "over-a-link": [Member("l", "symlink", link="x"), Member("l", "file")],
    "hard-link-out": [Member("h", "hardlink", link="../x")],
    "hard-link-absolute": [Member("h", "hardlink", link="/etc/passwd")],
    "hard-link-to-link": [Member("l", "symlink", link="x"), Member("h", "hardlink", link="l")],
    "hard-link-through-link": [
        Member("l", "symlink", link="x"),
        Member("h", "hardlink", link="l/y"),
    ],
    "bomb": [Member("big", "file", 2 * GIB + 1)],
    "many-small": [Member(f"f{n}", "file", GIB) for n in range(3)],
}


@pytest.mark.parametrize("members", GOOD)
def test_good_archive(members: list[Member]) -> None:
    """What builds contain is admitted, links inside the target included."""
    guard = Guard(limit=2 * GIB)
    for member in members:
        guard.admit(member)
    assert guard.members == len(members)


@pytest.mark.parametrize("members", BAD.values(), ids=BAD)
def test_bad_archive(members: list[Member]) -> None:
    """A member that could land outside, or is none of a build, refuses the whole archive."""
    guard = Guard(limit=2 * GIB)
    for member in members[:-1]:
        guard.admit(member)
    with pytest.raises(UnexpectedAnswer):
        guard.admit(members[-1])


def test_expansion_is_limited() -> None:
    """What comes out of the decompression is limited too, apart from what is in files."""
    guard = Guard(limit=GIB)
    guard.expanded(GIB)
    with pytest.raises(UnexpectedAnswer, match="bomb"):
        guard.expanded(3 * GIB)


def test_members_are_limited() -> None:
    """An archive of endlessly many members is refused."""
    guard, member = Guard(limit=GIB, most_members=2), Member("f", "file")
    guard.admit(member)
    guard.admit(replace(member, name="g"))
    with pytest.raises(UnexpectedAnswer, match="more than 2"):
        guard.admit(member)


def test_links_are_limited() -> None:
    """Symbolic links, which must be remembered, are limited by what that takes."""
    guard = Guard(limit=GIB)
    linked = (Member(f"{number}-{'x' * 1000}", "symlink", link="x") for number in range(70_000))
    with pytest.raises(UnexpectedAnswer, match="too many symbolic links"):
        deque(map(guard.admit, linked), 0)


def test_limit_follows_the_size() -> None:
    """The limit is a multiple of the size, and never less than a gibibyte."""
    assert limit_for(10 * GIB, 50) == 500 * GIB
    assert limit_for(10, 50) == GIB
    assert limit_for(None, 50) == float("inf")
