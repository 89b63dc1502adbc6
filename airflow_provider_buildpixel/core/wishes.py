"""What a wait for one build can want, and how often it may."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from airflow_provider_buildpixel.core.model import Build, Status


@dataclass(frozen=True)
class Read:
    """Read the build over REST now.

    :param hint: the end that a rumour tells of; such a read is urgent.
    :param routine: nothing has happened since the last read, only time has passed.
    :param safety: such a read while the channel stands, which may wait a while.
    """

    hint: Status | None = None
    routine: bool = False
    safety: bool = False


@dataclass(frozen=True)
class Listen:
    """Wait for an event, at most so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Done:
    """REST reported this terminal build."""

    build: Build


@dataclass(frozen=True)
class Expired:
    """The time is over; ``queue`` if it was the time in the queue."""

    queue: bool = False


Wish = Read | Listen | Done | Expired


class Ease(NamedTuple):
    """How a wait may be left alone: as long as reads show what is known, and often enough.

    :param status: what is known.
    :param since: a read that began earlier does not count.
    :param pause: seconds after such a read within which the wait wants nothing.
    :param until: the instant at which it wants a turn, whatever was read.
    """

    status: Status
    since: float
    pause: float
    until: float


@dataclass(frozen=True)
class Pacing:
    """How often a wait reads, and how much it puts up with. All in seconds.

    :param poll_interval: between reads while the channel is down.
    :param backstop: between reads while the channel stands, in poll intervals.
    :param join_wait: how long the first read waits for the room to be joined.
    :param rumour_gap: between reads for the sake of repeated rumours.
    :param absence: how long a 404 is taken for a build that is not visible yet.
    :param patience: how long reads may fail without a break before the wait gives up.
    """

    poll_interval: float = 30.0
    backstop: float = 10.0
    join_wait: float = 3.0
    rumour_gap: float = 1.0
    absence: float = 60.0
    patience: float = 3600.0
