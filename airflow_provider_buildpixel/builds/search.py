"""Finds a build that something else started: the newest one that matches."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.api import endpoints, fields
from airflow_provider_buildpixel.api.errors import InvalidRequest
from airflow_provider_buildpixel.builds.request import same_commit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_buildpixel.api.endpoints import Call, Page
    from airflow_provider_buildpixel.api.model import Build


@dataclass(frozen=True)
class BuildQuery:
    """The fields that a build must have; None matches any value.

    :param commit: the whole commit, or its first characters.
    """

    project_id: str | None = None
    build_setting_id: str | None = None
    branch: str | None = None
    commit: str | None = None

    @classmethod
    def from_json(cls, data: Any) -> BuildQuery:
        """Parse what :meth:`to_json` returned.

        :raises InvalidRequest: the query would match any build.
        """
        known = data if isinstance(data, dict) else {}
        found = cls(**{name: fields.text(known.get(name)) for name in cls.__dataclass_fields__})
        if found == cls():
            raise InvalidRequest("the query for a build has no fields; give at least one")
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the query as plain JSON."""
        return asdict(self)

    def list_call(self, status: str | None = None) -> Call[Page[Build]]:
        """Return the call that lists such builds, of all statuses or of one."""
        return endpoints.list_builds(
            project_id=self.project_id,
            build_setting_id=self.build_setting_id,
            branch=self.branch,
            status=status,
        )

    def matches(self, build: Build) -> bool:
        """Return whether a build has the fields; a build without a commit matches no commit."""
        pairs = (
            (self.project_id, build.project_id),
            (self.build_setting_id, build.build_setting_id),
            (self.branch, build.branch),
        )
        if any(wanted and actual and wanted != actual for wanted, actual in pairs):
            return False
        return not self.commit or (bool(build.commit) and same_commit(self.commit, build.commit))

    def newest_match(self, builds: Iterable[Build]) -> Build | None:
        """Return the newest build that matches; ids sort by creation."""
        matching = (build for build in builds if self.matches(build))
        return max(matching, key=lambda build: build.id, default=None)

    @property
    def title(self) -> str:
        """The query as text for a log."""
        known = ", ".join(f"{name} {value}" for name, value in asdict(self).items() if value)
        return f"a build with {known}"


class NewestMatch:
    """Collects the newest matching build from the pages of a list, reading no more than needed.

    :param known_newest_id: the newest id of an earlier search that found nothing; builds up to it
        need not be read again.
    """

    def __init__(self, query: BuildQuery, known_newest_id: str | None = None) -> None:
        self._query = query
        self._known_newest_id = known_newest_id
        self.found: Build | None = None
        self.newest_id = known_newest_id

    def add_page(self, page: tuple[Build, ...]) -> bool:
        """Add a page; return whether builds older than its last one are not needed."""
        best = self._query.newest_match(page)
        if best is not None and (self.found is None or best.id > self.found.id):
            self.found = best
        self.newest_id = max([*(build.id for build in page), self.newest_id or ""])
        needed_after = max(self._known_newest_id or "", self.found.id if self.found else "")
        return bool(page) and page[-1].id <= needed_after
