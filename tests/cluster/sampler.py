"""Samples Airflow and BuildPixel every two seconds, for the duration of a ``with`` block."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from tests.cluster.background import BackgroundLoop

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox import Sandbox
    from tests.cluster.airflow_database import AirflowDatabase, TaskCounts

LIVE = {"pending", "running"}


@dataclass(frozen=True)
class Sample:
    """The state at one moment, in seconds since the epoch.

    :param live: builds that have not ended.
    :param sockets: connections to BuildPixel's live channel.
    """

    at: float
    phase: str
    counts: TaskCounts
    live: int
    sockets: int

    @property
    def waiting(self) -> int:
        """The number of tasks that wait in a triggerer."""
        return self.counts.states.get("deferred", 0)


@dataclass
class Sampler(BackgroundLoop):
    """Takes samples in a thread."""

    name: ClassVar[str] = "sampler"
    pause: ClassVar[float] = 2.0

    database: AirflowDatabase
    sandbox: Sandbox
    phase: str = ""
    samples: list[Sample] = field(default_factory=list)

    def step(self) -> None:
        """Take a sample."""
        live = sum(build["status"] in LIVE for build in self.sandbox.builds())
        counts = self.database.task_counts()
        self.samples.append(Sample(time.time(), self.phase, counts, live, self.sandbox.sockets))
