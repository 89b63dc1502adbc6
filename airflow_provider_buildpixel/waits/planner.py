"""How many waits share few requests: what to read next, when, and what to make of refusals.

Wishes are of two kinds. Urgent ones follow a rumour that the build has ended: a few are read
singly, at once; of many, the list of the rumoured status settles a hundred a page. Calm ones are
gathered: the lists of live builds settle all that are still live, whether they asked or not, and
only what no list settles is read singly. A round of one kind never waits for one of the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf
from typing import TYPE_CHECKING, cast

from airflow_provider_buildpixel.api.endpoints import PAGE_SIZE
from airflow_provider_buildpixel.api.errors import RateLimited
from airflow_provider_buildpixel.api.retry import backoff, is_permanent, retry_after_pause
from airflow_provider_buildpixel.waits.actions import Pacing, Read

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_buildpixel.api.errors import BuildPixelError
    from airflow_provider_buildpixel.api.model import Status


SINGLE_READS = 8
"""Builds that are always read singly and at once."""

SMALL_GROUP = 16
"""Waits up to which nothing is gained by gathering."""

GATHER_SECONDS = 1.0
"""Seconds for which the wishes of many waits are gathered."""

QUIET_AFTER_JOIN = 0.25
"""Seconds without anything happening after which many joins or starts are taken to be over."""

MAX_BURST = 5.0
"""Seconds for which their end is waited for."""

QUIET_AFTER_HINT = 0.05
"""Seconds without a new rumour after which a burst of them is taken to be over."""

POLL_REST_PER_PAGE = 0.05
"""Seconds of rest after each page of a sweep before waits that poll get the next."""

SAFETY_REST_PER_PAGE = 6.0
"""Seconds of rest after each page before the next safety reads: at most ten pages a minute."""

MAX_GAP_READS = 50
"""Builds whose log has a gap that are read for its sake after a sweep, which brings no log."""

MAX_LIST_FAILURES = 3
"""Sweeps in a row that fail, where single reads do not, before lists are left alone."""

LIST_PAUSE = 300.0
"""Seconds for which they are."""

MAX_RATE_LIMIT_PAUSE = 900.0
"""Seconds until one request tries again after a 429 that asked for more than is sensible."""

_GAP_READ = Read(routine=True)


@dataclass(frozen=True, slots=True)
class PendingRead:
    """One build's wish for a read.

    :param at: when it was made, on the clock of every ``now``.
    """

    build_id: str
    read: Read
    at: float


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """What to read next.

    :param singles: these builds one by one.
    :param live: the lists of live builds, for all waits at once.
    :param ended: the lists of these statuses, for the builds that are rumoured to have it.
    """

    singles: tuple[str, ...] = ()
    live: bool = False
    ended: tuple[tuple[Status, tuple[str, ...]], ...] = ()


class ReadPlanner:
    """The wishes that are open, the oldest first, and when and how they are met."""

    def __init__(self) -> None:
        self._calm: dict[str, PendingRead] = {}
        self._urgent: dict[str, PendingRead] = {}
        self._gaps: set[str] = set()
        self._polls = self._stirred = 0
        self._swept_at = -inf
        self._pages = 0
        self._lists_failed = 0
        self._lists_from = -inf

    def __len__(self) -> int:
        return len(self._calm) + len(self._urgent)

    def add(self, build_id: str, read: Read, now: float) -> None:
        """Take a wish; it replaces an earlier one of the same build, unless that is more urgent."""
        if build_id in self._urgent:
            return
        earlier = self._calm.get(build_id)
        if earlier is not None and earlier.read == read:
            return
        self._forget(build_id)
        kind = self._calm if read.hint is None else self._urgent
        kind[build_id] = PendingRead(build_id, read, now)
        self._count(read, 1)

    def drop(self, build_id: str) -> PendingRead | None:
        """Forget a wish, and give it."""
        self._gaps.discard(build_id)
        return self._forget(build_id)

    def _forget(self, build_id: str) -> PendingRead | None:
        ask = self._calm.pop(build_id, None)
        if ask is None:
            return self._urgent.pop(build_id, None)
        self._count(ask.read, -1)
        return ask

    def _count(self, read: Read, by: int) -> None:
        """Keep the numbers of calm wishes that are more than caution, and more than routine."""
        if read.hint is None:
            self._polls += 0 if read.safety else by
            self._stirred += 0 if read.routine else by

    def __contains__(self, build_id: object) -> bool:
        return build_id in self._calm or build_id in self._urgent

    def settle(self, build_id: str, since: float, *, ended: bool) -> None:
        """Take note that a list showed a build, in a read that began at ``since``.

        It settles every wish made before; but a list may be stale, so that a build that it still
        shows alive, against a rumour, is read singly.
        """
        ask = self._calm.get(build_id)
        if ended:
            self.drop(build_id)
        elif ask is not None and ask.at <= since:
            self._forget(build_id)

    def open(self, build_ids: Iterable[str], since: float) -> tuple[str, ...]:
        """Give those of these builds whose wishes are older than ``since`` and open still."""
        asks = (self._calm.get(key) or self._urgent.get(key) for key in build_ids)
        return tuple(ask.build_id for ask in asks if ask is not None and ask.at <= since)

    def urgent_at(self) -> float:
        """Give the instant at which a round of urgent reads may begin."""
        if not self._urgent:
            return inf
        first = next(iter(self._urgent.values())).at
        if len(self._urgent) <= SINGLE_READS:
            return first
        last = next(reversed(self._urgent.values())).at
        return min(last + QUIET_AFTER_HINT, first + GATHER_SECONDS)

    def urgent(self, now: float) -> ReadPlan:
        """Give what a round of urgent reads reads now."""
        by_hint: dict[Status, list[str]] = {}
        for ask in self._urgent.values():
            hint = cast("Status", ask.read.hint)  # which is what makes it urgent
            by_hint.setdefault(hint, []).append(ask.build_id)
        listed = {} if now < self._lists_from else by_hint
        ended = tuple((hint, tuple(ids)) for hint, ids in listed.items() if len(ids) > SINGLE_READS)
        taken = {build_id for _, ids in ended for build_id in ids}
        return ReadPlan(tuple(key for key in self._urgent if key not in taken), ended=ended)

    def calm_at(self, waits: int, stirred_at: float = -inf) -> float:
        """Give the instant at which a round of calm reads may begin.

        :param waits: how many waits there are in all.
        :param stirred_at: when something last happened to one of them, such as a join.
        """
        if not self._calm:
            return inf
        first = next(iter(self._calm.values())).at
        if waits <= SMALL_GROUP:
            return first
        cost = POLL_REST_PER_PAGE if self._polls else SAFETY_REST_PER_PAGE
        gathered = self._gathered_at(first, waits, stirred_at)
        return max(gathered, self._swept_at + self._pages * cost)

    def _gathered_at(self, first: float, waits: int, stirred_at: float) -> float:
        """Give the instant from which more wishes need not be waited for.

        A few may be joined by others. Many are met by the lists of live builds, whoever asked:
        at once if they are routine; else when the burst is over that they are part of.
        """
        if self._few(waits):
            return first + GATHER_SECONDS
        if not self._stirred:
            return first
        last = max(stirred_at, next(reversed(self._calm.values())).at)
        return min(max(first + GATHER_SECONDS, last + QUIET_AFTER_JOIN), first + MAX_BURST)

    def _few(self, waits: int) -> bool:
        """Tell whether single reads are cheaper than the lists."""
        return len(self._calm) <= max(SINGLE_READS, ceil(waits / PAGE_SIZE))

    def calm(self, waits: int, now: float) -> ReadPlan:
        """Give what a round of calm reads reads now."""
        if self._few(waits) or now < self._lists_from:
            return ReadPlan(tuple(self._calm))
        return ReadPlan(live=True)

    def waiting(self) -> tuple[str, ...]:
        """Give the builds of all calm wishes."""
        return tuple(self._calm)

    def gap(self, build_id: str) -> None:
        """Take note that a build's log has a gap, which only a read of that build can fill."""
        self._gaps.add(build_id)

    def gaps(self, now: float) -> tuple[str, ...]:
        """Give those of the noted builds that are worth a read of their own, as wishes.

        They are few: of thousands of builds the log of one process could not tell the lines.
        """
        noted, self._gaps = tuple(self._gaps)[:MAX_GAP_READS], set()
        for build_id in noted:
            self.add(build_id, _GAP_READ, now)
        return noted

    def swept(self, pages: int, now: float) -> None:
        """Take note of what a round cost."""
        self._pages, self._swept_at = pages, now

    def listed(self) -> None:
        """Take note that lists can be read."""
        self._lists_failed = 0

    def lists_failed(self, error: BuildPixelError, now: float) -> bool:
        """Take note that lists fail where single reads do not; tell whether to do without now."""
        self._lists_failed += 1
        if not is_permanent(error) and self._lists_failed < MAX_LIST_FAILURES:
            return False
        self._lists_failed, self._lists_from = 0, now + LIST_PAUSE
        return True


class RateLimitGate:
    """One budget for all requests of a token: a 429 for one of them slows them all.

    While it is on, requests go one at a time, so that none of them is refused for the others.
    """

    def __init__(self) -> None:
        self._refusals = 0
        self.until = -inf

    @property
    def on(self) -> bool:
        """Whether the last answer was a 429."""
        return self._refusals > 0

    def answered(self, error: BuildPixelError | None, now: float, jitter: float) -> None:
        """Take note of an answer."""
        if not isinstance(error, RateLimited):
            self._refusals = 0
            return
        pause = backoff(self._refusals, jitter, first=1.0, cap=60.0)
        if error.wait is not None:
            pause = retry_after_pause(error.wait, jitter, pause)
        self._refusals += 1
        if pause > Pacing.patience:  # for which no wait has the patience: this one gives up
            pause = MAX_RATE_LIMIT_PAUSE
        self.until = max(self.until, now + pause)
