"""Checks the members of an archive before they are unpacked: their paths, kinds and sizes.

``tarfile``'s data filter makes the same checks against the file system as it is at that moment,
and chains of links could bypass it in some versions of Python. The checks here need only the
names: a member's path may not pass through a link, so the path is the real location, and a link may
not have a target that could turn out to be outside. The filter is applied as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from airflow_provider_buildpixel.api.errors import UnexpectedAnswer
from airflow_provider_buildpixel.api.text import GIB, MIB, safe_text, size_text

MIN_UNPACKED_LIMIT = GIB
"""Bytes that any archive may unpack to, however small it is."""

MAX_MEMBERS = 2_000_000
MAX_HEADER = MIB
"""Bytes of one extended header (a long name); ``tarfile`` reads it into memory as a whole."""

MAX_EXTENSIONS = 8
"""Extended headers of one member; ``tarfile`` reads them recursively, and keeps them all."""

MAX_GLOBALS = 64
"""Global headers of an archive, which are kept until its end; git sets one."""

MAX_PATH = 4096
"""Characters of a path: Linux's limit."""

MAX_LINKS = 64 * MIB
"""Characters of all symbolic links' names together; they are kept in memory."""


@dataclass(frozen=True)
class ArchiveMember:
    """An entry of an archive.

    :param kind: ``file``, ``directory``, ``symlink``, ``hardlink``, or the name of another kind.
    :param link: the target of a link, as stored.
    """

    name: str
    kind: str
    size: int = 0
    link: str = ""


def unpacked_limit(size: int | None, max_expansion: float) -> float:
    """Return the bytes that an archive of this size may unpack to; infinite if it is unknown."""
    return float("inf") if size is None else max(MIN_UNPACKED_LIMIT, size * max_expansion)


@dataclass
class ArchiveGuard:
    """Checks members in order, and rejects the whole archive at the first bad one.

    :param limit: bytes that all members may have together.
    """

    limit: float
    max_members: int = MAX_MEMBERS
    unpacked_bytes: int = 0
    member_count: int = 0
    link_bytes: int = 0
    _links: set[tuple[str, ...]] = field(default_factory=set)

    def check_member(self, member: ArchiveMember) -> None:
        """Check a member before it is unpacked.

        :raises UnexpectedAnswer: it does not belong into an artifact.
        """
        path = self._resolve(member.name, member)
        if member.kind not in {"file", "directory", "symlink", "hardlink"}:
            raise member_refused(member.name, f"is a {member.kind}")
        if not path and member.kind != "directory":
            raise member_refused(member.name, "names the target directory itself")
        if member.kind != "symlink" and path in self._links:
            raise member_refused(member.name, "would be written through a link")
        self._count(member)
        if member.kind == "hardlink" and self._resolve(member.link, member) in self._links:
            raise member_refused(member.name, "is a hard link to a symbolic link")
        if member.kind == "symlink":
            _check_link(member, depth=len(path) - 1)
            self._add_link(path, member)

    def check_unpacked_size(self, count: int) -> None:
        """Check the bytes decompressed so far, headers included.

        :raises UnexpectedAnswer: they are too many.
        """
        if count > self.limit * 1.1 + MIN_UNPACKED_LIMIT:  # headers and padding of small files
            raise self._too_large_error()

    def _add_link(self, path: tuple[str, ...], member: ArchiveMember) -> None:
        self._links.add(path)
        self.link_bytes += len(member.name) + 100  # the memory of a short one
        if self.link_bytes > MAX_LINKS:
            raise UnexpectedAnswer(
                "the artifact has too many symbolic links: refused as a possible archive bomb"
            )

    def _count(self, member: ArchiveMember) -> None:
        self.member_count += 1
        self.unpacked_bytes += max(0, member.size)
        if self.member_count > self.max_members:
            raise UnexpectedAnswer(
                f"the artifact has more than {self.max_members} members: refused as a possible "
                "archive bomb"
            )
        if self.unpacked_bytes > self.limit:
            raise self._too_large_error()

    def _too_large_error(self) -> UnexpectedAnswer:
        return UnexpectedAnswer(
            f"the artifact would unpack to more than {size_text(self.limit)}: refused as a "
            "possible archive bomb; if its size is right, raise max_expansion"
        )

    def _resolve(self, path: str, member: ArchiveMember) -> tuple[str, ...]:
        """Return the parts of a path below the target directory, none of them a link."""
        resolved: tuple[str, ...] = ()
        for part in _split_path(path, member):
            if resolved in self._links:
                raise member_refused(member.name, "leads through a link")
            if part == "..":
                raise member_refused(member.name, "leads out of the target directory")
            resolved = (*resolved, part)
        return resolved


def _split_path(path: str, member: ArchiveMember) -> list[str]:
    if path.startswith("/") or "\0" in path or not path:
        raise member_refused(member.name, "has an absolute or an empty path")
    if len(path) > MAX_PATH:
        raise member_refused(member.name, f"has a path of {len(path)} characters")
    return [part for part in path.split("/") if part not in {"", "."}]


def _check_link(member: ArchiveMember, depth: int) -> None:
    """Check that a symbolic link can never lead out, whatever is unpacked after it.

    ``..`` may only lead up from the link's own directory, which is a real one; after a name it
    could follow another link first. All other steps lead down, or through links that passed this
    check too.
    """
    parts = _split_path(member.link, member)
    ups = next((index for index, part in enumerate(parts) if part != ".."), len(parts))
    if ups > depth or ".." in parts[ups:]:
        raise member_refused(member.name, "is a link that could lead out of the target directory")


def member_refused(name: str, reason: str) -> UnexpectedAnswer:
    """Return the error for a member that must not be unpacked."""
    shown_name = safe_text(name, 200)
    return UnexpectedAnswer(f"the artifact is refused: its member {shown_name!r} {reason}")
