"""A schedule: everything that a simulation does not decide itself, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

GITHUB = "github00000000000000aaaa"
PERFORCE = "perforce000000000000bbbb"


@dataclass(frozen=True)
class SettingSpec:
    """A build setting at the start."""

    project: str
    platform: str
    line: str
    build_type: str = "Shipping"


SETTINGS = {
    "main": SettingSpec(GITHUB, "Win64", "main"),
    "twin": SettingSpec(GITHUB, "Win64", "main"),
    "release": SettingSpec(GITHUB, "Win64", "release/5.4"),
    "linux": SettingSpec(GITHUB, "Linux", "main"),
    "stream": SettingSpec(PERFORCE, "Win64", "//streams/main"),
    "dev": SettingSpec(PERFORCE, "Win64", "//streams/dev"),
}
"""By name. The builds of ``main`` and ``twin`` supersede each other."""


def setting_id(name: str) -> str:
    """Return the id of a setting."""
    return f"{name:x<24}"


@dataclass(frozen=True)
class ServiceSpec:
    """How BuildPixel behaves in one schedule; the defaults are its plainest form.

    :param skew: seconds by which its clock is ahead of the workers' clock.
    :param tells_time: whether its answers have a ``Date``.
    :param order: order of its lists, a key of ``service.ORDERS``.
    :param mark: ``triggeredBy`` of the builds of our token.
    :param staleness: seconds by which a list is old.
    :param jumps_back: some lists are old and some are not.
    :param page_size: maximum rows of a page.
    :param offset_cursor: the cursor is a number of rows, not the place of the last one.
    :param repeats_rows: each page begins with the last row of the one before.
    :param sorted_ids: whether the ids of one second sort.
    :param brief: fields that lists leave out.
    :param unreadable_rows: whether each page has a row that cannot be read.
    :param late_commit: a build has no commit while it is queued.
    :param null_stream: Perforce builds have no branch.
    :param history: builds of other branches and settings that have ended before.
    :param queue: seconds of a build in the queue.
    :param run: seconds of a running build.
    :param outcomes: how builds end, one after the other: ``c`` complete, ``f`` failed.
    """

    skew: float = 0.0
    tells_time: bool = True
    mark: str | None = "api_token:ours"
    order: str = "newest"
    staleness: float = 0.0
    jumps_back: bool = False
    page_size: int = 100
    offset_cursor: bool = False
    repeats_rows: bool = False
    sorted_ids: bool = True
    brief: tuple[str, ...] = ()
    unreadable_rows: bool = False
    late_commit: bool = False
    null_stream: bool = False
    history: int = 0
    queue: float = 20.0
    run: float = 200.0
    outcomes: str = "c"


@dataclass(frozen=True)
class Fate:
    """What happens to one trigger request.

    :param name: a key of ``client.FATES``.
    :param delay: seconds until the server creates the build, None for never; for ``429``, the
        seconds of ``Retry-After``.
    """

    name: str = "answered"
    delay: float | None = None


@dataclass(frozen=True)
class TaskSpec:
    """One task instance.

    :param start: when its first try starts, in seconds after the start of the schedule.
    :param run: the number of its Dag run.
    :param fates: what happens to its trigger requests, one after the other; then ``answered``.
    :param kills: numbers of the steps of its workers at which they are killed.
    :param detection: seconds until Airflow notices a killed worker.
    """

    start: float = 0.0
    run: int = 0
    map_index: int = -1
    setting: str = "main"
    branch: str | None = None
    commit: str | None = None
    changelist: str | None = None
    on_in_flight: str = "supersede"
    on_superseded: str = "fail"
    deferrable: bool = False
    wait_for_completion: bool = True
    durable: bool = True
    retries: int = 1
    retry_delay: float = 60.0
    timeout: float | None = None
    fates: tuple[Fate, ...] = ()
    kills: tuple[int, ...] = ()
    detection: float = 10.0


@dataclass(frozen=True)
class Action:
    """Something that somebody does at an instant.

    :param kind: a method of ``simulation.Simulation``, without its prefix.
    :param after_end: wait for the end of the task first, then for ``at`` seconds.
    """

    at: float
    kind: str
    task: int = 0
    value: Any = None
    after_end: bool = False


@dataclass(frozen=True)
class Schedule:
    """All that happens in one simulation.

    :param has_store: False for Airflow below 3.3, which has no task state store.
    :param has_variables: whether tasks may use Airflow's Variables.
    """

    seed: int = 0
    service: ServiceSpec = field(default_factory=ServiceSpec)
    tasks: tuple[TaskSpec, ...] = (TaskSpec(),)
    actions: tuple[Action, ...] = ()
    has_store: bool = True
    has_variables: bool = True
