"""The way to a running build: go on with the one of an earlier try, adopt, or dispatch."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.api.model import Dispatch
from airflow_provider_buildpixel.builds import request
from airflow_provider_buildpixel.builds.dispatch import (
    TriggerBuild,
    WaitFor,
    decide_in_flight,
    in_flight,
)
from airflow_provider_buildpixel.builds.record import (
    Adopt,
    CheckBuild,
    DispatchRecord,
    NewBuild,
    SearchBuild,
    Snapshot,
    builds_of_request,
    decide_about_build,
    decide_from_record,
    usable,
)
from airflow_provider_buildpixel.exceptions import BuildPixelError, DispatchUncertain, NotFound
from airflow_provider_buildpixel.waits.actions import Pacing

if TYPE_CHECKING:
    from logging import Logger

    from airflow_provider_buildpixel.api.model import Build, BuildSetting
    from airflow_provider_buildpixel.builds.request import BuildRequest
    from airflow_provider_buildpixel.hooks.buildpixel import BuildPixelHook
    from airflow_provider_buildpixel.tasks.state import TaskState


__all__ = ["Dispatched", "Dispatcher", "WaitFor"]


@dataclass(frozen=True)
class Dispatched:
    """A build to wait for.

    :param dispatched_at: seconds since the epoch from which its timeouts count.
    """

    build: Build
    dispatched_at: float


@dataclass(frozen=True)
class Dispatcher:
    """One try of one task to have its build.

    :param retry_since: without a memory (below Airflow 3.3), a retry looks for a live build of
        ours that was made since this instant (seconds since the epoch); None for a first try.
    """

    hook: BuildPixelHook
    request: BuildRequest
    setting: BuildSetting
    memory: TaskState
    on_in_flight: str
    log: Logger | Any
    retry_since: float | None = None

    def begin(self) -> Dispatched | WaitFor:
        """Give the build of this task, or the live one that has to end first."""
        record = self.memory.recall()
        match decide_from_record(record, self.request, self.memory.clear_count):
            case CheckBuild(build_id) if record is not None:
                return self._recheck(record, build_id)
            case SearchBuild() if record is not None:
                self.log.info("An earlier try was cut off while it dispatched: looking for it")
                return self._dispatch(record, record.before, searching=True)
            case NewBuild(reason) if reason:
                self.log.info("Starting a build: %s", reason)
        return self._start(record)

    def _recheck(self, record: DispatchRecord, build_id: str) -> Dispatched | WaitFor:
        match decide_about_build(self._stored(record, build_id), record, self.memory.clear_count):
            case Adopt(build):
                self.log.info(
                    "Going on with %s, which an earlier try of this task started; it is %s",
                    build.title,
                    build.status,
                )
                if record.clear_count != self.memory.clear_count:
                    record = record.started(build.id, time.time())  # a Clear has its own time
                self.memory.keep(record)
                return Dispatched(build, record.dispatched_at)
            case NewBuild(reason):
                self.log.info("Starting a new build: %s", reason)
        return self._start(record)

    def _stored(self, record: DispatchRecord, build_id: str) -> Build | None:
        """Read the build of an earlier try; None if it is gone, and not just not visible yet."""
        try:
            return self.hook.get_build(build_id)
        except NotFound:
            if time.time() - record.dispatched_at > Pacing.absence:
                return None
        return self._unread(build_id)

    def _start(self, earlier: DispatchRecord | None) -> Dispatched | WaitFor:
        """Dispatch, unless a live build of the kind says otherwise.

        :param earlier: what an earlier try left: its build is none of this one's, its token is.
        """
        from airflow_provider_buildpixel.builds.dispatch_loop import take_snapshot  # loads requests

        before = take_snapshot(self.hook.client, self.request, self.setting)
        listed = in_flight(before.live, self.request, self.setting)
        if (mine := self._mine(listed)) is not None:
            self.log.info("Going on with %s, taken for this task's from an earlier try", mine.title)
            return self._adopt(mine, before, age=self.hook.client.age(mine))
        match decide_in_flight(
            self._confirmed(listed), self.request, self.setting, self.on_in_flight
        ):
            case WaitFor() as wait:
                self.log.info("Waiting for %s to end before dispatching", wait.build.title)
                return wait
            case Adopt(build):
                self.log.info("Adopting %s, triggered by %s", build.title, build.triggered_by)
                return self._adopt(build, before)
            case TriggerBuild(supersedes):
                self._warn(supersedes)
        if earlier is not None:
            before = replace(before, newest=max(before.newest or "", earlier.build_id or ""))
        token = earlier.token if earlier is not None else None
        record = DispatchRecord(
            self.request, requested_at=before.at, newest=before.newest, token=token
        )
        self.memory.keep(record)
        return self._dispatch(record, before)

    def _confirmed(self, live: tuple[Build, ...]) -> tuple[Build, ...]:
        """Drop what has ended already: a list may be stale, and what it shows decides."""
        for place, listed in enumerate(live):
            build = self._read(listed)
            if build is not None and not build.status.terminal:
                return (build, *live[place + 1 :])
        return ()

    def _read(self, listed: Build) -> Build | None:
        try:
            return self.hook.get_build(listed.id)
        except NotFound:
            return None

    def _mine(self, live: tuple[Build, ...]) -> Build | None:
        """Find a live build of an earlier try where nothing was remembered."""
        if self.retry_since is None or self.memory.works:
            return None
        offset = self.hook.client.clock_offset
        since = Snapshot(newest=None, at=self.retry_since + offset)
        found = builds_of_request(live, self.request, self.setting, since)
        mine = self._read(found[0]) if len(found) == 1 else None
        return mine if mine is not None and usable(mine) else None

    def _adopt(self, build: Build, before: Snapshot, *, age: float = 0.0) -> Dispatched:
        begun = Dispatched(build, time.time() - age)
        record = DispatchRecord(self.request, requested_at=before.at, newest=before.newest)
        self.memory.keep(record.started(build.id, begun.dispatched_at))
        return begun

    def _dispatch(
        self, record: DispatchRecord, before: Snapshot, *, searching: bool = False
    ) -> Dispatched:
        build_id = self._once(record, before, searching=searching)
        record = record.started(build_id, time.time())
        self.memory.keep(record)
        build = self._first_look(build_id)
        self.memory.keep(replace(record, token=build.triggered_by))
        self.log.info("Dispatched %s", build.title)
        return Dispatched(build, record.dispatched_at)

    def _once(self, record: DispatchRecord, before: Snapshot, *, searching: bool) -> str:
        """Start the build exactly once, and leave the memory right if that fails."""
        from airflow_provider_buildpixel.builds.dispatch_loop import dispatch_build

        try:
            return dispatch_build(
                self.hook.client,
                self.request,
                self.setting,
                before,
                token=record.token,
                searching=searching,
                # Only a live try gets this through: an orphan has nobody to take it any more.
                again=partial(self.memory.keep, record),
            )
        except DispatchUncertain:
            # A retry looks again; a user who clears the task has looked, and wants a new build.
            self.memory.keep(replace(record, concluded=True))
            raise
        except BuildPixelError:
            self.memory.forget()  # surely nothing was started
            raise

    def _first_look(self, build_id: str) -> Build:
        """Read the build once; it may not be visible yet, and that is no reason to fail."""
        from airflow_provider_buildpixel.api.endpoints import get_build

        try:
            return self.hook.client.attempt(get_build(build_id))
        except BuildPixelError as error:
            self.log.info("Build %s was dispatched and cannot be read yet: %s", build_id, error)
        return self._unread(build_id)

    def _unread(self, build_id: str) -> Build:
        return request.pending_build(
            Dispatch(build_id), self.request.project_id, self.request.build_setting_id
        )

    def _warn(self, supersedes: tuple[Build, ...]) -> None:
        for build in supersedes:
            self.log.warning(
                "This supersedes, that is cancels, %s, which is %s (triggered by %s). If two "
                "tasks of a Dag build the same platform, type and branch, only the last survives; "
                "on_in_flight 'wait', 'adopt' or 'fail' prevents that",
                build.title,
                build.status,
                build.triggered_by,
            )
