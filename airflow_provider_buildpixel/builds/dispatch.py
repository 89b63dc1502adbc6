"""Starting a build exactly once, over live builds in the way and lost answers.

BuildPixel has no idempotency key, and a second build of a kind cancels the first. So before the
request its builds are looked at, and after an unknown end they are looked at again before
anything is repeated.
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
"""Seconds between looks for a build whose answer was lost; lists may be stale for a while."""


def in_flight(
    builds: Iterable[Build], request: BuildRequest, setting: BuildSetting
) -> tuple[Build, ...]:
    """Find the live builds that a new one would supersede, newest first."""
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
    """Dispatch; ``supersedes`` are the live builds that this cancels."""

    supersedes: tuple[Build, ...] = ()


@dataclass(frozen=True)
class WaitFor:
    """Wait for this build to end, then dispatch."""

    build: Build


def decide_in_flight(
    live: tuple[Build, ...], request: BuildRequest, setting: BuildSetting, policy: str
) -> TriggerBuild | Adopt | WaitFor:
    """Decide what to do about live builds of the same kind."""
    if not live or policy == "supersede":
        return TriggerBuild(live)
    newest = live[0]
    if policy == "wait":
        return WaitFor(newest)
    if policy == "adopt":
        # A build whose commit is not told yet may be of another one: that is no reason to adopt.
        told = bool(newest.commit or not request.commit)
        told = told and bool(newest.changelist or not request.changelist)
        return Adopt(newest) if told and request.matches(newest, setting) else TriggerBuild(live)
    raise BuildInFlight(
        f"{newest.title} is {newest.status} (triggered by {newest.triggered_by}), and a new "
        "build would supersede, that is cancel, it. Nothing was dispatched. Wait for it, or set "
        "on_in_flight to 'adopt', 'wait' or 'supersede'",
        build=newest,
    )


@dataclass(frozen=True)
class SendRequest:
    """Send the trigger request."""


@dataclass(frozen=True)
class SearchAfter:
    """Wait so long, then list the builds of the kind."""

    pause: float


@dataclass(frozen=True)
class Started:
    """The build that the request made."""

    build_id: str


class DispatchMachine:
    """One dispatch: asks, and when the answer is lost looks before it asks again.

    :param searching: start with a look: an earlier try may have asked already.
    """

    def __init__(self, *, searching: bool = False, requests: int = 2) -> None:
        self._looks = 0
        self._lost: BuildPixelError | None = None
        self._doubtful: dict[str, Build] = {}
        self._searching = searching
        self._requests = requests
        self._started: str | None = None

    def next_action(self) -> SendRequest | SearchAfter | Started:
        """Say what to do next."""
        if self._started is not None:
            return Started(self._started)
        if not self._searching:
            return SendRequest()
        return SearchAfter(SEARCH_PAUSES[self._looks])

    def on_started(self, build_id: str) -> None:
        """Take the answer."""
        self._started = build_id

    def on_error(self, error: BuildPixelError) -> None:
        """Take an error; raise it if it says that nothing was started."""
        if not may_have_run(error):
            raise error
        self._lost = error
        self._requests -= 1
        self._searching, self._looks = True, 0

    def on_search(self, candidates: tuple[Build, ...], doubtful: Iterable[Build] = ()) -> None:
        """Take what a look found; raise DispatchUncertain if it cannot be told apart.

        :param candidates: what our request has made, as far as can be told.
        :param doubtful: what it may have made all the same.
        """
        if len(candidates) == 1:
            self._started = candidates[0].id
            return
        if candidates:
            raise self._uncertain(candidates)
        self._doubtful |= {build.id: build for build in doubtful}
        self._looks += 1
        if self._looks < len(SEARCH_PAUSES):
            return
        if self._doubtful or self._requests < 1 or not _surely_finished(self._lost):
            raise self._uncertain(tuple(self._doubtful.values()))
        self._searching = False

    def lookup_failed(self, error: BuildPixelError) -> DispatchUncertain:
        """Give the error of a look that could not be had: nothing is known, nothing repeated."""
        self._lost = self._lost or error
        return self._uncertain(tuple(self._doubtful.values()))

    def _uncertain(self, candidates: tuple[Build, ...]) -> DispatchUncertain:
        listed = ", ".join(build.title for build in candidates)
        found = f"it may be one of: {listed}" if listed else "no build of it can be seen so far"
        cause = f" ({self._lost})" if self._lost else ""
        return DispatchUncertain(
            f"the answer to the trigger request was lost{cause}, and {found}. Nothing more was "
            "dispatched, as a second build would supersede the first. Look in BuildPixel's "
            "dashboard, then clear the task, or let its retry look again",
            candidates=candidates,
        )


def may_have_run(error: BuildPixelError) -> bool:
    """Tell an error after which the trigger request may have run."""
    match error:
        case Unreachable(sent=sent):
            return sent
        case ServerFault():
            return True
        case UnexpectedAnswer(status_code=status):
            return status is None or status < 300  # a redirect ran nothing
    return False


def _surely_finished(error: BuildPixelError | None) -> bool:
    """Tell an end after which no build can appear any more once it was looked for long enough.

    A request that timed out may still be under way, and a 2xx whose body cannot be read has run.
    """
    match error:
        case None:
            return True
        case Unreachable(timed_out=timed_out):
            return not timed_out
        case ServerFault(status_code=status):
            return status not in (408, 504, 524)
    return False
