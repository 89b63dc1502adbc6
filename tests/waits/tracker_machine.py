"""The random life of a wait, as a hypothesis state machine over :class:`World`."""

# the name of a rule says what happens

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from airflow_provider_buildpixel.api.model import Status
from airflow_provider_buildpixel.builds.logs import LogLine
from airflow_provider_buildpixel.channel.events import LogEvent, StatusHint
from airflow_provider_buildpixel.waits import actions as default_actions
from tests.waits.tracker_world import BUILD_ID, FAULTS, World

if TYPE_CHECKING:
    from types import ModuleType

FATES = ((0.0,), (), (0.0, 0.0), (0.2, 7.0), (40.0,))
"""When an event arrives: at once, never, twice, late and later."""

ENDS = ("complete", "failed", "superseded")
SELDOM = st.sampled_from((False,) * 5 + (True,))
RUMOURS = (
    StatusHint(BUILD_ID),
    StatusHint(BUILD_ID, Status("running")),
    StatusHint(BUILD_ID, Status("made-up")),
    StatusHint(BUILD_ID, Status("complete")),
    StatusHint(BUILD_ID, Status("failed")),
    LogEvent(BUILD_ID, LogLine("BUILD SUCCESSFUL", timestamp="2026-01-01T00:00:00Z")),
)
WISHES = st.fixed_dictionaries(
    {
        "poll": st.sampled_from((30.0, 5.0)),
        "live": st.sampled_from((True, True, False)),
        "socket_only": st.sampled_from((False, False, True)),
        "timed": st.booleans(),
        "gathered": st.booleans(),
        "sleeps": st.booleans(),
        "timeout": st.sampled_from((inf, inf, inf, 700.0, 8.0)),
        "queue_timeout": st.sampled_from((inf, inf, 100.0, 20.0)),
    }
)


class Waiting(RuleBasedStateMachine):
    """Whatever happens, the wait keeps the promises that :class:`World` checks."""

    module: ModuleType
    actions: ModuleType

    @initialize(wishes=WISHES)
    def begins(self, wishes: dict[str, Any]) -> None:
        sleep = self.actions if wishes.pop("sleeps") else None
        self.world = World(self.module, sleep=sleep, **wishes)

    @rule(status=st.sampled_from(("running", "warming-up")), delays=st.sampled_from(FATES))
    def moves(self, status: str, delays: tuple[float, ...]) -> None:
        self.world.move(status, delays)

    @precondition(lambda self: self.world.end is None)
    @rule(really=SELDOM, status=st.sampled_from(ENDS), delays=st.sampled_from(FATES))
    def ends(self, *, really: bool, status: str, delays: tuple[float, ...]) -> None:
        if really:
            self.world.move(status, delays)

    @rule(really=SELDOM)
    def is_refused(self, *, really: bool) -> None:
        if really:
            self.world.outage = "401"

    @rule(lines=st.sampled_from((1, 3, 20)), delays=st.sampled_from(FATES))
    def logs(self, lines: int, delays: tuple[float, ...]) -> None:
        self.world.log(lines, delays)

    @rule(rumour=st.sampled_from(RUMOURS), times=st.sampled_from((1, 2, 40)))
    def gossips(self, rumour: StatusHint | LogEvent, times: int) -> None:
        for nth in range(times):
            self.world.deliver(rumour, nth / 10)

    @precondition(lambda self: self.world.live)
    @rule(after=st.sampled_from((0.0, 0.0, 2.0, 20.0)))
    def joins(self, after: float) -> None:
        self.world.join(after)

    @precondition(lambda self: self.world.live)
    @rule()
    def drops(self) -> None:
        self.world.drop()

    @precondition(lambda self: self.world.live)
    @rule(times=st.sampled_from((5, 30)))
    def flaps(self, times: int) -> None:
        for _ in range(times):
            self.world.join()
            self.world.run(0.1)
            self.world.drop()
            self.world.run(0.1)

    @rule(fault=st.sampled_from(sorted(set(FAULTS) - {"401"})), times=st.sampled_from((1, 1, 2, 5)))
    def stumbles(self, fault: str, times: int) -> None:
        self.world.once.extend([fault] * times)

    @rule(fault=st.sampled_from(sorted(set(FAULTS) - {"401"})))
    def breaks(self, fault: str) -> None:
        self.world.outage = fault

    @rule(lag=st.sampled_from((2.0, 15.0, 200.0)))
    def lags(self, lag: float) -> None:
        self.world.lag = lag

    @precondition(lambda self: self.world.sleeper is not None)
    @rule(
        times=st.sampled_from((1, 3, 30)),
        pause=st.sampled_from((0.5, 5.0, 28.0)),
        latency=st.sampled_from((0.01, 0.25, 9.0)),
    )
    def is_listed(self, times: int, pause: float, latency: float) -> None:
        for _ in range(times):
            self.world.is_listed(latency)
            self.world.run(pause)

    @rule()
    def heals(self) -> None:
        self.world.heal()

    @rule(seconds=st.sampled_from((0.05, 1.0, 3.0, 10.0, 31.0, 120.0, 400.0, 2_000.0)))
    def passes(self, seconds: float) -> None:
        self.world.run(seconds)

    def teardown(self) -> None:
        """Whatever happened, the wait ends once all is well."""
        if not hasattr(self, "world"):
            return
        self.world.heal()
        self.world.move("complete", ())
        self.world.run(700.0)
        assert self.world.end is not None, "the wait does not end"


def waiting(module: ModuleType, actions: ModuleType = default_actions) -> type[Waiting]:
    """Give the machine for ``core.watch`` and ``core.sleep``, or for mutants of them."""
    return type("WaitingFor", (Waiting,), {"module": module, "actions": actions})
