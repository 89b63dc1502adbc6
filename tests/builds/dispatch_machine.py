"""Random lives of a dispatch, as a hypothesis state machine over :class:`World`."""

# ruff: noqa: D102  # the name of a rule says what happens

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.builds.dispatch_world import AUTOMATIC, FATES, OTHERS, QUICK_FATES, World


class RandomDispatch(RuleBasedStateMachine):
    """Whatever happens, the task keeps the promises that :class:`World` checks."""

    @initialize(token=st.booleans(), earlier=st.booleans())
    def begin(self, *, token: bool, earlier: bool) -> None:
        self.world = World(token=token)
        if earlier:
            self.world.create_build("user:them")
            self.world.advance(100.0)

    @rule(fates=st.lists(st.sampled_from(sorted(FATES)), max_size=3))
    def retry(self, fates: list[str]) -> None:
        self.world.fates.extend(fates)
        self.world.retry()

    @rule(fate=st.sampled_from(QUICK_FATES))
    def kill_worker(self, fate: str) -> None:
        self.world.fates.appendleft(fate)
        self.world.retry_and_kill()

    @rule(triggered_by=st.sampled_from(OTHERS), seconds=st.sampled_from((0.0, 1.0, 12.0, 40.0)))
    def others_build(self, triggered_by: str, seconds: float) -> None:
        if self.world.token or triggered_by in AUTOMATIC:
            self.world.call_later(seconds, lambda: self.world.create_build(triggered_by))

    @rule(status=st.sampled_from(("complete", "failed", "failed")))
    def finish(self, status: str) -> None:
        self.world.finish(status)

    @rule()
    def clear(self) -> None:
        self.world.clear()

    @rule(lag=st.sampled_from((0.0, 3.0, 8.0)))
    def delay_lists(self, lag: float) -> None:
        self.world.list_lag = lag

    @rule(seconds=st.sampled_from((1.0, 20.0, 300.0)))
    def wait(self, seconds: float) -> None:
        self.world.advance(seconds)
