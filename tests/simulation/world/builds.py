"""A build as it really is, and the orders in which lists show builds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.schedule import SettingSpec
    from tests.simulation.world.history import Request

    SortKey = tuple[Any, ...]

NEVER = float("inf")


@dataclass(slots=True, eq=False)
class SimBuild:
    """One build as it really is; the instants are on the workers' clock."""

    id: str
    number: int
    setting: str
    spec: SettingSpec
    line: str
    commit: str | None
    changelist: str | None
    triggered_by: str | None
    created: float
    created_at: str
    starts: float
    ends: float
    outcome: str
    superseded: float = NEVER
    deleted: float = NEVER
    request: Request | None = None

    @property
    def end(self) -> float:
        """When the build ends, or has ended."""
        return min(self.ends, self.superseded)

    def status(self, at: float) -> str:
        """Return the status at an instant."""
        if at >= self.end:
            return "superseded" if self.superseded <= self.ends else self.outcome
        return "running" if at >= self.starts else "pending"

    def is_live(self, at: float) -> bool:
        """Return whether the build had not ended at an instant."""
        return self.created <= at < min(self.end, self.deleted)

    def has_place_of(self, other: SimBuild) -> bool:
        """Return whether the newer of two builds supersedes the other."""
        return (
            self.line == other.line
            and self.spec.project == other.spec.project
            and (self.spec.platform, self.spec.build_type)
            == (other.spec.platform, other.spec.build_type)
        )


def _grouped(key: Callable[[SimBuild, float], Any]) -> Callable[[SimBuild, float], SortKey]:
    return lambda build, at: (key(build, at), -build.number)


ORDERS: dict[str, Callable[[SimBuild, float], SortKey]] = {
    "newest": lambda build, _: (-build.number,),
    "oldest": lambda build, _: (build.number,),
    "random": lambda build, _: (crc32(build.id.encode()),),
    "live first": _grouped(lambda build, at: not build.is_live(at)),
    "ended first": _grouped(lambda build, at: build.is_live(at)),
    "by status": _grouped(lambda build, at: build.status(at)),
    "by branch": _grouped(lambda build, _: build.line),
    "by project": _grouped(lambda build, _: build.spec.project),
    "by setting": _grouped(lambda build, _: build.setting),
    "by platform": _grouped(lambda build, _: build.spec.platform),
}
