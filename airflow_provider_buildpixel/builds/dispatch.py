"""Decides how to start a build exactly once, despite live builds and lost answers.

BuildPixel has no idempotency key, and a second build of the same kind cancels the first. So the
existing builds are listed before the trigger request, and listed again after a lost answer before
the request is repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_buildpixel.api.errors import ServerFault, UnexpectedAnswer, Unreachable
from airflow_provider_buildpixel.api.model import Build, Status
from airflow_provider_buildpixel.builds.errors import BuildInFlight, DispatchUncertain
from airflow_provider_buildpixel.builds.outcome import same_kind
from airflow_provider_buildpixel.builds.record import Adopt

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_buildpixel.api.errors import BuildPixelError
    from airflow_provider_buildpixel.api.model import BuildSetting
    from airflow_provider_buildpixel.builds.request import BuildRequest


SEARCH_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds before each search for a build whose answer was lost; lists may be stale for a while."""


def in_flight(
    builds: Iterable[Build], request: BuildRequest, setting: BuildSetting
) -> tuple[Build, ...]:
    """Return the live builds that a new one would supersede, newest first."""
    sample = Build(
        id="",
        status=Status(""),
        project_id=request.project_id,
        platform=setting.platform,
        build_type=setting.build_type,
        branch=request.branch or setting.branch_or_stream,
    )
    live = [build for build in builds if not build.status.terminal and same_kind(sample, build)]
    return tuple(sorted(live, key=lambda build: build.id, reverse=True))


@dataclass(frozen=True)
class TriggerBuild:
    """Start a new build; ``supersedes`` are the live builds that this cancels."""

    supersedes: tuple[Build, ...] = ()


@dataclass(frozen=True)
class WaitFor:
    """Wait for this build to end, then start a new one."""

    build: Build


def decide_in_flight(
    live: tuple[Build, ...], request: BuildRequest, setting: BuildSetting, policy: str
) -> TriggerBuild | Adopt | WaitFor:
    """Decide what to do about live builds of the same kind.

    :param live: the live builds, newest first.
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
        is_reported = bool(newest.commit or not request.commit)
        is_reported = is_reported and bool(newest.changelist or not request.changelist)
        if is_reported and request.matches(newest, setting):
            return Adopt(newest)
        return TriggerBuild(live)
    raise BuildInFlight(
        f"{newest.title} is {newest.status} (triggered by {newest.triggered_by}), and a new "
        "build would supersede (cancel) it. No build was started. Wait until it has ended, or set "
        "on_in_flight to 'adopt', 'wait' or 'supersede'",
        build=newest,
    )


class DispatchMachine:
    """State machine of one dispatch: after a lost answer it searches before it sends again.

    ``build_id`` is the build that the request has started, None until it is known.

    :param search_first: begin with a search, as an earlier try may have sent the request.
    :param max_requests: requests whose answer may be lost before the dispatch gives up.
    """

    def __init__(self, *, search_first: bool = False, max_requests: int = 2) -> None:
        self._must_search = search_first
        self._searches = 0
        self._requests_left = max_requests
        self._last_error: BuildPixelError | None = None
        self._possible: dict[str, Build] = {}
        self.build_id: str | None = None

    def search_pause(self) -> float | None:
        """Return the seconds to pause before a search for the build; None: send the request."""
        return SEARCH_PAUSES[self._searches] if self._must_search else None

    def on_started(self, build_id: str) -> None:
        """Handle the answer to the request."""
        self.build_id = build_id

    def on_error(self, error: BuildPixelError) -> None:
        """Handle an error of the request; raise it if it means that no build was started."""
        if not may_have_run(error):
            raise error
        self._last_error = error
        self._requests_left -= 1
        self._must_search, self._searches = True, 0

    def on_search(self, candidates: tuple[Build, ...], possible: Iterable[Build] = ()) -> None:
        """Handle the result of a search.

        :param candidates: the builds that match the request.
        :param possible: further builds that the request may have started.
        :raises DispatchUncertain: the request's build cannot be identified.
        """
        if len(candidates) == 1:
            self.build_id = candidates[0].id
            return
        if candidates:
            raise self._uncertain_error(candidates)
        self._possible |= {build.id: build for build in possible}
        self._searches += 1
        if self._searches < len(SEARCH_PAUSES):
            return
        if self._possible or self._requests_left < 1 or not _is_surely_over(self._last_error):
            raise self._uncertain_error(tuple(self._possible.values()))
        self._must_search = False

    def lookup_failed(self, error: BuildPixelError) -> DispatchUncertain:
        """Return the error for a search that failed: the request must not be repeated."""
        self._last_error = self._last_error or error
        return self._uncertain_error(tuple(self._possible.values()))

    def _uncertain_error(self, candidates: tuple[Build, ...]) -> DispatchUncertain:
        listed = ", ".join(build.title for build in candidates)
        found = f"it may have started one of: {listed}" if listed else "no build of it is listed"
        cause = f" ({self._last_error})" if self._last_error else ""
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


def _is_surely_over(error: BuildPixelError | None) -> bool:
    """Return whether the request has surely ended, so that no build of it can appear any more.

    A request that timed out may still be running, and a 2xx whose body cannot be read has run.
    """
    match error:
        case None:
            return True
        case Unreachable(timed_out=timed_out):
            return not timed_out
        case ServerFault(status_code=status):
            return status not in (408, 504, 524)
    return False
