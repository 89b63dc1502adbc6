"""Plays a course: starts the load, and lets go wrong what is to go wrong."""

from __future__ import annotations

import http.client
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_buildpixel.sandbox.demo.api import AirflowRefused
from tests.cluster.books import DAG
from tests.cluster.course import DEAF, DRAIN, OUTAGE, RECOVERY, SETTLING, STORM

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from airflow_provider_buildpixel.sandbox import Sandbox
    from tests.cluster.books import Books
    from tests.cluster.course import Course, Wave
    from tests.cluster.fleet import Fleet
    from tests.cluster.storm import Keeper
    from tests.cluster.watch import Watch

PAUSE = 0.5
RECOVERING = 45.0
SETTLED_WITHIN = 420.0
DRAINED_WITHIN = 900.0

REFUSED_FOR = 10
"""Seconds after which BuildPixel takes a request that it has refused with 429."""

TRUTHS = ("complete", "failed", "superseded")
SHARES = (80, 12, 8)
"""How builds end, in percent."""

MOVING = {
    "none",
    "scheduled",
    "queued",
    "running",
    "up_for_retry",
    "up_for_reschedule",
    "restarting",
}


@dataclass
class Script:
    """One run of a course.

    :param spans: when each phase began and ended, in seconds since the epoch.
    :param branches: one for each task that was asked for.
    """

    course: Course
    fleet: Fleet
    sandbox: Sandbox
    books: Books
    keeper: Keeper
    watch: Watch
    chance: random.Random
    spans: dict[str, tuple[float, float]] = field(default_factory=dict)
    branches: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def play(self) -> None:
        """Go through all phases."""
        course = self.course
        with self._phase(STORM):
            self.keeper.rage(course.every)
            self._last(STORM, course.storm)
            self.keeper.rage(None)
        with self._phase(DEAF):
            deafness = self.sandbox.fault("sockets-refused", status=503)
            self.sandbox.drop_sockets()
            self._last(DEAF, course.deaf_for)
            deafness.remove()
        with self._phase(SETTLING):
            self._until(self._settled, SETTLED_WITHIN)
        with self._phase(OUTAGE):
            outage = self.sandbox.fault("refuse-connections")
            self._last(OUTAGE, course.outage)
            outage.remove()
        with self._phase(RECOVERY):
            self._last(RECOVERY, RECOVERING)
        with self._phase(DRAIN):
            self._until(lambda: self.books.unfinished_runs() == 0, DRAINED_WITHIN)
        for helper in (self.keeper, self.watch):
            if not helper.alive:
                self.notes.append(
                    f"the {type(helper).__name__.lower()} broke off: see its traceback"
                )

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        began = time.time()
        self.watch.phase = name
        sys.stderr.write(f"{time.strftime('%H:%M:%S')} {name}\n")
        yield
        self.spans[name] = (began, time.time())

    def _last(self, phase: str, seconds: float) -> None:
        """Let a phase last, and start its waves meanwhile."""
        began = time.monotonic()
        for number, wave in enumerate(self.course.waves()):
            if wave.phase == phase:
                _sleep_until(began + wave.at * seconds)
                self._start(number, wave)
        _sleep_until(began + seconds)

    def _start(self, number: int, wave: Wave) -> None:
        run_id, size = f"wave-{number:02}", self.course.sizes()[number]
        for _ in range(size):
            seconds = self.chance.uniform(wave.shortest, wave.longest)
            truth = self.chance.choices(TRUTHS, SHARES)[0]
            self.sandbox.plan(outcome=truth, queue=2.0, run=seconds * self.course.speed)
        if wave.phase == STORM:
            self.sandbox.fault("429", "POST trigger", times=size // 2, retry_after=REFUSED_FOR)
        body: dict[str, object] = {
            "logical_date": None,
            "dag_run_id": run_id,
            "conf": {"builds": size},
        }
        self.branches += [f"{run_id}-{index}" for index in range(size)]
        self._until(lambda: self._started(body), SETTLED_WITHIN)

    def _started(self, body: dict[str, object]) -> bool:
        """Ask for a run; once more with the same id where the answer did not come."""
        try:
            self.fleet.api.call("POST", f"/dags/{DAG}/dagRuns", body)
        except AirflowRefused as refused:
            return refused.status == 409  # it is there already
        except (OSError, http.client.HTTPException):  # the API server was killed
            return False
        return True

    def _settled(self) -> bool:
        states = self.books.look().states
        return self.keeper.all_ready and not any(states.get(state) for state in MOVING)

    def _until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Wait for a condition; that it did not come is noted, and shows in the verdict."""
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until:
                self.notes.append(f"{self.watch.phase}: not over within {seconds:.0f} s")
                return
            time.sleep(PAUSE)


def _sleep_until(instant: float) -> None:
    time.sleep(max(0.0, instant - time.monotonic()))
