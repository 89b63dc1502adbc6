"""Which members of an archive may be unpacked: none that could land outside, and not too much.

``tarfile``'s data filter asks the same questions of the file system as it is at that moment, and
could be fooled by chains of links in some versions of Python. Here they are asked of the names
alone: the path of a member may not pass through a link, so that what it says is where it leads,
and a link may not name what could turn out to be outside. The filter is applied as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from airflow_provider_buildpixel.api.errors import UnexpectedAnswer
from airflow_provider_buildpixel.api.text import GIB, MIB, shown, size_text

MIN_UNPACKED_LIMIT = GIB
"""Bytes that any archive may unpack to, however small it is."""

MAX_MEMBERS = 2_000_000
MAX_HEADER = MIB
"""Bytes of a header's extension (a long name); they are read into memory as a whole."""

MAX_EXTENSIONS = 8
"""Extensions that one member's header may have; they are read by recursion, and add up."""

MAX_GLOBALS = 64
"""Global headers that an archive may set, which are kept up to its end; git sets one."""

MAX_PATH = 4096
"""Characters of a path: what Linux takes."""

MAX_LINKS = 64 * MIB
"""Characters of all symbolic links' names together; they are remembered."""


@dataclass(frozen=True)
class ArchiveMember:
    """An entry of an archive.

    :param kind: ``file``, ``directory``, ``symlink``, ``hardlink``, or what else it is.
    :param link: where a link leads, as it is written.
    """

    name: str
    kind: str
    size: int = 0
    link: str = ""


def limit_for(size: int | None, expansion: float) -> float:
    """Give the bytes that an archive of this size may unpack to; unknown, any number."""
    return float("inf") if size is None else max(MIN_UNPACKED_LIMIT, size * expansion)


@dataclass
class ArchiveGuard:
    """Admits members one after the other, and refuses the archive with the first bad one.

    :param limit: bytes that all may have together.
    :param most_members: how many they may be.
    """

    limit: float
    most_members: int = MAX_MEMBERS
    unpacked: int = 0
    members: int = 0
    linked: int = 0
    _links: set[tuple[str, ...]] = field(default_factory=set)

    def admit(self, member: ArchiveMember) -> None:
        """Check a member before it is unpacked.

        :raises UnexpectedAnswer: it does not belong into an artifact.
        """
        place = self._place(member.name, member)
        if member.kind not in {"file", "directory", "symlink", "hardlink"}:
            raise member_refused(member.name, f"is a {member.kind}")
        if not place and member.kind != "directory":
            raise member_refused(member.name, "names the target directory itself")
        if member.kind != "symlink" and place in self._links:
            raise member_refused(member.name, "would be written through a link")
        self._count(member)
        if member.kind == "hardlink" and self._place(member.link, member) in self._links:
            raise member_refused(member.name, "is a hard link to a symbolic one")
        if member.kind == "symlink":
            _check_link(member, depth=len(place) - 1)
            self._remember(place, member)

    def _remember(self, place: tuple[str, ...], member: ArchiveMember) -> None:
        self._links.add(place)
        self.linked += len(member.name) + 100  # what a small one takes
        if self.linked > MAX_LINKS:
            raise UnexpectedAnswer("the artifact has too many symbolic links: refused as a bomb")

    def expanded(self, count: int) -> None:
        """Check how many bytes came out of the decompression so far, headers included.

        :raises UnexpectedAnswer: they are too many.
        """
        if count > self.limit * 1.1 + MIN_UNPACKED_LIMIT:  # headers and padding of small files
            raise self._too_much()

    def _count(self, member: ArchiveMember) -> None:
        self.members += 1
        self.unpacked += max(0, member.size)
        if self.members > self.most_members:
            raise UnexpectedAnswer(
                f"the artifact has more than {self.most_members} members: refused as a bomb"
            )
        if self.unpacked > self.limit:
            raise self._too_much()

    def _too_much(self) -> UnexpectedAnswer:
        return UnexpectedAnswer(
            f"the artifact would unpack to more than {size_text(self.limit)}: refused as a bomb; "
            "raise max_expansion if it is none"
        )

    def _place(self, path: str, member: ArchiveMember) -> tuple[str, ...]:
        """Give the parts of a path below the target directory, none of them a link."""
        here: tuple[str, ...] = ()
        for part in _parts(path, member):
            if here in self._links:
                raise member_refused(member.name, "leads through a link")
            if part == "..":
                raise member_refused(member.name, "leads out of the target directory")
            here = (*here, part)
        return here


def _parts(path: str, member: ArchiveMember) -> list[str]:
    if path.startswith("/") or "\0" in path or not path:
        raise member_refused(member.name, "has an absolute or an empty path")
    if len(path) > MAX_PATH:
        raise member_refused(member.name, f"has a path of {len(path)} characters")
    return [part for part in path.split("/") if part not in {"", "."}]


def _check_link(member: ArchiveMember, depth: int) -> None:
    """Check that a symbolic link can never lead out, whatever is unpacked after it.

    ``..`` may only lead up from the directory where the link is, which is a real one; behind a
    name it could follow another link first. All other steps lead down, or through links as
    harmless as this.
    """
    parts = _parts(member.link, member)
    ups = next((at for at, part in enumerate(parts) if part != ".."), len(parts))
    if ups > depth or ".." in parts[ups:]:
        raise member_refused(member.name, "is a link that could lead out of the target directory")


def member_refused(name: str, why: str) -> UnexpectedAnswer:
    """Make the error of a member that is not unpacked."""
    return UnexpectedAnswer(f"the artifact is refused: its member {shown(name, 200)!r} {why}")
