"""A service without I/O whose lists have any order and grouping, and change between two pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar
from zlib import crc32

from airflow_provider_buildpixel.api.endpoints import PAGE_SIZE, Page
from airflow_provider_buildpixel.api.model import Build, Status
from airflow_provider_buildpixel.api.paging import run_steps
from airflow_provider_buildpixel.exceptions import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_buildpixel.api.endpoints import Call
    from airflow_provider_buildpixel.api.model import BuildSetting
    from airflow_provider_buildpixel.api.paging import Steps


T = TypeVar("T")
NOW = 1_800_000_000.0
"""Seconds since the epoch at which a test reads lists."""

MAX_REQUESTS = 1000
"""Requests after which a reader is taken to read for ever."""

FIELDS = {
    "projectId": "project_id",
    "buildSettingId": "build_setting_id",
    "platform": "platform",
    "buildType": "build_type",
    "branch": "branch",
    "status": "status",
}
"""The filters of the list, and the attributes that they compare."""

Position = tuple[Any, ...]
Order = Callable[[Build], Position]
"""Returns the place of a build in a list: lists are sorted by it."""


def make_build(number: int, status: str = "complete", *, age: float = 0.0, **fields: Any) -> Build:
    """Return a build with an id as of MongoDB: ids of one second do not sort among themselves.

    :param number: tells it from other builds of the same time.
    :param age: seconds since its creation.
    """
    created_at = datetime.fromtimestamp(NOW - age, UTC)
    build_id = f"{int(NOW - age):08x}{crc32(str(number).encode()):08x}{number:08x}"
    known: dict[str, Any] = {"project_id": "p", "build_setting_id": "s", "platform": "Win64"}
    known |= {"build_type": "Shipping", "branch": "main", **fields}
    return Build(build_id, Status(status), created_at=created_at, **known)


def _newest(build: Build) -> Position:
    assert build.created_at is not None
    return (-build.created_at.timestamp(), build.id)


def _newest_id(build: Build) -> Position:
    return (-int(build.id, 16),)


def _grouped(value_of: Callable[[Build], Any], *, descending: bool) -> Order:
    """Return an order by groups, the newest first in each."""

    def position(build: Build) -> Position:
        codes = tuple(map(ord, str(value_of(build) or "")))
        group = (*(-code for code in codes), 1) if descending else codes
        return (group, *_newest_id(build))

    return position


ORDERS: dict[str, Order] = {
    "newest": _newest,
    "newest id": _newest_id,
    "oldest": lambda build: tuple(-part for part in _newest_id(build)),
    "random": lambda build: (crc32(build.id.encode()),),
    "live first": _grouped(lambda build: build.status.terminal, descending=False),
    "ended first": _grouped(lambda build: build.status.terminal, descending=True),
    **{
        f"by {name}{' descending' if descending else ''}": _grouped(
            attrgetter(attribute), descending=descending
        )
        for name, attribute in FIELDS.items()
        for descending in (False, True)
    },
}
"""What a list may be sorted by."""


@dataclass
class ListService:
    """Builds, build settings, and how lists show them.

    :param order: a key of ``ORDERS``.
    :param cursor: ``key``: a page begins after a build; ``offset``: after so many rows.
    :param repeats: whether each page begins with the last row of the page before.
    :param unknown: attributes that the rows of lists leave out.
    :param changes: functions that are called after the first request, after the second one, ….
    """

    builds: dict[str, Build] = field(default_factory=dict)
    order: str = "newest"
    page_size: int = PAGE_SIZE
    cursor: str = "key"
    repeats: bool = False
    unknown: tuple[str, ...] = ()
    settings: dict[str, list[BuildSetting]] = field(default_factory=dict)
    changes: list[Callable[[], None]] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    _positions: dict[str, Position] = field(default_factory=dict)

    @classmethod
    def of(cls, builds: Iterable[Build], **kwargs: Any) -> ListService:
        """Return a service with these builds."""
        service = cls(**kwargs)
        service.add(*builds)
        return service

    def add(self, *builds: Build) -> None:
        """Add builds, or replace those with the same ids."""
        self.builds |= {build.id: build for build in builds}

    def set_status(self, build_id: str, status: str) -> None:
        """Change the status of a build."""
        self.builds[build_id] = replace(self.builds[build_id], status=Status(status))

    def run(self, steps: Steps[T]) -> T:
        """Perform the calls of some steps, and return their value."""
        return run_steps(steps, self.perform)

    def counts(self) -> dict[str, int]:
        """Return the number of requests by kind since the last call: of lists, builds, settings."""
        counted = Counter(self.requests)
        self.requests.clear()
        return dict(counted)

    def perform(self, call: Call[Any]) -> Any:
        """Return the parsed response to a request."""
        assert len(self.requests) < MAX_REQUESTS, "requests without end"
        answer = self._answer(call, dict(call.query))
        if self.changes:
            self.changes.pop(0)()
        return answer

    def _answer(self, call: Call[Any], query: dict[str, str]) -> Any:
        match call.path.split("/")[1:]:
            case ["builds"]:
                self.requests.append(f"list {query.get('status', 'all')}")
                return self._page(query)
            case ["builds", build_id]:
                self.requests.append("build")
                if build_id in self.builds:
                    return self.builds[build_id]
            case ["projects", project_id, "build-settings"]:
                self.requests.append("settings")
                if project_id in self.settings:
                    return Page(tuple(self.settings[project_id]))
        raise NotFound(call.title)

    def _page(self, query: dict[str, str]) -> Page[Build]:
        position = ORDERS[self.order]
        rows = sorted(self._filtered(query), key=position)
        start, cursor = 0, query.get("cursor")
        if cursor is not None and self.cursor == "offset":
            start = int(cursor)
        elif cursor is not None:
            after = self._positions[cursor]
            start = sum(position(build) <= after for build in rows)
        end = start + min(self.page_size, int(query["limit"]))
        shown = rows[max(0, start - self.repeats) : end]
        following = None
        if end < len(rows):
            following = str(end) if self.cursor == "offset" else f"after {position(shown[-1])}"
            self._positions[following] = position(shown[-1])
        hidden: dict[str, Any] = dict.fromkeys(self.unknown)
        return Page(tuple(replace(build, **hidden) for build in shown), following)

    def _filtered(self, query: dict[str, str]) -> list[Build]:
        wanted = {FIELDS[name]: value for name, value in query.items() if name in FIELDS}
        return [
            build
            for build in self.builds.values()
            if all(getattr(build, name) == value for name, value in wanted.items())
        ]
