"""Random lives of a wait, as a hypothesis state machine over :class:`World`."""

# ruff: noqa: D102  # the name of a rule says what happens

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from airflow_provider_buildpixel.api.model import Status
from airflow_provider_buildpixel.builds.logs import LogLine
from airflow_provider_buildpixel.channel.events import LogEvent, StatusHint
from tests.waits.tracker_world import BUILD_ID, FAULTS, World

if TYPE_CHECKING:
    from airflow_provider_buildpixel.channel.events import Event

DELAYS = st.sampled_from(((0.0,), (), (0.0, 0.0), (0.2, 7.0), (40.0,)))
"""When an event arrives: at once, never, twice, late and later."""

ENDS = ("complete", "failed", "superseded")
RARELY = st.sampled_from((False,) * 5 + (True,))
PASSING_FAULTS = st.sampled_from(sorted(set(FAULTS) - {"401"}))
FALSE_EVENTS = (
    StatusHint(BUILD_ID),
    StatusHint(BUILD_ID, Status("running")),
    StatusHint(BUILD_ID, Status("made-up")),
    StatusHint(BUILD_ID, Status("complete")),
    StatusHint(BUILD_ID, Status("failed")),
    LogEvent(BUILD_ID, LogLine("BUILD SUCCESSFUL", timestamp="2026-01-01T00:00:00Z")),
)
PARAMETERS = st.fixed_dictionaries(
    {
        "poll_interval": st.sampled_from((30.0, 5.0)),
        "uses_channel": st.sampled_from((True, True, False)),
        "socket_only": st.sampled_from((False, False, True)),
        "has_times": st.booleans(),
        "reads_later": st.booleans(),
        "idles": st.booleans(),
        "timeout": st.sampled_from((inf, inf, inf, 700.0, 8.0)),
        "queue_timeout": st.sampled_from((inf, inf, 100.0, 20.0)),
    }
)


class RandomWait(RuleBasedStateMachine):
    """Whatever happens, the wait keeps the promises that :class:`World` checks."""

    @initialize(parameters=PARAMETERS)
    def begin(self, parameters: dict[str, Any]) -> None:
        self.world = World(**parameters)

    @rule(status=st.sampled_from(("running", "warming-up")), delays=DELAYS)
    def progress(self, status: str, delays: tuple[float, ...]) -> None:
        self.world.set_status(status, delays)

    @precondition(lambda self: self.world.end is None)
    @rule(really=RARELY, status=st.sampled_from(ENDS), delays=DELAYS)
    def end_build(self, *, really: bool, status: str, delays: tuple[float, ...]) -> None:
        if really:
            self.world.set_status(status, delays)

    @rule(really=RARELY)
    def revoke_token(self, *, really: bool) -> None:
        if really:
            self.world.outage = "401"

    @rule(lines=st.sampled_from((1, 3, 20)), delays=DELAYS)
    def log(self, lines: int, delays: tuple[float, ...]) -> None:
        self.world.log(lines, delays)

    @rule(event=st.sampled_from(FALSE_EVENTS), times=st.sampled_from((1, 2, 40)))
    def send_false_events(self, event: Event, times: int) -> None:
        for tenth in range(times):
            self.world.deliver(event, tenth / 10)

    @precondition(lambda self: self.world.uses_channel)
    @rule(after=st.sampled_from((0.0, 0.0, 2.0, 20.0)))
    def join(self, after: float) -> None:
        self.world.join(after)

    @precondition(lambda self: self.world.uses_channel)
    @rule()
    def disconnect(self) -> None:
        self.world.disconnect()

    @precondition(lambda self: self.world.uses_channel)
    @rule(times=st.sampled_from((5, 30)))
    def flap(self, times: int) -> None:
        for _ in range(times):
            self.world.join()
            self.world.run(0.1)
            self.world.disconnect()
            self.world.run(0.1)

    @rule(fault=PASSING_FAULTS, times=st.sampled_from((1, 1, 2, 5)))
    def fail_next_reads(self, fault: str, times: int) -> None:
        self.world.next_faults.extend([fault] * times)

    @rule(fault=PASSING_FAULTS)
    def break_service(self, fault: str) -> None:
        self.world.outage = fault

    @rule(lag=st.sampled_from((2.0, 15.0, 200.0)))
    def delay_reads(self, lag: float) -> None:
        self.world.read_lag = lag

    @precondition(lambda self: self.world.idle_wait is not None)
    @rule(
        times=st.sampled_from((1, 3, 30)),
        pause=st.sampled_from((0.5, 5.0, 28.0)),
        latency=st.sampled_from((0.01, 0.25, 9.0)),
    )
    def read_lists(self, times: int, pause: float, latency: float) -> None:
        for _ in range(times):
            self.world.read_list(latency)
            self.world.run(pause)

    @rule()
    def repair(self) -> None:
        self.world.repair()

    @rule(seconds=st.sampled_from((0.05, 1.0, 3.0, 10.0, 31.0, 120.0, 400.0, 2_000.0)))
    def run(self, seconds: float) -> None:
        self.world.run(seconds)

    def teardown(self) -> None:
        """Whatever happened, the wait ends once the build ends and the service works."""
        if hasattr(self, "world"):
            self.world.repair()
            self.world.set_status("complete", ())
            self.world.run(700.0)
            assert self.world.end is not None, "the wait does not end"
