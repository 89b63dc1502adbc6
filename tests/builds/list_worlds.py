"""Random services with lists, and which builds a reader of the lists must find."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.api.endpoints import list_builds
from airflow_provider_buildpixel.api.model import LIVE_STATUSES, STATUSES
from airflow_provider_buildpixel.builds.list_order import ListOrder, Since, read_builds
from tests.api.list_service import NOW, ORDERS, ListService, make_build

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_provider_buildpixel.api.endpoints import Call, Page
    from airflow_provider_buildpixel.api.model import Build

AGES = (0.0, 0.3, 0.9, 1.0, 1.5, 7.0)
"""Seconds between two builds; those of one second may be listed in any order."""

VALUES = {
    "status": STATUSES,
    "branch": ("main", "dev", None),
    "project_id": ("p", "q"),
    "build_setting_id": ("s", "t"),
    "platform": ("Linux", "Win64"),
    "build_type": ("Shipping", "Test"),
}
"""The values of builds."""

BY_STATUS = ("live first", "ended first", "by status", "by status descending")
"""Orders in which builds move when their status changes."""


def _builds(
    rng: random.Random, count: int, varying: Iterable[str], gaps: Sequence[float]
) -> list[Build]:
    """Return random builds.

    :param varying: the attributes that differ; builds have the first value of the others.
    :param gaps: seconds between two builds.
    """
    choices = {name: VALUES[name] if name in varying else VALUES[name][:1] for name in VALUES}
    found, age = [], 0.0
    for number in range(count):
        age += rng.choice(gaps)
        fields: dict[str, Any] = {name: rng.choice(values) for name, values in choices.items()}
        found.append(make_build(number, age=age, **fields))
    return found


@dataclass
class World:
    """A service, and what a reader wants to know from it.

    :param since: since when ended builds are wanted.
    :param filters: the filters of the lists.
    :param wanted: what the wanted builds have in common, by the name of the filter.
    :param all_live: whether builds that have not ended are needed, however old they are.
    """

    service: ListService
    since: float
    filters: dict[str, str] = field(default_factory=dict)
    wanted: dict[str, str] = field(default_factory=dict)
    all_live: bool = True

    def needed(self) -> set[str]:
        """Return the ids of the builds that the reader needs now."""
        return {build.id for build in self.service.builds.values() if self._is_needed(build)}

    def _is_needed(self, build: Build) -> bool:
        assert build.created_at is not None
        is_wanted = self.wanted.get("branch") in (None, build.branch)
        is_recent = is_wanted and build.created_at.timestamp() >= self.since
        is_live = self.all_live and not build.status.terminal
        is_listed = all(getattr(build, name) == value for name, value in self.filters.items())
        return is_listed and (is_recent or is_live)

    def live(self) -> set[str]:
        """Return the ids of the builds that have not ended."""
        return {one.id for one in self.service.builds.values() if not one.status.terminal}

    def read(self, order: ListOrder | None = None) -> dict[str, Build]:
        """Return the builds that are read from the lists."""

        def list_call(status: str | None) -> Call[Page[Build]]:
            return list_builds(status=status, **self.filters)

        steps = read_builds(
            list_call,
            lambda _: Since(self.since),
            order or ListOrder(self.wanted),
            all_live=self.all_live,
        )
        return self.service.run(steps)

    def describe(self, missing: set[str]) -> str:
        """Return the world as text, for the message of a failed test."""
        service = self.service
        rows = [
            f"{NOW - build.created_at.timestamp():5.1f} s ago {build.id} {build.status} "
            f"{build.branch} {build.project_id} {build.build_setting_id} {build.platform} "
            f"{build.build_type}{' MISSING' if build.id in missing else ''}"
            for build in sorted(service.builds.values(), key=ORDERS[service.order])
            if build.created_at is not None
        ]
        facts = (
            f"{service.order}, pages of {service.page_size}, cursor {service.cursor}, "
            f"since {NOW - self.since} s, {self.filters} {self.wanted} all_live={self.all_live}"
        )
        return "\n".join((facts, *service.requests, *rows))


def random_world(seed: int, *, changes: bool = False) -> World:
    """Return a random service and what is wanted from it.

    A short page in random order can look sorted by chance: then pages are longer, and no builds are
    of one second.

    :param changes: whether builds are added, start, run and end while lists are read.
    """
    rng = random.Random(seed)  # noqa: S311  # for repeatable tests, not for secrets
    order = rng.choice(tuple(ORDERS))
    is_random = order == "random"
    gaps = AGES[4:] if is_random else rng.choice((AGES[:4], AGES, AGES[3:]))
    varying = {"status", *rng.sample(tuple(VALUES), rng.randrange(3))}
    service = ListService.of(
        _builds(rng, rng.randrange(5, 40), varying, gaps),
        order=order,
        page_size=10 if is_random else rng.choice((3, 3, 4, 5, 10)),
        cursor=rng.choice(("key", "offset")),
        repeats=rng.random() < 0.5,
    )
    if changes:
        service.changes = [
            partial(_change, service, rng.choices(range(50), k=rng.randrange(3))) for _ in range(8)
        ]
    return World(
        service,
        since=NOW - rng.choice((10, 30, 60)) * rng.random(),
        filters={
            name: str(values[0])
            for name, values in VALUES.items()
            if name != "status" and rng.random() < (0.3 if name in varying else 0.9)
        },
        wanted={"branch": "main"} if rng.random() < 0.5 else {},
        all_live=rng.random() < 0.5,
    )


def _change(service: ListService, numbers: Iterable[int]) -> None:
    """Let builds start and end, and others be added."""
    ids = sorted(service.builds)
    for number in numbers:
        if number < len(ids):
            _advance(service, ids[number])
        else:
            service.add(make_build(1000 + len(ids), "pending", age=-1.0))


def _advance(service: ListService, build_id: str) -> None:
    """Let a build start, or end."""
    status = service.builds[build_id].status
    if status in LIVE_STATUSES:
        service.set_status(build_id, STATUSES[STATUSES.index(status) + 1])
