"""Finding a build that something else started: the newest that fits."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.api import endpoints, fields
from airflow_provider_buildpixel.api.errors import InvalidRequest
from airflow_provider_buildpixel.builds.request import same_commit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_buildpixel.api.endpoints import Call
    from airflow_provider_buildpixel.api.model import Build, Page


@dataclass(frozen=True)
class BuildQuery:
    """The fields that a build must have; None fits all.

    :param commit: the whole commit, or its first characters.
    """

    project_id: str | None = None
    build_setting_id: str | None = None
    branch: str | None = None
    commit: str | None = None

    @classmethod
    def from_json(cls, data: Any) -> BuildQuery:
        """Read what :meth:`to_json` wrote."""
        known = data if isinstance(data, dict) else {}
        found = cls(**{name: fields.text(known.get(name)) for name in cls.__dataclass_fields__})
        if found == cls():
            raise InvalidRequest("nothing says which build to look for")
        return found

    def to_json(self) -> dict[str, Any]:
        """Give it as plain JSON."""
        return asdict(self)

    def listed(self, status: str | None = None) -> Call[Page[Build]]:
        """Give the list in which such a build would be."""
        return endpoints.list_builds(
            project_id=self.project_id,
            build_setting_id=self.build_setting_id,
            branch=self.branch,
            status=status,
        )

    def matches(self, build: Build) -> bool:
        """Tell whether a build has the fields; a commit that is not known yet may become it."""
        pairs = (
            (self.project_id, build.project_id),
            (self.build_setting_id, build.build_setting_id),
            (self.branch, build.branch),
        )
        if any(want and have and want != have for want, have in pairs):
            return False
        return not self.commit or (bool(build.commit) and same_commit(self.commit, build.commit))

    def newest(self, builds: Iterable[Build]) -> Build | None:
        """Give the newest build that fits; ids sort by creation."""
        fitting = (build for build in builds if self.matches(build))
        return max(fitting, key=lambda build: build.id, default=None)

    @property
    def title(self) -> str:
        """Name what is looked for."""
        known = ", ".join(f"{name} {value}" for name, value in asdict(self).items() if value)
        return f"a build with {known}"


class NewestMatch:
    """One look through the list for the newest build that fits, no further than needed.

    :param seen: the newest id of an earlier sweep that found nothing; older ones do not matter.
    """

    def __init__(self, search: BuildQuery, seen: str | None = None) -> None:
        self._search = search
        self._seen = seen
        self.found: Build | None = None
        self.newest = seen

    def take(self, page: tuple[Build, ...]) -> bool:
        """Take a page; tell whether builds that are older than its last do not matter."""
        best = self._search.newest(page)
        if best is not None and (self.found is None or best.id > self.found.id):
            self.found = best
        self.newest = max([*(build.id for build in page), self.newest or ""])
        enough = max(self._seen or "", self.found.id if self.found else "")
        return bool(page) and page[-1].id <= enough
