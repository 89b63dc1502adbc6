"""What a task writes down about its build, and how a later try goes on with it."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.api import fields
from airflow_provider_buildpixel.api.model import Build, Status

if TYPE_CHECKING:
    from airflow_provider_buildpixel.api.model import (
        BuildSetting,
        Dispatch,
    )


_HASH = re.compile(r"[0-9a-fA-F]{7,64}")


@dataclass(frozen=True)
class BuildRequest:
    """What a trigger request asks for."""

    project_id: str
    build_setting_id: str
    branch: str | None = None
    commit: str | None = None
    changelist: str | None = None

    @classmethod
    def from_json(cls, data: Any) -> BuildRequest | None:
        """Read what :meth:`to_json` wrote; None for anything else."""
        if not isinstance(data, dict):
            return None
        known = {key: fields.text(data.get(key)) for key in cls.__dataclass_fields__}
        if not known["project_id"] or not known["build_setting_id"]:
            return None
        return cls(**known)  # type: ignore[arg-type]

    def to_json(self) -> dict[str, Any]:
        """Give it as plain JSON."""
        return asdict(self)

    def matches(self, build: Build, setting: BuildSetting) -> bool:
        """Tell whether a build has all that this request asks for, as far as both tell."""
        branch = self.branch or setting.branch_or_stream
        if branch and build.branch and not same_branch(branch, build.branch):
            return False
        if self.changelist and build.changelist and self.changelist != build.changelist:
            return False
        return self._same_setting(build) and same_commit(self.commit, build.commit)

    def may_match(self, build: Build, setting: BuildSetting) -> bool:
        """Tell whether nothing surely speaks against this request having made that build.

        BuildPixel may report a branch in another spelling, the commit of a tag, or another number
        for a changelist that was not written as one.
        """
        branch = self.branch or setting.branch_or_stream
        if branch and build.branch and not may_be_same_branch(branch, build.branch):
            return False
        want, have = self.changelist or "", build.changelist or ""
        if want.isdecimal() and have.isdecimal() and want != have:
            return False
        hashes = all(_HASH.fullmatch(commit or "") for commit in (self.commit, build.commit))
        if hashes and not same_commit(self.commit, build.commit):
            return False
        return self._same_setting(build)

    def _same_setting(self, build: Build) -> bool:
        pairs = (
            (self.project_id, build.project_id),
            (self.build_setting_id, build.build_setting_id),
        )
        return all(have is None or want == have for want, have in pairs)


def same_commit(want: str | None, have: str | None) -> bool:
    """Compare commits, either of which may be the first characters only."""
    if not want or not have:
        return True
    one, two = want.lower(), have.lower()
    return one.startswith(two) or two.startswith(one)


HEADS_PREFIX = "refs/heads/"


def same_branch(one: str, two: str) -> bool:
    """Compare branches, each of which may be spelt as a Git reference."""
    return one.removeprefix(HEADS_PREFIX) == two.removeprefix(HEADS_PREFIX)


def may_be_same_branch(one: str, two: str) -> bool:
    """Tell whether two names may be spellings of one branch or stream: the end of one is all."""
    one, two = one.casefold(), two.casefold()
    return one == two or one.endswith(f"/{two}") or two.endswith(f"/{one}")


def pending_build(dispatch: Dispatch, project_id: str, build_setting_id: str) -> Build:
    """Give the build that a trigger request has just started, as far as its answer tells."""
    return Build(
        dispatch.build_id,
        Status("pending"),
        project_id=project_id,
        build_setting_id=build_setting_id,
        raw=dispatch.raw,
    )
