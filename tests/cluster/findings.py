"""What was found: figures from the samples and both sides' records, and the verdict over them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.cluster.course import DEAF, OUTAGE, STORM
from tests.cluster.judging import FAULTS

if TYPE_CHECKING:
    from tests.cluster.course import Course
    from tests.cluster.judging import Judgement, Made, Told
    from tests.cluster.storm import Kill
    from tests.cluster.watch import Sample

QUIET = 60.0
"""Seconds from the begin of the outage after which nothing moves in Airflow of itself."""


@dataclass(frozen=True)
class Findings:
    """All that one run found; instants are seconds since the epoch.

    :param spans: begin and end of each phase.
    :param accepted: trigger requests that BuildPixel carried out; posted: all that it got.
    :param reasons: how often a try was cut off by what.
    :param left: waits in Airflow's table of triggers at the end.
    """

    course: Course
    spans: dict[str, tuple[float, float]]
    told: list[Told]
    made: list[Made]
    judgement: Judgement
    kills: list[Kill]
    restarts: int
    recoveries: dict[str, list[float]]
    samples: list[Sample]
    slots: int
    posted: int
    accepted: int
    reasons: dict[str, int]
    events: dict[str, int]
    left: int
    notes: list[str] = field(default_factory=list)

    def during(self, phase: str, after: float = 0.0) -> list[Sample]:
        """Give the samples of a phase, without those of its first seconds."""
        begin, end = self.spans[phase]
        return [sample for sample in self.samples if begin + after <= sample.at <= end]

    @property
    def quiet(self) -> list[Sample]:
        """The samples in which tasks only waited: the outage, until new tasks met it."""
        begin, end = self.spans[OUTAGE]
        until = begin + 0.68 * (end - begin)
        return [s for s in self.samples if begin + min(QUIET, (until - begin) / 2) <= s.at <= until]

    def delays(self, phase: str) -> list[float]:
        """Seconds from the end of each build that ended in a phase to the end of its task.

        From the end of the outage, for the builds that ended in it.
        """
        begin, end = self.spans[phase]
        ended = {task.build_id: task.ended_at for task in self.told if task.ended_at}
        return [
            ended[build.id] - (end if phase == OUTAGE else build.finished_at)
            for build in self.made
            if build.finished_at and begin <= build.finished_at < end and build.id in ended
        ]

    @property
    def moved(self) -> list[float]:
        """Seconds from each kill of a triggerer that had waits until none was still its."""
        found = []
        for kill in self.kills:
            later = [sample for sample in self.samples if sample.at > kill.at]
            before = [sample for sample in self.samples if sample.at <= kill.at][-1:]
            if kill.job is None or not any(kill.job in s.look.owners for s in before + later[:1]):
                continue
            free = [s.at for s in later if kill.job not in s.look.owners]
            if free:
                found.append(free[0] - kill.at)
        return found

    @property
    def held_share(self) -> float | None:
        """The slots held, summed over all samples, as a share of the waits."""
        waiting = sum(sample.waiting for sample in self.samples)
        return sum(s.look.held for s in self.samples) / waiting if waiting else None

    def checks(self) -> list[Check]:
        """Give the verdict, claim by claim."""
        return [*self._of_tasks(), *self._of_waits(), *self._of_trouble()]

    def _of_tasks(self) -> list[Check]:
        found = [
            Check(f"tasks or builds: {kind}", self.judgement.count(kind), 0) for kind in FAULTS
        ]
        builds = self.course.builds
        ended = sum(task.state in {"success", "failed"} for task in self.told)
        return [
            Check("tasks that ended", ended, builds),
            Check("builds of the first try", len(self.made) - self.judgement.again, builds),
            Check("trigger requests carried out, less builds", self.accepted - len(self.made), 0),
            *found,
        ]

    def _of_waits(self) -> list[Check]:
        held = [sample.look.held for sample in self.quiet]
        return [
            Check("waits left behind in Airflow", self.left, 0),
            Check("slots held while all tasks waited, most", max(held, default=None), 0),
            Check(
                "phases or parts of this test that did not come to their end", len(self.notes), 0
            ),
        ]

    def _of_trouble(self) -> list[Check]:
        """Tell whether there was the trouble that was asked for: else the rest shows nothing."""
        course = self.course
        killed = {kill.kind for kill in self.kills}
        deaf = self.during(DEAF, after=5.0)
        waits = [sample.waiting for sample in self.quiet]
        blind = [sample.waiting for sample in deaf]
        [sample.sockets for sample in deaf]
        return [
            Check("kinds of process killed", len(killed), 5),
            Check("kills", len(self.kills), round(course.storm / course.every / 2), least=True),
            Check("waits during the storm, most", _most(self.during(STORM)), 1, least=True),
            Check("waits through the outage, fewest", min(waits, default=None), 1, least=True),
            Check("waits without sockets, most", max(blind, default=None), 1, least=True),
            Check(
                "sockets while there were none, most",
                max((s.sockets for s in deaf), default=None),
                0,
            ),
        ]


@dataclass(frozen=True)
class Check:
    """One claim.

    :param least: it must be at least this; else exactly.
    """

    claim: str
    measured: int | None
    wanted: int
    least: bool = False

    @property
    def met(self) -> bool:
        """Whether it holds; what could not be measured does not."""
        if self.measured is None:
            return False
        return self.measured >= self.wanted if self.least else self.measured == self.wanted


def _most(samples: list[Sample]) -> int | None:
    return max((sample.waiting for sample in samples), default=None)
