"""Combines the reads of many waits into few requests: what to read next, and when.

Reads are of two kinds. Hinted reads follow a hint that the build has ended: a few are made one by
one, at once; for many, the list of the hinted status answers a hundred per page. Routine reads are
gathered: the lists of live builds answer those of all builds that are still live, and only the
rest is read one by one. A round of one kind never waits for a round of the other.
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
"""Reads up to which a round never uses lists."""

SMALL_GROUP = 16
"""Waits up to which gathering saves nothing."""

GATHER_SECONDS = 1.0
"""Seconds for which the reads of many waits are gathered."""

QUIET_AFTER_JOIN = 0.25
"""Seconds without an event or a new read after which a burst of joins is over."""

MAX_BURST = 5.0
"""Seconds for which the end of such a burst is waited for."""

QUIET_AFTER_HINT = 0.05
"""Seconds without a new hint after which a burst of hints is over."""

POLL_REST_PER_PAGE = 0.05
"""Seconds of rest per page of a sweep before the next sweep, while some waits poll."""

SAFETY_REST_PER_PAGE = 6.0
"""The same while there are only safety reads: at most ten pages a minute."""

MAX_GAP_READS = 50
"""Builds with a gap in their log that are read after a sweep, as lists contain no log."""

MAX_LIST_FAILURES = 3
"""Sweeps in a row that fail, while single reads succeed, before lists are not used for a while."""

LIST_PAUSE = 300.0
"""Seconds for which lists are then not used."""

MAX_RATE_LIMIT_PAUSE = 900.0
"""Seconds until the next request after a 429 that asked for more than any wait tolerates."""

_GAP_READ = Read(routine=True)


@dataclass(frozen=True, slots=True)
class PendingRead:
    """A requested read of one build.

    :param at: when it was requested, on the clock of every ``now``.
    """

    build_id: str
    read: Read
    at: float


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """What to read next.

    :param singles: the builds to read one by one.
    :param live_lists: whether to read the lists of live builds, for all waits at once.
    :param ended_lists: statuses whose lists to read, with the builds that are hinted to have it.
    """

    singles: tuple[str, ...] = ()
    live_lists: bool = False
    ended_lists: tuple[tuple[Status, tuple[str, ...]], ...] = ()


class ReadPlanner:
    """Holds the pending reads, oldest first, and decides when and how to make them."""

    def __init__(self) -> None:
        self._routine: dict[str, PendingRead] = {}
        self._hinted: dict[str, PendingRead] = {}
        self._log_gaps: set[str] = set()
        self._polls = self._event_reads = 0
        self._last_round_at = -inf
        self._last_round_pages = 0
        self._list_failures = 0
        self._lists_usable_at = -inf

    def __len__(self) -> int:
        return len(self._routine) + len(self._hinted)

    def add(self, build_id: str, read: Read, now: float) -> None:
        """Add a read; it replaces an earlier one of the same build, unless that one is hinted."""
        if build_id in self._hinted:
            return
        earlier = self._routine.get(build_id)
        if earlier is not None and earlier.read == read:
            return
        self._pop(build_id)
        kind = self._routine if read.hint is None else self._hinted
        kind[build_id] = PendingRead(build_id, read, now)
        self._count(read, 1)

    def remove(self, build_id: str) -> PendingRead | None:
        """Remove the pending read and the log gap of a build; return the read."""
        self._log_gaps.discard(build_id)
        return self._pop(build_id)

    def _pop(self, build_id: str) -> PendingRead | None:
        pending = self._routine.pop(build_id, None)
        if pending is None:
            return self._hinted.pop(build_id, None)
        self._count(pending.read, -1)
        return pending

    def _count(self, read: Read, by: int) -> None:
        """Count the routine-round reads that are no safety reads, and those that follow events."""
        if read.hint is None:
            self._polls += 0 if read.safety else by
            self._event_reads += 0 if read.routine else by

    def __contains__(self, build_id: object) -> bool:
        return build_id in self._routine or build_id in self._hinted

    def on_listed(self, build_id: str, since: float, *, ended: bool) -> None:
        """Handle a build in a list, in a read that began at ``since``.

        The list answers reads that were requested earlier. But lists may be stale: a build that is
        hinted to have ended, and that the list still shows live, is read by itself.
        """
        pending = self._routine.get(build_id)
        if ended:
            self.remove(build_id)
        elif pending is not None and pending.at <= since:
            self._pop(build_id)

    def pending(self, build_ids: Iterable[str], since: float) -> tuple[str, ...]:
        """Return those of the builds with a pending read that was requested by ``since``."""
        found = (self._routine.get(key) or self._hinted.get(key) for key in build_ids)
        return tuple(read.build_id for read in found if read is not None and read.at <= since)

    def hinted_at(self) -> float:
        """Return when a round of hinted reads may begin."""
        if not self._hinted:
            return inf
        first = next(iter(self._hinted.values())).at
        if len(self._hinted) <= SINGLE_READS:
            return first
        last = next(reversed(self._hinted.values())).at
        return min(last + QUIET_AFTER_HINT, first + GATHER_SECONDS)

    def plan_hinted(self, now: float) -> ReadPlan:
        """Return what a round of hinted reads reads now."""
        by_hint: dict[Status, list[str]] = {}
        for pending in self._hinted.values():
            hint = cast("Status", pending.read.hint)  # hinted reads have one
            by_hint.setdefault(hint, []).append(pending.build_id)
        usable = {} if now < self._lists_usable_at else by_hint
        lists = tuple((hint, tuple(ids)) for hint, ids in usable.items() if len(ids) > SINGLE_READS)
        listed = {build_id for _, ids in lists for build_id in ids}
        singles = tuple(build_id for build_id in self._hinted if build_id not in listed)
        return ReadPlan(singles, ended_lists=lists)

    def routine_at(self, waits: int, last_event_at: float = -inf) -> float:
        """Return when a round of routine reads may begin.

        :param waits: the number of all waits.
        :param last_event_at: when one of them last had an event, such as a join.
        """
        if not self._routine:
            return inf
        first = next(iter(self._routine.values())).at
        if waits <= SMALL_GROUP:
            return first
        rest = POLL_REST_PER_PAGE if self._polls else SAFETY_REST_PER_PAGE
        gathered_at = self._gathered_at(first, waits, last_event_at)
        return max(gathered_at, self._last_round_at + self._last_round_pages * rest)

    def _gathered_at(self, first: float, waits: int, last_event_at: float) -> float:
        """Return when to stop gathering reads.

        While there are few, others may follow. For many, the lists of live builds answer those of
        all builds: at once if all are routine, otherwise when the burst of events is over.
        """
        if self._prefers_single_reads(waits):
            return first + GATHER_SECONDS
        if not self._event_reads:
            return first
        last = max(last_event_at, next(reversed(self._routine.values())).at)
        return min(max(first + GATHER_SECONDS, last + QUIET_AFTER_JOIN), first + MAX_BURST)

    def _prefers_single_reads(self, waits: int) -> bool:
        """Return whether single reads need no more requests than the lists of live builds."""
        return len(self._routine) <= max(SINGLE_READS, ceil(waits / PAGE_SIZE))

    def plan_routine(self, waits: int, now: float) -> ReadPlan:
        """Return what a round of routine reads reads now."""
        if self._prefers_single_reads(waits) or now < self._lists_usable_at:
            return ReadPlan(tuple(self._routine))
        return ReadPlan(live_lists=True)

    def routine_builds(self) -> tuple[str, ...]:
        """Return the builds of all pending routine reads."""
        return tuple(self._routine)

    def note_log_gap(self, build_id: str) -> None:
        """Record that a build's log has a gap, which only a single read of the build can fill."""
        self._log_gaps.add(build_id)

    def request_gap_reads(self, now: float) -> tuple[str, ...]:
        """Add reads of builds with a gap in their log; return these builds.

        They are limited: one process could not write the lines of thousands of builds anyway.
        """
        build_ids, self._log_gaps = tuple(self._log_gaps)[:MAX_GAP_READS], set()
        for build_id in build_ids:
            self.add(build_id, _GAP_READ, now)
        return build_ids

    def on_round_done(self, pages: int, now: float) -> None:
        """Record how many pages or single reads a round of routine reads needed."""
        self._last_round_pages, self._last_round_at = pages, now

    def lists_succeeded(self) -> None:
        """Record that lists can be read."""
        self._list_failures = 0

    def lists_failed(self, error: BuildPixelError, now: float) -> bool:
        """Record that lists fail while single reads succeed; return whether to stop using them."""
        self._list_failures += 1
        if not is_permanent(error) and self._list_failures < MAX_LIST_FAILURES:
            return False
        self._list_failures, self._lists_usable_at = 0, now + LIST_PAUSE
        return True


class RateLimitGate:
    """Delays all requests of a token after a 429 for one of them.

    Until a request succeeds, requests are made one at a time, so that at most one is refused.
    """

    def __init__(self) -> None:
        self._refusals = 0
        self.next_request_at = -inf

    @property
    def is_limited(self) -> bool:
        """Whether the last answer was a 429."""
        return self._refusals > 0

    def on_answer(self, error: BuildPixelError | None, now: float, jitter: float) -> None:
        """Record an answer; ``error`` is None for a success."""
        if not isinstance(error, RateLimited):
            self._refusals = 0
            return
        pause = backoff(self._refusals, jitter, first=1.0, cap=60.0)
        if error.wait is not None:
            pause = retry_after_pause(error.wait, jitter, pause)
        self._refusals += 1
        if pause > Pacing.trouble_timeout:  # the wait that made this request fails; others go on
            pause = MAX_RATE_LIMIT_PAUSE
        self.next_request_at = max(self.next_request_at, now + pause)
