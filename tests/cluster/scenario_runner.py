"""Runs a scenario: starts Dag runs, and injects the faults of each phase."""

from __future__ import annotations

import http.client
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_buildpixel.sandbox.demo.api import AirflowRefused
from tests.cluster.airflow_database import DAG
from tests.cluster.scenario import DRAIN, KILLS, NO_SOCKETS, OUTAGE, RECOVERY, SETTLING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from airflow_provider_buildpixel.sandbox import Sandbox
    from tests.cluster.airflow_cluster import AirflowCluster
    from tests.cluster.airflow_database import AirflowDatabase
    from tests.cluster.kill_loop import KillLoop
    from tests.cluster.sampler import Sampler
    from tests.cluster.scenario import Scenario, Wave

PAUSE = 0.5
RECOVERY_SECONDS = 45.0
SETTLING_TIMEOUT = 420.0
DRAIN_TIMEOUT = 900.0

RETRY_AFTER = 10
"""Seconds in ``Retry-After`` of BuildPixel's 429 responses."""

OUTCOMES = ("complete", "failed", "superseded")
OUTCOME_PERCENT = (80, 12, 8)
"""How builds end, in percent."""

ACTIVE_STATES = {
    "none",
    "scheduled",
    "queued",
    "running",
    "up_for_retry",
    "up_for_reschedule",
    "restarting",
}


@dataclass
class ScenarioRunner:
    """One run of a scenario.

    :param spans: start and end of each phase, in seconds since the epoch.
    :param branches: one for each requested task.
    :param notes: parts of the test that did not finish.
    """

    scenario: Scenario
    cluster: AirflowCluster
    sandbox: Sandbox
    database: AirflowDatabase
    kill_loop: KillLoop
    sampler: Sampler
    rng: random.Random
    spans: dict[str, tuple[float, float]] = field(default_factory=dict)
    branches: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Run all phases."""
        scenario = self.scenario
        with self._phase(KILLS):
            self.kill_loop.set_interval(scenario.kill_interval)
            self._run_phase(KILLS, scenario.kills)
            self.kill_loop.set_interval(None)
        with self._phase(NO_SOCKETS):
            refused_sockets = self.sandbox.fault("sockets-refused", status=503)
            self.sandbox.drop_sockets()
            self._run_phase(NO_SOCKETS, scenario.real_no_sockets)
            refused_sockets.remove()
        with self._phase(SETTLING):
            self._wait_until(self._settled, SETTLING_TIMEOUT)
        with self._phase(OUTAGE):
            outage = self.sandbox.fault("refuse-connections")
            self._run_phase(OUTAGE, scenario.outage)
            outage.remove()
        with self._phase(RECOVERY):
            self._run_phase(RECOVERY, RECOVERY_SECONDS)
        with self._phase(DRAIN):
            self._wait_until(lambda: self.database.unfinished_runs() == 0, DRAIN_TIMEOUT)
        for background in (self.kill_loop, self.sampler):
            if not background.is_running:
                self.notes.append(f"the {background.name} ended with an error: see its traceback")

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        started_at = time.time()
        self.sampler.phase = name
        sys.stderr.write(f"{time.strftime('%H:%M:%S')} {name}\n")
        yield
        self.spans[name] = (started_at, time.time())

    def _run_phase(self, phase: str, seconds: float) -> None:
        """Start the waves of a phase, and wait for the end of the phase."""
        started_at = time.monotonic()
        for number, wave in enumerate(self.scenario.waves()):
            if wave.phase == phase:
                _sleep_until(started_at + wave.at * seconds)
                self._start_wave(number, wave)
        _sleep_until(started_at + seconds)

    def _start_wave(self, number: int, wave: Wave) -> None:
        run_id, size = f"wave-{number:02}", self.scenario.sizes()[number]
        for _ in range(size):
            seconds = self.rng.uniform(wave.shortest, wave.longest)
            outcome = self.rng.choices(OUTCOMES, OUTCOME_PERCENT)[0]
            self.sandbox.plan(outcome=outcome, queue=2.0, run=seconds * self.scenario.speed)
        if wave.phase == KILLS:
            self.sandbox.fault("429", "POST trigger", times=size // 2, retry_after=RETRY_AFTER)
        body: dict[str, object] = {
            "logical_date": None,
            "dag_run_id": run_id,
            "conf": {"builds": size},
        }
        self.branches += [f"{run_id}-{index}" for index in range(size)]
        self._wait_until(lambda: self._start_run(body), SETTLING_TIMEOUT)

    def _start_run(self, body: dict[str, object]) -> bool:
        """Start a run; return whether it exists. Safe to repeat: the run has a fixed id."""
        try:
            self.cluster.api.call("POST", f"/dags/{DAG}/dagRuns", body)
        except AirflowRefused as refused:
            return refused.status == 409  # it exists already
        except (OSError, http.client.HTTPException):  # the API server was killed
            return False
        return True

    def _settled(self) -> bool:
        states = self.database.task_counts().states
        return self.kill_loop.all_ready and not any(states.get(state) for state in ACTIVE_STATES)

    def _wait_until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Wait for a condition; on a timeout add a note, which fails a check."""
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until:
                self.notes.append(f"{self.sampler.phase}: not finished within {seconds:.0f} s")
                return
            time.sleep(PAUSE)


def _sleep_until(instant: float) -> None:
    time.sleep(max(0.0, instant - time.monotonic()))
