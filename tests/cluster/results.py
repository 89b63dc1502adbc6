"""The results of a run: samples, the records of both sides, and the checks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.cluster.scenario import KILLS, NO_SOCKETS, OUTAGE
from tests.cluster.verification import VIOLATIONS

if TYPE_CHECKING:
    from tests.cluster.kill_loop import Kill
    from tests.cluster.sampler import Sample
    from tests.cluster.scenario import Scenario
    from tests.cluster.verification import BuildResult, TaskResult, Verification

SETTLED_AFTER = 60.0
"""Seconds from the start of the outage after which no task of Airflow changes its state."""


@dataclass(frozen=True)
class Results:
    """The results of one run; instants are in seconds since the epoch.

    :param spans: start and end of each phase.
    :param trigger_requests: number of trigger requests that BuildPixel received.
    :param accepted_requests: number of trigger requests that BuildPixel carried out.
    :param reasons: number of unsuccessful tries by reason.
    :param remaining_waits: rows in Airflow's table of triggers at the end.
    :param notes: parts of the test that did not finish.
    """

    scenario: Scenario
    spans: dict[str, tuple[float, float]]
    tasks: list[TaskResult]
    builds: list[BuildResult]
    verification: Verification
    kills: list[Kill]
    restarts: int
    recoveries: dict[str, list[float]]
    samples: list[Sample]
    slots: int
    trigger_requests: int
    accepted_requests: int
    reasons: dict[str, int]
    events: dict[str, int]
    remaining_waits: int
    notes: list[str] = field(default_factory=list)

    def samples_in(self, phase: str, skip: float = 0.0) -> list[Sample]:
        """Return the samples of a phase, without its first ``skip`` seconds."""
        start, end = self.spans[phase]
        return [sample for sample in self.samples if start + skip <= sample.at <= end]

    @property
    def waiting_only(self) -> list[Sample]:
        """The samples in which tasks only waited: in the outage, before new tasks were started."""
        start, end = self.spans[OUTAGE]
        until = start + 0.68 * (end - start)
        since = start + min(SETTLED_AFTER, (until - start) / 2)
        return [sample for sample in self.samples if since <= sample.at <= until]

    def delays(self, phase: str) -> list[float]:
        """Return the seconds from the end of each build of a phase to the end of its task.

        Measured from the end of the outage, for the builds that ended in it.
        """
        start, end = self.spans[phase]
        ended = {task.build_id: task.ended_at for task in self.tasks if task.ended_at}
        return [
            ended[build.id] - (end if phase == OUTAGE else build.finished_at)
            for build in self.builds
            if build.finished_at and start <= build.finished_at < end and build.id in ended
        ]

    @property
    def takeover_times(self) -> list[float]:
        """Seconds from each kill of a triggerer with waits until it has none of them any more."""
        times = []
        for kill in self.kills:
            later = [sample for sample in self.samples if sample.at > kill.at]
            before = [sample for sample in self.samples if sample.at <= kill.at][-1:]
            if kill.job is None or not any(kill.job in s.counts.owners for s in before + later[:1]):
                continue
            taken_over = [s.at for s in later if kill.job not in s.counts.owners]
            if taken_over:
                times.append(taken_over[0] - kill.at)
        return times

    @property
    def slots_per_wait(self) -> float | None:
        """Worker slots in use divided by waits, both summed over all samples."""
        waiting = sum(sample.waiting for sample in self.samples)
        return sum(s.counts.running for s in self.samples) / waiting if waiting else None

    def checks(self) -> list[Check]:
        """Return all checks."""
        return [*self._task_checks(), *self._wait_checks(), *self._fault_checks()]

    def _task_checks(self) -> list[Check]:
        violations = [
            Check(f"tasks or builds: {kind}", self.verification.count(kind), 0)
            for kind in VIOLATIONS
        ]
        builds = self.scenario.builds
        ended = sum(task.state in {"success", "failed"} for task in self.tasks)
        first_builds = len(self.builds) - self.verification.retry_builds
        surplus = self.accepted_requests - len(self.builds)
        return [
            Check("tasks that ended", ended, builds),
            Check("builds, without those of retries after a failed build", first_builds, builds),
            Check("accepted trigger requests minus builds", surplus, 0),
            *violations,
        ]

    def _wait_checks(self) -> list[Check]:
        running = [sample.counts.running for sample in self.waiting_only]
        max_running = max(running, default=None)
        return [
            Check("waits left in Airflow", self.remaining_waits, 0),
            Check("worker slots in use while all tasks waited, maximum", max_running, 0),
            Check("phases or parts of this test that did not finish", len(self.notes), 0),
        ]

    def _fault_checks(self) -> list[Check]:
        """Check that the faults really happened: otherwise the other checks prove nothing."""
        scenario = self.scenario
        killed = {kill.kind for kill in self.kills}
        min_kills = round(scenario.kills / scenario.kill_interval / 2)
        no_sockets = self.samples_in(NO_SOCKETS, skip=5.0)
        in_outage = min((sample.waiting for sample in self.waiting_only), default=None)
        in_kills = _max_waiting(self.samples_in(KILLS))
        sockets = max((sample.sockets for sample in no_sockets), default=None)
        return [
            Check("kinds of processes killed", len(killed), 5),
            Check("kills", len(self.kills), min_kills, at_least=True),
            Check("waits during the kills, maximum", in_kills, 1, at_least=True),
            Check("waits during the outage, minimum", in_outage, 1, at_least=True),
            Check("waits without sockets, maximum", _max_waiting(no_sockets), 1, at_least=True),
            Check("sockets while all were refused, maximum", sockets, 0),
        ]


@dataclass(frozen=True)
class Check:
    """One check.

    :param at_least: the measured value may exceed the expected one.
    """

    name: str
    measured: int | None
    expected: int
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the check passes; it fails without a measurement."""
        if self.measured is None:
            return False
        return self.measured >= self.expected if self.at_least else self.measured == self.expected


def _max_waiting(samples: list[Sample]) -> int | None:
    return max((sample.waiting for sample in samples), default=None)
