"""The scenario of one run: when Dag runs are started, and when which fault is active."""

from __future__ import annotations

from dataclasses import dataclass

WAVES = 20
SETTLING_SECONDS = 60.0
"""Expected duration of the settling phase; if it takes longer, fewer tasks wait in the outage."""

KILLS, OUTAGE, NO_SOCKETS = "kills", "outage", "no sockets"
SETTLING, RECOVERY, DRAIN = "settling", "recovery", "drain"


@dataclass(frozen=True)
class Wave:
    """One Dag run.

    :param phase: the phase in which it is started.
    :param at: the fraction of the phase that has passed at its start.
    :param shortest: least duration of a build in seconds; ``longest`` likewise.
    """

    phase: str
    at: float
    shortest: float
    longest: float


@dataclass(frozen=True)
class Scenario:
    """The parameters of a run; durations are in real seconds, except ``no_sockets``.

    :param builds: number of builds, in 20 Dag runs.
    :param kills: duration of the phase in which processes are killed.
    :param kill_interval: average time between two kills.
    :param outage: duration of the phase in which BuildPixel refuses all connections.
    :param no_sockets: duration of the phase in which BuildPixel refuses sockets, in seconds of the
        sandbox's clock.
    :param speed: sandbox seconds per real second.
    """

    builds: int = 500
    kills: float = 600.0
    kill_interval: float = 5.0
    outage: float = 600.0
    no_sockets: float = 3600.0
    speed: float = 12.0

    @property
    def real_no_sockets(self) -> float:
        """Real seconds without sockets."""
        return self.no_sockets / self.speed

    def sizes(self) -> list[int]:
        """Return the number of builds of each wave."""
        return [self.builds * (n + 1) // WAVES - self.builds * n // WAVES for n in range(WAVES)]

    def waves(self) -> list[Wave]:
        """Return all waves, in order."""
        kills, outage, no_sockets = self.kills, self.outage, self.real_no_sockets
        until_outage = no_sockets + SETTLING_SECONDS  # from the start of NO_SOCKETS, at least
        return [
            *(Wave(KILLS, n / 9, 0.1 * kills, 0.5 * kills) for n in range(8)),
            *(Wave(NO_SOCKETS, n / 9, 0.2 * no_sockets, 0.8 * no_sockets) for n in range(4)),
            # These wait through the outage; some of their builds end in it.
            *(
                Wave(NO_SOCKETS, n / 9, until_outage + 0.2 * outage, until_outage + 1.2 * outage)
                for n in range(4, 7)
            ),
            # The tasks of this one dispatch builds while BuildPixel is down.
            Wave(OUTAGE, 0.7, 0.1 * no_sockets, 0.5 * no_sockets),
            *(Wave(RECOVERY, n / 4, 0.1 * no_sockets, 0.5 * no_sockets) for n in range(4)),
        ]
