"""Gets the build of a task: that of an earlier try, an adopted one, or a new one."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.api.model import Build
from airflow_provider_buildpixel.builds.dispatch import (
    TriggerBuild,
    WaitFor,
    decide_in_flight,
    in_flight,
)
from airflow_provider_buildpixel.builds.record import (
    Adopt,
    DispatchRecord,
    NewBuild,
    Snapshot,
    builds_of_request,
    decide_about_build,
    decide_from_record,
    is_reusable,
)
from airflow_provider_buildpixel.exceptions import BuildPixelError, DispatchUncertain, NotFound
from airflow_provider_buildpixel.waits.actions import Pacing

if TYPE_CHECKING:
    from logging import Logger

    from airflow_provider_buildpixel.api.model import BuildSetting
    from airflow_provider_buildpixel.builds.request import BuildRequest
    from airflow_provider_buildpixel.hooks.buildpixel import BuildPixelHook
    from airflow_provider_buildpixel.tasks.state import TaskState


__all__ = ["Dispatched", "Dispatcher", "WaitFor"]


@dataclass(frozen=True)
class Dispatched:
    """A build to wait for.

    :param dispatched_at: when its timeouts begin to count, in seconds since the epoch.
    """

    build: Build
    dispatched_at: float


@dataclass(frozen=True)
class Dispatcher:
    """Gets the build of one try of one task.

    :param state: what earlier tries have stored.
    :param on_in_flight: what to do about a live build of the same kind.
    """

    hook: BuildPixelHook
    request: BuildRequest
    setting: BuildSetting
    state: TaskState
    on_in_flight: str
    log: Logger | Any

    def dispatch(self) -> Dispatched | WaitFor:
        """Return the build of this task, or the live build that has to end first."""
        earlier = self.state.load()
        match decide_from_record(earlier, self.request, self.state.clear_count):
            case DispatchRecord(build_id=build_id) as record if build_id:
                return self._resume_build(record, build_id)
            case DispatchRecord() as record:
                self.log.info(
                    "An earlier try ended while it started a build: searching for that build"
                )
                return self._trigger(record, record.snapshot, search_first=True)
            case NewBuild(reason) if reason:
                self.log.info("Starting a new build: %s", reason)
        return self._start_build(earlier)

    def _resume_build(self, record: DispatchRecord, build_id: str) -> Dispatched | WaitFor:
        """Continue with the stored build, or start a new one if that failed or was deleted."""
        stored = self._read_stored(record, build_id)
        match decide_about_build(stored, record, self.state.clear_count):
            case Adopt(build):
                self.log.info(
                    "Continuing with %s, which an earlier try of this task started; it is %s",
                    build.title,
                    build.status,
                )
                if record.clear_count != self.state.clear_count:
                    record = record.with_build(build.id, time.time())  # a Clear restarts timeouts
                self.state.save(record)
                return Dispatched(build, record.dispatched_at)
            case NewBuild(reason):
                self.log.info("Starting a new build: %s", reason)
        return self._start_build(record)

    def _read_stored(self, record: DispatchRecord, build_id: str) -> Build | None:
        """Read the build of an earlier try; return None if it was deleted.

        Just after its dispatch, a 404 only means that the build is not visible yet.
        """
        try:
            return self.hook.get_build(build_id)
        except NotFound:
            if time.time() - record.dispatched_at > Pacing.not_found_grace:
                return None
        return self._pending_build(build_id)

    def _start_build(self, earlier: DispatchRecord | None) -> Dispatched | WaitFor:
        """Start a new build, unless ``on_in_flight`` says otherwise about a live build.

        :param earlier: the record of an earlier try. Its build is excluded from searches for the
            new one, and its token identifies our builds.
        """
        from airflow_provider_buildpixel.builds.dispatch_loop import (
            take_snapshot,
        )  # imports requests

        snapshot = take_snapshot(self.hook.client, self.request, self.setting)
        live = in_flight(snapshot.live, self.request, self.setting)
        if (own := self._build_of_earlier_try(live)) is not None:
            self.log.info(
                "Continuing with %s, identified as the build of an earlier try", own.title
            )
            return self._adopt(own, snapshot, age=self.hook.client.age(own))
        match decide_in_flight(
            self._confirm_live(live), self.request, self.setting, self.on_in_flight
        ):
            case WaitFor() as wait:
                self.log.info("Waiting for %s to end before starting a build", wait.build.title)
                return wait
            case Adopt(build):
                self.log.info("Adopting %s, triggered by %s", build.title, build.triggered_by)
                return self._adopt(build, snapshot)
            case TriggerBuild(supersedes):
                self._warn_superseded(supersedes)
        token = None
        if earlier is not None:
            newest_id = max(snapshot.newest_id or "", earlier.build_id or "")
            snapshot, token = replace(snapshot, newest_id=newest_id), earlier.token
        record = DispatchRecord(
            self.request,
            requested_at=snapshot.taken_at,
            newest_id=snapshot.newest_id,
            token=token,
        )
        self.state.save(record)
        return self._trigger(record, snapshot)

    def _confirm_live(self, live: tuple[Build, ...]) -> tuple[Build, ...]:
        """Remove builds at the front that have ended already: the list may be stale."""
        for index, listed in enumerate(live):
            build = self._read_listed(listed)
            if build is not None and not build.status.terminal:
                return (build, *live[index + 1 :])
        return ()

    def _read_listed(self, listed: Build) -> Build | None:
        try:
            return self.hook.get_build(listed.id)
        except NotFound:
            return None

    def _build_of_earlier_try(self, live: tuple[Build, ...]) -> Build | None:
        """Return the live build that an earlier try started, where nothing could be stored."""
        if self.state.retry_since is None or self.state.is_available:
            return None
        offset = self.hook.client.clock_offset
        run_start = Snapshot(newest_id=None, taken_at=self.state.retry_since + offset)
        found = builds_of_request(live, self.request, self.setting, run_start)
        build = self._read_listed(found[0]) if len(found) == 1 else None
        return build if build is not None and is_reusable(build) else None

    def _adopt(self, build: Build, snapshot: Snapshot, *, age: float = 0.0) -> Dispatched:
        dispatched = Dispatched(build, time.time() - age)
        record = DispatchRecord(
            self.request, requested_at=snapshot.taken_at, newest_id=snapshot.newest_id
        )
        self.state.save(record.with_build(build.id, dispatched.dispatched_at))
        return dispatched

    def _trigger(
        self, record: DispatchRecord, snapshot: Snapshot, *, search_first: bool = False
    ) -> Dispatched:
        build_id = self._trigger_once(record, snapshot, search_first=search_first)
        record = record.with_build(build_id, time.time())
        self.state.save(record)
        build = self._read_dispatched(build_id)
        self.state.save(replace(record, token=build.triggered_by))
        self.log.info("Started %s", build.title)
        return Dispatched(build, record.dispatched_at)

    def _trigger_once(
        self, record: DispatchRecord, snapshot: Snapshot, *, search_first: bool
    ) -> str:
        """Start the build exactly once; return its id. Correct the stored record on failure."""
        from airflow_provider_buildpixel.builds.dispatch_loop import dispatch_build

        try:
            return dispatch_build(
                self.hook.client,
                self.request,
                self.setting,
                snapshot,
                token=record.token,
                search_first=search_first,
                # Saving fails in an orphaned process, which must not send another request.
                before_retry=partial(self.state.save, record),
            )
        except DispatchUncertain:
            # A retry searches again. A user who clears the task has checked: start a new build.
            self.state.save(replace(record, task_finished=True))
            raise
        except BuildPixelError:
            self.state.clear()  # surely no build was started
            raise

    def _read_dispatched(self, build_id: str) -> Build:
        """Read the new build once; it may not be visible yet, and that is not an error."""
        from airflow_provider_buildpixel.api.endpoints import get_build

        try:
            return self.hook.client.attempt(get_build(build_id))
        except BuildPixelError as error:
            self.log.info("Build %s was started but cannot be read yet: %s", build_id, error)
        return self._pending_build(build_id)

    def _pending_build(self, build_id: str) -> Build:
        return Build.pending(build_id, self.request.project_id, self.request.build_setting_id)

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
