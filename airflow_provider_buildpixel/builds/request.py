"""The build that somebody means: what a task requests, and which builds match it.

:class:`BuildFilter` is the only place that compares builds with what is wanted. Lists can leave out
fields, BuildPixel can report another spelling than was requested, and a build of a Perforce stream
may not name its stream. So a comparison has three results: see :class:`Match`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.api import endpoints, fields
from airflow_provider_buildpixel.api.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_buildpixel.api.endpoints import Call, Page
    from airflow_provider_buildpixel.api.model import Build, BuildSetting


HEADS_PREFIX = "refs/heads/"

_HASH = re.compile(r"[0-9a-f]{6,64}")

Lines = Mapping[str, str | None]
"""The branch or stream of build settings, by the id of the setting."""


class Match(IntEnum):
    """Whether a build matches."""

    NO = 0
    MAYBE = 1
    """A field that decides is not known."""
    YES = 2


@dataclass(frozen=True)
class BuildFilter:
    """The fields that a build must have; None matches any value.

    :param branch: the Git branch or Perforce stream.
    :param commit: the whole commit, or its first characters.
    """

    project_id: str | None = None
    build_setting_id: str | None = None
    platform: str | None = None
    build_type: str | None = None
    branch: str | None = None
    commit: str | None = None
    changelist: str | None = None

    @classmethod
    def from_json(cls, data: Any) -> BuildFilter | None:
        """Parse what :meth:`to_json` returned; return None for anything else."""
        if not isinstance(data, dict):
            return None
        return cls(**{name: fields.text(data.get(name)) for name in cls.__dataclass_fields__})

    @classmethod
    def of_query(cls, data: Any) -> BuildFilter:
        """Parse the fields of a build to find.

        :raises InvalidRequest: it would match any build.
        """
        found = cls.from_json(data)
        if found is None or found == cls():
            raise InvalidRequest("the query for a build has no fields; give at least one")
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the filter as plain JSON."""
        return {name: value for name, value in vars(self).items() if value is not None}

    @property
    def title(self) -> str:
        """The filter as text for a log."""
        known = ", ".join(f"{name} {value}" for name, value in self.to_json().items())
        return f"a build with {known}" if known else "any build"

    @property
    def wanted(self) -> dict[str, str]:
        """The values that all matching builds have, by the name of the list's filter."""
        return {"branch": self.branch} if self.branch else {}

    def list_call(self, status: str | None = None) -> Call[Page[Build]]:
        """Return the call that lists such builds, of all statuses or of one.

        The list is not filtered by branch, because BuildPixel may use another spelling.
        """
        return endpoints.list_builds(
            project_id=self.project_id,
            build_setting_id=self.build_setting_id,
            platform=self.platform,
            build_type=self.build_type,
            status=status,
        )

    def complete(self, listed: Build) -> Build:
        """Return a build of the list with the fields that the list was filtered by."""
        missing = {
            name: getattr(self, name)
            for name in ("project_id", "build_setting_id", "platform", "build_type")
            if not getattr(listed, name)
        }
        return replace(listed, **missing) if missing else listed

    def compare(self, build: Build, lines: Lines | None = None, *, loosely: bool = False) -> Match:
        """Return whether a build matches.

        :param lines: the branches or streams of build settings, for builds that do not tell theirs.
        :param loosely: a branch, commit or changelist in what may be another spelling, such as a
            tag instead of its commit, counts as unknown rather than as different.
        """
        line = line_of(build, lines or {})
        results = (
            _compare_ids(self.project_id, build.project_id),
            _compare_ids(self.build_setting_id, build.build_setting_id),
            _compare_ids(self.platform, build.platform),
            _compare_ids(self.build_type, build.build_type),
            _compare_branches(self.branch, line, loosely=loosely),
            _compare_commits(self.commit, stripped(build.commit), loosely=loosely),
            _compare_changelists(self.changelist, _changelist_of(build), loosely=loosely),
        )
        return min(results)


@dataclass(frozen=True)
class BuildRequest:
    """The parameters of a trigger request; empty ones stand for the build setting's own."""

    project_id: str
    build_setting_id: str
    branch: str | None = None
    commit: str | None = None
    changelist: str | None = None

    @classmethod
    def create(
        cls,
        setting: BuildSetting,
        project_id: str,
        *,
        branch: Any = None,
        commit: Any = None,
        changelist: Any = None,
    ) -> BuildRequest:
        """Return the request for what a Dag author gave, in BuildPixel's spelling."""
        return cls(
            project_id,
            setting.id,
            branch_name(branch),
            stripped(commit),
            stripped(changelist),
        )

    def call(self) -> Call[Build]:
        """Return the call that starts the build."""
        return endpoints.trigger_build(
            self.project_id,
            self.build_setting_id,
            branch=self.branch,
            commit=self.commit,
            changelist=self.changelist,
        )

    def target(self, setting: BuildSetting) -> BuildFilter:
        """Return the fields of the build that this request starts now."""
        return BuildFilter(
            self.project_id,
            self.build_setting_id,
            setting.platform,
            setting.build_type,
            self.branch or branch_name(setting.branch_or_stream),
            self.commit,
            self.changelist,
        )


def kind_of(build: BuildFilter) -> BuildFilter:
    """Return the fields that two builds share if the newer of them supersedes the other."""
    return replace(build, build_setting_id=None, commit=None, changelist=None)


def kind_of_build(build: Build, lines: Lines) -> BuildFilter:
    """Return the fields that a build shares with the builds that supersede it."""
    return BuildFilter(
        project_id=build.project_id,
        platform=build.platform,
        build_type=build.build_type,
        branch=branch_name(line_of(build, lines)),
    )


def line_of(build: Build, lines: Lines) -> str | None:
    """Return the branch or stream of a build; where it does not tell, that of its setting."""
    return build.branch or lines.get(build.build_setting_id or "")


def projects_without_lines(builds: Iterable[Build], lines: Lines) -> set[str]:
    """Return the projects whose build settings tell the streams of builds that do not."""
    return {
        build.project_id
        for build in builds
        if not build.branch
        and build.project_id
        and build.build_setting_id
        and build.build_setting_id not in lines
    }


def stripped(given: Any) -> str | None:
    """Return a value as text without surrounding white space; None if nothing is left."""
    return None if given is None else str(given).strip() or None


def branch_name(given: Any) -> str | None:
    """Return the name of a branch, also of ``refs/heads/…``, or the path of a stream."""
    text = stripped(given)
    if text is None:
        return None
    return text.removeprefix(HEADS_PREFIX) or None


def same_commit(requested: str, reported: str) -> bool:
    """Return whether two commits agree; either may be abbreviated to its first characters."""
    one, two = requested.strip().lower(), reported.strip().lower()
    return one.startswith(two) or two.startswith(one)


def same_branch(one: str, two: str) -> bool:
    """Return whether two branches or streams are the same, in whatever spelling."""
    return _plain_branch(one) == _plain_branch(two)


def _plain_branch(name: str) -> str:
    """Return a branch or stream for comparison: ``//depot/x/...`` is the stream ``//depot/x``."""
    plain = branch_name(name) or ""
    return plain.removesuffix("/...").rstrip("/") if plain.startswith("//") else plain


def _may_be_same_branch(one: str, two: str) -> bool:
    """Return whether one name equals the other, or is its last path components."""
    one, two = _plain_branch(one).casefold(), _plain_branch(two).casefold()
    return one == two or one.endswith(f"/{two}") or two.endswith(f"/{one}")


def _compare_ids(wanted: str | None, actual: str | None) -> Match:
    if not wanted:
        return Match.YES
    if not actual:
        return Match.MAYBE
    return Match.YES if wanted == actual else Match.NO


def _compare_branches(wanted: str | None, actual: str | None, *, loosely: bool) -> Match:
    if not wanted:
        return Match.YES
    if not actual:
        return Match.MAYBE
    if same_branch(wanted, actual):
        return Match.YES
    return Match.MAYBE if loosely and _may_be_same_branch(wanted, actual) else Match.NO


def _compare_commits(wanted: str | None, actual: str | None, *, loosely: bool) -> Match:
    if not wanted:
        return Match.YES
    if not actual:
        return Match.MAYBE
    if same_commit(wanted, actual):
        return Match.YES
    are_hashes = all(_HASH.fullmatch(one.strip().lower()) for one in (wanted, actual))
    return Match.MAYBE if loosely and not are_hashes else Match.NO


def _compare_changelists(wanted: str | None, actual: str | None, *, loosely: bool) -> Match:
    if not wanted:
        return Match.YES
    if not actual:
        return Match.MAYBE
    one, two = wanted.strip(), actual.strip()
    are_numbers = one.isdecimal() and two.isdecimal()
    if one == two or (are_numbers and int(one) == int(two)):
        return Match.YES
    return Match.MAYBE if loosely and not are_numbers else Match.NO


def _changelist_of(build: Build) -> str | None:
    """Return the changelist of a build, which may be reported as its commit."""
    if build.changelist:
        return build.changelist
    return build.commit if (build.commit or "").isdecimal() else None
