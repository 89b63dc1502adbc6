"""Starts the build of a task exactly once: checks live builds, sends requests, finds lost ones."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.api.endpoints import get_build
from airflow_provider_buildpixel.api.http_messages import DATE_PRECISION
from airflow_provider_buildpixel.api.model import Build
from airflow_provider_buildpixel.api.retry import Retries
from airflow_provider_buildpixel.builds import search
from airflow_provider_buildpixel.builds.dispatch import (
    MAX_LOST_ANSWERS,
    SEARCH_PAUSES,
    RequestSearch,
    TriggerBuild,
    WaitFor,
    decide_in_flight,
    in_flight,
    is_surely_over,
    may_have_run,
)
from airflow_provider_buildpixel.builds.list_order import ONLY_LIVE, Since
from airflow_provider_buildpixel.builds.record import (
    Adopt,
    DispatchRecord,
    builds_of_requests,
    is_reusable,
)
from airflow_provider_buildpixel.builds.request import Match, kind_of
from airflow_provider_buildpixel.builds.request_window import RequestWindow
from airflow_provider_buildpixel.exceptions import BuildPixelError
from airflow_provider_buildpixel.tasks.dispatch_lock import dispatch_lock
from airflow_provider_buildpixel.tasks.lost_requests import find_build, report

if TYPE_CHECKING:
    from logging import Logger

    from airflow_provider_buildpixel.api.model import BuildSetting
    from airflow_provider_buildpixel.builds.request import BuildFilter, BuildRequest
    from airflow_provider_buildpixel.hooks.buildpixel import BuildPixelHook
    from airflow_provider_buildpixel.tasks.state import TaskState


NO_RETRIES = Retries(0.0)
"""Live builds are checked before each request, so the client must not repeat it."""

LIST_LAG = 10.0
"""Seconds for which a list may miss a new build, even if another list has shown it."""

RUN_START_TOLERANCE = 10.0
"""Seconds by which the clocks of scheduler and worker may differ."""


@dataclass(frozen=True)
class Dispatched:
    """A build to wait for.

    :param dispatched_at: when its timeouts begin to count, in seconds since the epoch.
    :param is_new: this try has started it.
    """

    build: Build
    dispatched_at: float
    is_new: bool = False


@dataclass(frozen=True)
class _FailedRequest:
    """A trigger request that failed, and what was stored about it before it was sent."""

    record: DispatchRecord
    error: BuildPixelError


@dataclass(frozen=True)
class BuildStarter:
    """Starts the build of one try of one task.

    :param state: where the task stores what it has requested.
    :param on_in_flight: what to do about a live build of the same kind.
    :param lines: the branches or streams of build settings that were read so far.
    """

    hook: BuildPixelHook
    request: BuildRequest
    setting: BuildSetting
    state: TaskState
    on_in_flight: str
    log: Logger | Any
    lines: dict[str, str | None] = field(default_factory=dict)

    @property
    def target(self) -> BuildFilter:
        """The fields of the build that the task requests."""
        return self.request.target(self.setting)

    def start(self, earlier: DispatchRecord | None) -> Dispatched | WaitFor:
        """Start a new build, unless ``on_in_flight`` says otherwise about a live build.

        Live builds are checked before each request, not only before the first.

        :param earlier: the record of an earlier try.
        """
        with dispatch_lock(
            kind_of(self.target),
            self.state.owner,
            self.log,
            needed=self.on_in_flight != "supersede",
        ) as is_locked:
            result = self._request_until_started(earlier)
            if is_locked and isinstance(result, Dispatched) and result.is_new:
                self._await_listing(result.build)
            return result

    def _request_until_started(self, earlier: DispatchRecord | None) -> Dispatched | WaitFor:
        """Send requests until a build was started or found, or until no more may be sent."""
        started, lost = time.monotonic(), 0
        for attempt in count():
            result = self._request_build(earlier)
            if not isinstance(result, _FailedRequest):
                return result
            if not may_have_run(result.error):
                self._pause(result.error, attempt, time.monotonic() - started)
                continue
            lost += 1
            earlier = self._unanswered(result)
            if (build := self.search(earlier, result.error)) is not None:
                return self.continue_with(earlier, build)
            if lost >= MAX_LOST_ANSWERS:
                error = RequestSearch(earlier, result.error).give_up()
                raise report(self.state, earlier, error)
        raise AssertionError  # the loop is endless

    def _await_listing(self, build: Build) -> None:
        """Wait until lists surely show a build: the task that gets the lock next must see it."""
        client, kind = self.hook.client, kind_of(self.target)
        held_until = time.monotonic() + LIST_LAG
        for pause in (0.0, *SEARCH_PAUSES):
            time.sleep(pause)
            try:
                listed = client.run(search.builds_of_kind(kind, self.lines))
            except BuildPixelError as error:
                self.log.info("Cannot check whether lists show the new build: %s", error)
                break
            if build.id in {one.id for one in listed}:
                break
        time.sleep(max(0.0, held_until - time.monotonic()))

    def _request_build(
        self, earlier: DispatchRecord | None
    ) -> Dispatched | WaitFor | _FailedRequest:
        """Check live builds, then send one trigger request."""
        client = self.hook.client
        kind = kind_of(self.target)
        listed = client.run(search.builds_of_kind(kind, self.lines, self._needed_since()))
        live = in_flight(listed, kind, self.lines)
        if (own := self._build_of_earlier_try(live)) is not None:
            self.log.info(
                "Continuing with %s, identified as the build of an earlier try", own.title
            )
            return self._adopt(own, age=client.age(own))
        live = client.run(search.confirm_first(live, kind, self.lines))
        match decide_in_flight(live, self.target, self.lines, self.on_in_flight):
            case WaitFor() as wait:
                self.log.info("Waiting for %s to end before starting a build", wait.build.title)
                return wait
            case Adopt(build):
                self.log.info("Adopting %s, triggered by %s", build.title, build.triggered_by)
                return self._adopt(build)
            case TriggerBuild(supersedes):
                self._warn_superseded(supersedes)
        record = self._new_record(listed, earlier)
        self.state.save(record)
        try:
            answer = client.perform(self.request.call(), NO_RETRIES)
        except BuildPixelError as error:
            if not may_have_run(error):
                self.state.restore(earlier)
            return _FailedRequest(record, error)
        return self.continue_with(record, answer)

    def _needed_since(self) -> Since:
        """Return since when ended builds are needed: those that could be taken for a new one."""
        client = self.hook.client
        if client.clock_tolerance <= DATE_PRECISION:
            return ONLY_LIVE
        return Since(client.server_now() - 2 * client.clock_tolerance)

    def _new_record(self, listed: list[Build], earlier: DispatchRecord | None) -> DispatchRecord:
        """Return the record of the request that is sent next."""
        client = self.hook.client
        window = RequestWindow.of_request(
            client.server_now(),
            2 * client.settings.request_timeout,
            client.clock_tolerance,
            listed,
        )
        if earlier is not None and earlier.build_id:
            window = replace(window, known_ids=(*window.known_ids, earlier.build_id))
        return DispatchRecord(
            self.target,
            window=window,
            token=earlier.token if earlier is not None else None,
            stored_by=self.state.current_try,
        )

    def _unanswered(self, failed: _FailedRequest) -> DispatchRecord:
        """Store and return the record of a request that may have run."""
        window = failed.record.window.after_error(
            self.hook.client.server_now(), is_over=is_surely_over(failed.error)
        )
        record = replace(failed.record, window=window)
        self.state.save(record)
        return record

    def _pause(self, error: BuildPixelError, attempt: int, elapsed: float) -> None:
        """Pause before a request that surely did not run is repeated.

        :raises BuildPixelError: the error, if the request is not to be repeated.
        """
        client = self.hook.client
        pause = Retries().pause(error, self.request.call(), attempt, elapsed, client.jitter())
        if pause is None:
            raise error
        time.sleep(pause)

    def search(self, record: DispatchRecord, error: BuildPixelError | None = None) -> Build | None:
        """Return the build of a request whose answer is not known; None if it surely did not run.

        :raises DispatchUncertain: neither is certain.
        """
        return find_build(self.hook, self.state, self.lines, record, error)

    def _build_of_earlier_try(self, live: tuple[Build, ...]) -> Build | None:
        """Return the live build that an earlier try started, where nothing could be stored."""
        if self.state.retry_since is None or self.state.is_available:
            return None
        client = self.hook.client
        run = RequestWindow(
            since=self.state.retry_since + (client.clock_offset or 0.0),
            until=client.server_now(),
            tolerance=max(client.clock_tolerance, RUN_START_TOLERANCE),
        )
        builds = client.run(search.read_all(live, self.lines))
        record = DispatchRecord(self.target, window=run)
        found = builds_of_requests(builds, record, self.lines, at_least=Match.MAYBE)
        return found[0] if len(found) == 1 and is_reusable(found[0]) else None

    def _adopt(self, build: Build, *, age: float = 0.0) -> Dispatched:
        dispatched = Dispatched(build, time.time() - age)
        record = DispatchRecord(self.target, stored_by=self.state.current_try)
        self.state.save(record.with_build(build.id, dispatched.dispatched_at))
        return dispatched

    def continue_with(self, record: DispatchRecord, started: Build) -> Dispatched:
        """Store the build of a request, and read it once: it may not be visible yet."""
        record = replace(record, stored_by=self.state.current_try)
        record = record.with_build(started.id, time.time())
        self.state.save(record)
        build = self._read_dispatched(started.id)
        self.state.save(replace(record, token=build.triggered_by))
        self.log.info("Started %s", build.title)
        return Dispatched(build, record.dispatched_at, is_new=True)

    def _read_dispatched(self, build_id: str) -> Build:
        """Read the new build once; it may not be visible yet, and that is not an error."""
        try:
            return self.hook.client.attempt(get_build(build_id))
        except BuildPixelError as error:
            self.log.info("Build %s was started but cannot be read yet: %s", build_id, error)
        return pending_build(build_id, self.request)

    def _warn_superseded(self, supersedes: tuple[Build, ...]) -> None:
        for build in supersedes:
            self.log.warning(
                "The new build supersedes (cancels) %s, which is %s (triggered by %s). If two "
                "tasks of a Dag build the same platform, build type and branch, only the last "
                "build completes; set on_in_flight to 'wait', 'adopt' or 'fail' to prevent that",
                build.title,
                build.status,
                build.triggered_by,
            )


def pending_build(build_id: str, request: BuildRequest) -> Build:
    """Return a build that was started and cannot be read yet."""
    return Build.pending(build_id, request.project_id, request.build_setting_id)
