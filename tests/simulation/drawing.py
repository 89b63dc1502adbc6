"""Draws random schedules: mostly small ones, in which things happen at the same time."""

from __future__ import annotations

from random import Random
from typing import Any, TypeVar

from tests.simulation.schedule import Action, Fate, Schedule, ServiceSpec, TaskSpec
from tests.simulation.world.builds import ORDERS
from tests.simulation.world.service import OUR_USER, first_commit

T = TypeVar("T")

FIELDS = (
    ("branch",),
    ("commit", "changelist"),
    ("triggeredBy",),
    ("createdAt",),
    ("projectId", "buildSettingId"),
    ("platform", "buildType"),
)
BRIEF: tuple[tuple[str, ...], ...] = (*FIELDS, sum(FIELDS, ()))
OTHERS = ("push", "push", "cron", "user:them", "api_token:theirs")
PLACES = (("main", "twin", "release", "linux"), ("stream", "dev"))
STREAMS = ("//streams/main", "//streams/dev")
BRANCHES = ("main", "release/5.4", "feature-1", "refs/heads/main", "refs/heads/release/5.4")


class Draw:
    """A source of random choices.

    :param seed: of the schedule.
    """

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)  # noqa: S311  # a seeded simulation

    def chance(self, probability: float) -> bool:
        """Return True with a probability."""
        return self.random.random() < probability

    def one_of(self, *values: T) -> T:
        """Return one of the values."""
        return self.random.choice(values)

    def seldom(self, default: T, *others: T, probability: float = 0.2) -> T:
        """Return the default, or with a probability one of the others."""
        return self.random.choice(others) if self.chance(probability) else default

    def seconds(self, *limits: float) -> float:
        """Return some seconds, below one of the limits."""
        return round(self.random.random() * self.random.choice(limits), 2)


def _service(draw: Draw) -> ServiceSpec:
    if draw.chance(0.2):
        return ServiceSpec()
    return ServiceSpec(
        skew=draw.seldom(0.0, -30.0, -3.0, 3.0, 30.0),
        tells_time=draw.seldom(True, False),  # noqa: FBT003  # a value
        order=draw.seldom("newest", *ORDERS, probability=0.5),
        mark=draw.seldom("api_token:ours", OUR_USER, None, probability=0.15),
        staleness=draw.seldom(0.0, 1.0, 5.0, 10.0, probability=0.3),
        jumps_back=draw.chance(0.3),
        page_size=draw.seldom(100, 3, 5, 10, probability=0.3),
        offset_cursor=draw.chance(0.2),
        repeats_rows=draw.chance(0.1),
        sorted_ids=draw.chance(0.8),
        brief=draw.seldom((), *BRIEF, probability=0.15),
        unreadable_rows=draw.chance(0.1),
        late_commit=draw.chance(0.2),
        null_stream=draw.chance(0.5),
        history=draw.seldom(0, 3, 12, 30, probability=0.2),
        queue=draw.one_of(0.0, 2.0, 20.0, 60.0),
        run=draw.one_of(5.0, 40.0, 150.0, 400.0),
        outcomes=draw.seldom("c", "f", "fc", "ffc", "cf", probability=0.4),
    )


def _fate(draw: Draw) -> Fate:
    name = draw.one_of(
        *("answered", "answered", "429", "400", "unsent", "reset", "reset", "500"),
        *("502", "502", "timed out", "timed out", "unreadable"),
    )
    delays = {
        "429": draw.one_of(0.0, 1.0, 30.0),
        "answered": draw.seconds(1.0, 25.0),
        "reset": draw.one_of(None, 0.02),
        "502": draw.one_of(None, draw.seconds(0.1, 20.0)),
        "timed out": draw.one_of(None, draw.seconds(30.0, 60.0, 900.0)),
        "unreadable": draw.seconds(0.1),
    }
    return Fate(name, delays.get(name))


def _target(draw: Draw, setting: str, service: ServiceSpec) -> dict[str, Any]:
    """Return parameters that choose the line and the revision."""
    if setting in PLACES[1]:
        return {
            # Nothing tells the stream of such a build except for its setting.
            "branch": None if service.null_stream else draw.seldom(None, *STREAMS),
            "changelist": draw.seldom(None, "1001", "1002", probability=0.3),
        }
    commits = first_commit("main"), first_commit("release/5.4"), first_commit("old")
    commit = draw.seldom(None, *commits, probability=0.3)
    if commit and draw.chance(0.3):
        commit = commit[:8]
    return {"branch": draw.seldom(None, *BRANCHES), "commit": commit}


def _task(draw: Draw, service: ServiceSpec, place: tuple[str, ...], number: int) -> TaskSpec:
    setting = draw.seldom(place[0], *place[1:], probability=0.25)
    return TaskSpec(
        start=0.0 if not number else draw.seconds(1.0, 60.0, 600.0),
        run=draw.seldom(0, number, probability=0.5),
        map_index=draw.seldom(-1, number, probability=0.5),
        setting=setting,
        **_target(draw, setting, service),
        on_in_flight=draw.one_of("supersede", "adopt", "wait", "fail"),
        on_superseded=draw.seldom("fail", "skip", "follow", "follow", probability=0.5),
        deferrable=draw.chance(0.5),
        wait_for_completion=draw.chance(0.9),
        durable=draw.chance(0.95),
        retries=draw.one_of(0, 0, 1, 1, 1, 2),
        retry_delay=draw.one_of(1.0, 30.0, 300.0),
        timeout=draw.seldom(None, 60.0, 600.0, probability=0.1),
        fates=tuple(_fate(draw) for _ in range(draw.seldom(0, 1, 1, 2, 3, probability=0.6))),
        kills=tuple(sorted(draw.random.randrange(1, 25) for _ in range(draw.seldom(0, 1, 1, 2)))),
        detection=draw.one_of(0.5, 10.0, 300.0),
    )


def _action(
    draw: Draw, service: ServiceSpec, tasks: tuple[TaskSpec, ...], place: tuple[str, ...]
) -> Action:
    task = draw.random.randrange(len(tasks))
    kind = draw.one_of(
        *("build", "build", "build", "clear", "clear", "clear", "clear another", "mark", "kill"),
        *("edit task", "edit task", "edit setting", "outage", "delete"),
    )
    after_end = kind == "clear" and draw.chance(0.7)
    at = draw.seconds(5.0, 100.0) if after_end else draw.seconds(1.0, 60.0, 400.0, 1000.0)
    value: Any = None
    match kind:
        case "build":
            setting = draw.seldom(place[0], *place[1:], probability=0.3)
            target = _target(draw, setting, service)
            target.pop("changelist", None)
            value = {"setting": setting, "who": draw.one_of(*OTHERS), **target}
        case "mark":
            value = draw.one_of("success", "failed")
        case "edit task":
            value = _edit(draw, tasks[task], service)
        case "edit setting":
            other = draw.one_of(*(STREAMS if place is PLACES[1] else BRANCHES[:3]))
            changes = draw.one_of({"line": other}, {"line": other}, {"platform": "Mac"})
            value = (tasks[task].setting, changes)
        case "outage":
            value = draw.seconds(5.0, 60.0, 200.0)
    return Action(at, kind, task, value, after_end=after_end)


def _edit(draw: Draw, spec: TaskSpec, service: ServiceSpec) -> dict[str, Any]:
    return draw.one_of(
        {"retries": draw.one_of(0, 1, 2, 3)},
        _target(draw, spec.setting, service),
        {"on_in_flight": draw.one_of("supersede", "adopt", "wait", "fail")},
    )


def schedule_of(seed: int) -> Schedule:
    """Return the schedule of a seed."""
    draw = Draw(seed)
    place = draw.seldom(PLACES[0], PLACES[1], probability=0.25)
    service = _service(draw)
    tasks = tuple(
        _task(draw, service, place, number)
        for number in range(draw.one_of(1, 1, 1, 1, 1, 1, 2, 2, 2, 3))
    )
    count = draw.one_of(0, 0, 1, 1, 1, 2, 2, 3, 5)
    actions = tuple(_action(draw, service, tasks, place) for _ in range(count))
    has_store, has_variables = draw.chance(0.9), draw.chance(0.8)
    return Schedule(seed, service, tasks, actions, has_store, has_variables)
