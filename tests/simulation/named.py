"""Schedules of situations that once broke a promise; each name says what must hold."""

from __future__ import annotations

from dataclasses import replace

from tests.simulation.schedule import Action, Fate, Schedule, ServiceSpec, TaskSpec
from tests.simulation.world.builds import ORDERS
from tests.simulation.world.service import first_commit

POLICIES = ("fail", "wait", "adopt")
LOST = Fate("reset", 0.02)
NEVER = Fate("reset")


def _build(at: float, who: str = "push", setting: str = "main", **more: str) -> Action:
    return Action(at, "build", value={"setting": setting, "who": who, **more})


def _alone(*actions: Action, service: ServiceSpec | None = None, **task: object) -> Schedule:
    spec = replace(TaskSpec(), **task)  # type: ignore[arg-type]
    return Schedule(service=service or ServiceSpec(), tasks=(spec,), actions=actions)


def _live_build_behind_others(policy: str, order: str) -> Schedule:
    """Return a live build of ``main`` with many newer builds of feature branches."""
    others = [
        _build(1.0 + number, "user:them", "main", branch=f"feature-{number}")
        for number in range(12)
    ]
    return _alone(
        _build(0.0),
        *others,
        service=ServiceSpec(page_size=3, order=order, run=600.0, sorted_ids=order != "random"),
        start=30.0,
        on_in_flight=policy,
    )


def _live_build_at_retry(policy: str, kill: int) -> Schedule:
    """Return a worker that is killed around its request, and a push before its retry."""
    return _alone(
        _build(60.0), on_in_flight=policy, kills=(kill,), fates=(NEVER,), retry_delay=90.0
    )


def _schedules() -> dict[str, Schedule]:
    found = {}
    for order in ORDERS:
        for policy in POLICIES:
            name = f"a live build is seen behind newer ones ({policy}, {order})"
            found[name] = _live_build_behind_others(policy, order)
        found[f"a lost answer is found in a list ({order})"] = _alone(
            service=ServiceSpec(order=order, page_size=3, history=30),
            fates=(LOST,),
            setting="release",
        )
    for policy in POLICIES:
        for kill in (6, 7, 8):
            name = f"the policy holds in a retry ({policy}, killed at step {kill})"
            found[name] = _live_build_at_retry(policy, kill)
        found[f"the policy holds before the second request ({policy})"] = _alone(
            _build(2.0, "cron"), on_in_flight=policy, fates=(NEVER,)
        )
    return found | _schedules_of_two_tasks() | _other_schedules()


def _two_tasks(policy: str, *actions: Action, start: float = 0.5, **fields: object) -> Schedule:
    """Return two tasks with the same setting and the same policy."""
    one = TaskSpec(on_in_flight=policy, start=start)
    two = replace(one, start=start + 0.3, run=1)
    return replace(Schedule(tasks=(one, two), actions=actions), **fields)  # type: ignore[arg-type]


def _schedules_of_two_tasks() -> dict[str, Schedule]:
    """Return two tasks that start at the same moment, or wait for the same build.

    Without Variables, only the random delay keeps these from starting both: see
    ``test_simulation.test_two_tasks_that_wait_without_a_lock``.
    """
    found = {}
    for policy in POLICIES:
        found[f"two tasks do not start both at once ({policy})"] = _two_tasks(policy)
        found[f"two tasks do not start both at once in stale lists ({policy})"] = _two_tasks(
            policy, service=ServiceSpec(staleness=10.0)
        )
    found["two tasks that wait for the same build do not start both"] = _two_tasks(
        "wait", _build(0.0)
    )
    return found


def _other_schedules() -> dict[str, Schedule]:
    lowered = Action(300.0, "edit task", value={"retries": 0})
    clear = Action(100.0, "clear", after_end=True)
    return {
        "a row that cannot be read is skipped": _alone(
            service=ServiceSpec(unreadable_rows=True, history=12)
        ),
        "a request that timed out is never repeated": _alone(
            fates=(Fate("timed out", 400.0),), retries=3
        ),
        "after an uncertain request, the Clear of another task sends no second one": _alone(
            Action(212.0, "edit task", value={"retries": 2}),
            Action(273.0, "clear another"),
            Action(15.0, "clear"),
            fates=(Fate("timed out", 674.0),),
            kills=(6,),
            retry_delay=300.0,
        ),
        "a refused second request does not make the first one certain": _alone(
            fates=(Fate("502", 20.0), Fate("400")), retries=2
        ),
        "an old commit of another token is not taken for the task's build": _alone(
            _build(1200.0, "api_token:theirs", commit=first_commit("old")),
            kills=(6,),
            retry_delay=1300.0,
            service=ServiceSpec(run=600.0),
        ),
        "a Clear after success starts a new build, whatever retries is": _alone(
            lowered, clear, retries=1
        ),
        "a Clear after success starts a new build, though retries was edited before it": _alone(
            Action(30.0, "edit task", value={"retries": 0}),
            clear,
            retries=2,
            fates=(Fate("400"),),
        ),
        "a Clear after a mark starts a new build": _alone(
            Action(215.0, "mark", value="success"), clear
        ),
        "a stored build of an edited setting is not returned": _alone(
            Action(80.0, "edit setting", value=("main", {"line": "release/5.4"})), kills=(14,)
        ),
        "a build of another stream is not followed": _alone(
            _build(50.0, setting="dev"),
            _build(60.0, setting="stream"),
            setting="stream",
            on_superseded="follow",
            service=ServiceSpec(null_stream=True, sorted_ids=False),
        ),
        "a build of another stream is not in the way": _alone(
            _build(0.0, setting="dev"),
            setting="stream",
            start=5.0,
            on_in_flight="fail",
            service=ServiceSpec(null_stream=True),
        ),
        "a task that was edited while it waited follows only what it had requested": _alone(
            Action(0.61, "edit task", value={"branch": "//streams/main", "changelist": None}),
            _build(32.77, setting="dev"),
            setting="dev",
            changelist="1002",
            on_superseded="follow",
            deferrable=True,
        ),
        "a Git reference names its branch": _alone(
            _build(0.0), branch="refs/heads/main", start=5.0, on_in_flight="fail"
        ),
        "ids of one second do not sort": _alone(
            _build(0.1, "cron"),
            fates=(LOST,),
            service=ServiceSpec(sorted_ids=False),
        ),
        "without a store, a retry continues with its live build": replace(
            _alone(kills=(10,), service=ServiceSpec(skew=-3.0, tells_time=False, run=600.0)),
            has_store=False,
        ),
    }


SCHEDULES = _schedules()
