"""The course of one run: what is started when, and what goes wrong when."""

from __future__ import annotations

from dataclasses import dataclass

WAVES = 20
ALLOWANCE = 60.0
"""Seconds until everything is settled; where it takes longer, fewer tasks wait in the outage."""

STORM, OUTAGE, DEAF = "storm", "outage", "deaf"
SETTLING, RECOVERY, DRAIN = "settling", "recovery", "drain"


@dataclass(frozen=True)
class Wave:
    """One Dag run.

    :param phase: in which it is started.
    :param at: which share of the phase is over then.
    :param shortest: seconds that a build takes; longest likewise.
    """

    phase: str
    at: float
    shortest: float
    longest: float


@dataclass(frozen=True)
class Course:
    """What is asked for; durations are real seconds, except `deaf`, which is the sandbox's.

    :param builds: how many, in 20 Dag runs.
    :param storm: for how long processes are killed.
    :param every: seconds between two kills, on average.
    :param outage: for how long BuildPixel refuses all connections.
    :param deaf: for how long it has no sockets.
    :param speed: sandbox seconds per real second.
    """

    builds: int = 500
    storm: float = 600.0
    every: float = 5.0
    outage: float = 600.0
    deaf: float = 3600.0
    speed: float = 12.0

    @property
    def deaf_for(self) -> float:
        """Real seconds without sockets."""
        return self.deaf / self.speed

    def sizes(self) -> list[int]:
        """Give the builds of each wave."""
        return [self.builds * (n + 1) // WAVES - self.builds * n // WAVES for n in range(WAVES)]

    def waves(self) -> list[Wave]:
        """Give all waves, in order."""
        storm, outage, deaf = self.storm, self.outage, self.deaf_for
        calm = deaf + ALLOWANCE  # from the start of the deafness to that of the outage, or more
        return [
            *(Wave(STORM, n / 9, 0.1 * storm, 0.5 * storm) for n in range(8)),
            *(Wave(DEAF, n / 9, 0.2 * deaf, 0.8 * deaf) for n in range(4)),
            # They wait through the outage; the builds of some end in it.
            *(Wave(DEAF, n / 9, calm + 0.2 * outage, calm + 1.2 * outage) for n in range(4, 7)),
            # Its tasks have something to dispatch, and nobody answers.
            Wave(OUTAGE, 0.7, 0.1 * deaf, 0.5 * deaf),
            *(Wave(RECOVERY, n / 4, 0.1 * deaf, 0.5 * deaf) for n in range(4)),
        ]
