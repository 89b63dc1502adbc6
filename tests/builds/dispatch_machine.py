"""The random life of a dispatch, as a hypothesis state machine over :class:`World`."""

# the name of a rule says what happens

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.builds.dispatch_world import AUTOMATIC, FATES, QUICK, STRANGERS, World

if TYPE_CHECKING:
    from types import ModuleType


class Dispatching(RuleBasedStateMachine):
    """Whatever happens, the task keeps the promises that :class:`World` checks."""

    modules: tuple[ModuleType, ModuleType]

    @initialize(token=st.booleans(), earlier=st.booleans())
    def begins(self, *, token: bool, earlier: bool) -> None:
        self.world = World(*self.modules, token=token)
        if earlier:
            self.world.make("user:them")
            self.world.advance(100.0)

    @rule(fates=st.lists(st.sampled_from(sorted(FATES)), max_size=3))
    def tries(self, fates: list[str]) -> None:
        self.world.fates.extend(fates)
        self.world.retries()

    @rule(fate=st.sampled_from(QUICK))
    def dies(self, fate: str) -> None:
        self.world.fates.appendleft(fate)
        self.world.dies_after = 1
        self.world.retries()
        self.world.dies_after = None

    @rule(stranger=st.sampled_from(STRANGERS), seconds=st.sampled_from((0.0, 1.0, 12.0, 40.0)))
    def others_build(self, stranger: str, seconds: float) -> None:
        if self.world.token or stranger in AUTOMATIC:
            self.world.plan(seconds, lambda: self.world.make(stranger))

    @rule(status=st.sampled_from(("complete", "failed", "failed")))
    def concludes(self, status: str) -> None:
        self.world.concludes(status)

    @rule()
    def clears(self) -> None:
        self.world.clears()

    @rule(lag=st.sampled_from((0.0, 3.0, 8.0)))
    def lags(self, lag: float) -> None:
        self.world.lag = lag

    @rule(seconds=st.sampled_from((1.0, 20.0, 300.0)))
    def passes(self, seconds: float) -> None:
        self.world.advance(seconds)


def dispatching(dispatch: ModuleType, record: ModuleType) -> type[Dispatching]:
    """Give the machine for ``core.dispatch`` and ``core.intent``, or for mutants of them."""
    return type("DispatchingFor", (Dispatching,), {"modules": (dispatch, record)})
