"""Decides how to start a build exactly once, despite live builds and lost answers.

BuildPixel has no idempotency key, and a second build of the same kind cancels the first. So live
builds are listed before each trigger request, and after a lost answer the request's build is
searched before the request is repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_buildpixel.api.errors import ServerFault, UnexpectedAnswer, Unreachable
from airflow_provider_buildpixel.builds.errors import BuildInFlight, DispatchUncertain
from airflow_provider_buildpixel.builds.record import (
    Adopt,
    builds_of_requests,
    possible_builds_of_requests,
)
from airflow_provider_buildpixel.builds.request import Match
from airflow_provider_buildpixel.builds.search import by_creation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_buildpixel.api.errors import BuildPixelError
    from airflow_provider_buildpixel.api.model import Build
    from airflow_provider_buildpixel.builds.record import DispatchRecord
    from airflow_provider_buildpixel.builds.request import BuildFilter, Lines


SEARCH_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds before each search for a build whose answer was lost; lists may be stale for a while."""

LIST_DELAY = 10.0
"""Seconds by which lists may be stale."""

MAX_LOST_ANSWERS = 2
"""Requests of one try whose answer may be lost before the dispatch gives up."""


@dataclass(frozen=True)
class TriggerBuild:
    """Start a new build; ``supersedes`` are the live builds that this cancels."""

    supersedes: tuple[Build, ...] = ()


@dataclass(frozen=True)
class WaitFor:
    """Wait for this build to end, then start a new one."""

    build: Build


def in_flight(builds: Iterable[Build], kind: BuildFilter, lines: Lines) -> tuple[Build, ...]:
    """Return the live builds that a new one would supersede, the newest first.

    :param kind: project, platform, build type and branch of the new build.
    :param lines: the branches or streams of build settings, for builds that do not tell theirs.
    """
    live = [build for build in builds if not build.status.terminal]
    return tuple(
        build for build in reversed(by_creation(live)) if kind.compare(build, lines) is not Match.NO
    )


def decide_in_flight(
    live: tuple[Build, ...], target: BuildFilter, lines: Lines, policy: str
) -> TriggerBuild | Adopt | WaitFor:
    """Decide what to do about live builds of the same kind.

    :param live: the live builds, newest first.
    :param target: the build that is requested.
    :param lines: the branches or streams of build settings, for builds that do not tell theirs.
    :param policy: the operator's ``on_in_flight``.
    :raises BuildInFlight: there is a live build, and the policy is ``fail``.
    """
    if not live or policy == "supersede":
        return TriggerBuild(live)
    newest = live[0]
    if policy == "wait":
        return WaitFor(newest)
    if policy == "adopt":
        # A build that does not report its commit yet may be of another commit: do not adopt it.
        is_requested = target.compare(newest, lines) is Match.YES
        return Adopt(newest) if is_requested else TriggerBuild(live)
    raise BuildInFlight(
        f"{newest.title} is {newest.status} (triggered by {newest.triggered_by}), and a new "
        "build would supersede (cancel) it. No build was started. Wait until it has ended, or set "
        "on_in_flight to 'adopt', 'wait' or 'supersede'",
        build=newest,
    )


class RequestSearch:
    """Searches for the build of a request whose answer is not known.

    ``found`` is the build, None until it is known. If the search ends without one, the request
    surely did not run, and may be repeated.

    :param record: what is known of the request.
    :param error: why its answer is not known; None if an earlier try ended meanwhile.
    """

    def __init__(self, record: DispatchRecord, error: BuildPixelError | None = None) -> None:
        self._record = record
        self._error = error
        self._pauses = list(SEARCH_PAUSES)
        self._possible: dict[str, Build] = {}
        self._is_extended = False
        self.found: Build | None = None

    def next_pause(self, now: float) -> float | None:
        """Return the seconds to pause before the next search, None if it has ended.

        :param now: seconds since the epoch on the server's clock.
        :raises DispatchUncertain: it has ended, and the request may have run, or may still run.
        """
        if self.found is not None:
            return None
        if self._pauses:
            return self._pauses.pop(0)
        window = self._record.window
        # After an error, the pauses are longer than the time in which its build can appear.
        delay = LIST_DELAY if self._error is None else 0.0
        left = window.until + delay - now
        if not window.may_run_later and left > 0 and not self._is_extended:
            self._is_extended = True
            return left + SEARCH_PAUSES[0]
        if self._possible or window.may_run_later:
            raise self._uncertain_error(tuple(self._possible.values()))
        return None

    def on_builds(self, builds: Iterable[Build], lines: Lines) -> None:
        """Handle the builds that one search has shown.

        :param lines: the branches or streams of build settings, for builds that do not tell theirs.
        :raises DispatchUncertain: several builds match the request.
        """
        known = list(builds)
        candidates = builds_of_requests(known, self._record, lines)
        if len(candidates) > 1:
            raise self._uncertain_error(candidates)
        if candidates:
            self.found = candidates[0]
        possible = possible_builds_of_requests(known, self._record, lines)
        self._possible |= {build.id: build for build in possible}

    def lookup_failed(self, error: BuildPixelError) -> DispatchUncertain:
        """Return the error for a search that failed: the request must not be repeated."""
        self._error = self._error or error
        return self._uncertain_error(tuple(self._possible.values()))

    def give_up(self) -> DispatchUncertain:
        """Return the error for too many requests whose answer was lost."""
        return self._uncertain_error(())

    def _uncertain_error(self, candidates: tuple[Build, ...]) -> DispatchUncertain:
        listed = ", ".join(build.title for build in candidates)
        found = f"it may have started one of: {listed}" if listed else "no build of it is listed"
        cause = f" ({self._error})" if self._error else ""
        return DispatchUncertain(
            f"the answer to the trigger request was lost{cause}, and {found}. The request was not "
            "repeated, because a second build would supersede the first. Check BuildPixel's "
            "dashboard, then clear the task, or let its retry search again",
            candidates=candidates,
        )


def may_have_run(error: BuildPixelError) -> bool:
    """Return whether the trigger request may have run in spite of this error."""
    match error:
        case Unreachable(sent=sent):
            return sent
        case ServerFault():
            return True
        case UnexpectedAnswer(status_code=status):
            return status is None or status < 300  # a redirect ran nothing
    return False


def is_surely_over(error: BuildPixelError) -> bool:
    """Return whether the request has surely ended, so that no build of it can appear any more.

    A request that timed out may still be running, and a 2xx whose body cannot be read has run.
    """
    match error:
        case Unreachable(timed_out=timed_out):
            return not timed_out
        case ServerFault(status_code=status):
            return status not in (408, 504, 524)
    return False
