"""The build that a task requests, and which builds match it."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.api import fields

if TYPE_CHECKING:
    from airflow_provider_buildpixel.api.model import (
        Build,
        BuildSetting,
    )


_HASH = re.compile(r"[0-9a-fA-F]{7,64}")

HEADS_PREFIX = "refs/heads/"


@dataclass(frozen=True)
class BuildRequest:
    """The parameters of a trigger request."""

    project_id: str
    build_setting_id: str
    branch: str | None = None
    commit: str | None = None
    changelist: str | None = None

    @classmethod
    def from_json(cls, data: Any) -> BuildRequest | None:
        """Parse what :meth:`to_json` returned; return None for anything else."""
        if not isinstance(data, dict):
            return None
        known = {key: fields.text(data.get(key)) for key in cls.__dataclass_fields__}
        if not known["project_id"] or not known["build_setting_id"]:
            return None
        return cls(**known)  # type: ignore[arg-type]

    def to_json(self) -> dict[str, Any]:
        """Return the request as plain JSON."""
        return asdict(self)

    def matches(self, build: Build, setting: BuildSetting) -> bool:
        """Return whether a build agrees with this request in every field that both have."""
        branch = self.branch or setting.branch_or_stream
        if branch and build.branch and not same_branch(branch, build.branch):
            return False
        if self.changelist and build.changelist and self.changelist != build.changelist:
            return False
        return self._same_setting(build) and same_commit(self.commit, build.commit)

    def may_match(self, build: Build, setting: BuildSetting) -> bool:
        """Return whether this request may have started that build, allowing for other spellings.

        BuildPixel may report a branch in another spelling, the commit of a tag, or another number
        for a changelist that was not written as a number.
        """
        branch = self.branch or setting.branch_or_stream
        if branch and build.branch and not may_be_same_branch(branch, build.branch):
            return False
        requested, reported = self.changelist or "", build.changelist or ""
        if requested.isdecimal() and reported.isdecimal() and requested != reported:
            return False
        both_are_hashes = all(
            _HASH.fullmatch(commit or "") for commit in (self.commit, build.commit)
        )
        if both_are_hashes and not same_commit(self.commit, build.commit):
            return False
        return self._same_setting(build)

    def _same_setting(self, build: Build) -> bool:
        pairs = (
            (self.project_id, build.project_id),
            (self.build_setting_id, build.build_setting_id),
        )
        return all(reported is None or requested == reported for requested, reported in pairs)


def same_commit(requested: str | None, reported: str | None) -> bool:
    """Return whether two commits agree; either may be abbreviated to its first characters."""
    if not requested or not reported:
        return True
    one, two = requested.lower(), reported.lower()
    return one.startswith(two) or two.startswith(one)


def same_branch(one: str, two: str) -> bool:
    """Return whether two branches are the same; each may be written as a Git reference."""
    return one.removeprefix(HEADS_PREFIX) == two.removeprefix(HEADS_PREFIX)


def may_be_same_branch(one: str, two: str) -> bool:
    """Return whether one name equals the other, or is its last path components."""
    one, two = one.casefold(), two.casefold()
    return one == two or one.endswith(f"/{two}") or two.endswith(f"/{one}")
