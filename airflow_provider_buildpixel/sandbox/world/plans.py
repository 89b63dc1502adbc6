"""Plans: how the next builds go, set by a test or a demo before the builds are queued."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Plan:
    """How one build goes; all durations are in sandbox seconds.

    :param outcome: ``complete``, ``failed``, ``dies`` (the log stops, and the build fails half a
        minute later), ``hangs`` (runs forever), ``stays_pending``, or any other word, which is then
        the last status.
    :param queue: how long the build is pending.
    :param run: how long it is running.
    :param failure: the kind of failure: ``compile``, ``cook``, ``stage``, ``repository``,
        ``perforce``.
    :param errors: error lines that replace those of `failure`.
    :param artifact_bytes: size of the artifact; None for no artifact.
    :param lines: the number of log lines, or the lines themselves.
    :param through: extra statuses between pending and running.
    :param death: with outcome ``dies``, the time from the last log line to the status ``failed``.
    :param deploy: final status of the auto-deploy.
    """

    outcome: str = "complete"
    queue: float = 2.0
    run: float = 30.0
    failure: str = "compile"
    errors: tuple[str, ...] = ()
    artifact_bytes: int | None = 1_000_000
    lines: int | tuple[str, ...] = 24
    through: tuple[str, ...] = ()
    death: float = 28.0
    deploy: str = "complete"

    @property
    def result(self) -> str:
        """Return the terminal status to which the outcome leads."""
        return "failed" if self.outcome == "dies" else self.outcome


@dataclass
class _PlannedBuilds:
    plan: Plan
    times: int
    setting_id: str | None


class PlanQueue:
    """Plans that wait for their builds, the oldest first, and a default for all other builds."""

    def __init__(self, default: Plan) -> None:
        self.default = default
        self._queue: deque[_PlannedBuilds] = deque()

    def add(self, plan: Plan, times: int, setting_id: str | None) -> None:
        """Use a plan for the next `times` builds, of one build setting or of any."""
        self._queue.append(_PlannedBuilds(plan, times, setting_id))

    def take(self, setting_id: str) -> Plan:
        """Return the plan for a build that is being queued, and count it as used."""
        for planned in self._queue:
            if planned.setting_id in {None, setting_id}:
                return self._use(planned)
        return self.default

    def _use(self, planned: _PlannedBuilds) -> Plan:
        planned.times -= 1
        if planned.times <= 0:
            self._queue.remove(planned)
        return planned.plan


def plan_from(default: Plan, **changes: object) -> Plan:
    """Return the default plan with changes, which may come from JSON or from Python."""
    for name in ("errors", "through"):
        if name in changes:
            changes[name] = tuple(changes[name])  # type: ignore[arg-type]
    if isinstance(changes.get("lines"), list):
        changes["lines"] = tuple(changes["lines"])  # type: ignore[arg-type]
    return replace(default, **changes)  # type: ignore[arg-type]
