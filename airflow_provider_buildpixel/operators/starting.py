"""The way to a running build: go on with the one of an earlier try, adopt, or dispatch."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.core import waiting
from airflow_provider_buildpixel.core.dispatch import Post, WaitFor, about_live, in_flight
from airflow_provider_buildpixel.core.intent import (
    Adopt,
    Fresh,
    Intent,
    Recheck,
    Search,
    Snapshot,
    about_intent,
    about_stored,
    made_by_us,
    usable,
)
from airflow_provider_buildpixel.core.model import Dispatch
from airflow_provider_buildpixel.core.watch import Pacing
from airflow_provider_buildpixel.exceptions import BuildPixelError, DispatchUncertain, NotFound

if TYPE_CHECKING:
    from logging import Logger

    from airflow_provider_buildpixel.core.intent import (
        Asked,
    )
    from airflow_provider_buildpixel.core.model import Build, BuildSetting
    from airflow_provider_buildpixel.hooks.buildpixel import BuildPixelHook
    from airflow_provider_buildpixel.operators.memory import TaskMemory


__all__ = ["Begun", "Starting", "WaitFor"]


@dataclass(frozen=True)
class Begun:
    """A build to wait for.

    :param dispatched_at: seconds since the epoch from which its timeouts count.
    """

    build: Build
    dispatched_at: float


@dataclass(frozen=True)
class Starting:
    """One try of one task to have its build.

    :param retry_since: without a memory (below Airflow 3.3), a retry looks for a live build of
        ours that was made since this instant (seconds since the epoch); None for a first try.
    """

    hook: BuildPixelHook
    asked: Asked
    setting: BuildSetting
    memory: TaskMemory
    on_in_flight: str
    log: Logger | Any
    retry_since: float | None = None

    def begin(self) -> Begun | WaitFor:
        """Give the build of this task, or the live one that has to end first."""
        intent = self.memory.recall()
        match about_intent(intent, self.asked, self.memory.generation):
            case Recheck(build_id) if intent is not None:
                return self._recheck(intent, build_id)
            case Search() if intent is not None:
                self.log.info("An earlier try was cut off while it dispatched: looking for it")
                return self._dispatch(intent, intent.before, searching=True)
            case Fresh(reason) if reason:
                self.log.info("Starting a build: %s", reason)
        return self._start(intent)

    def _recheck(self, intent: Intent, build_id: str) -> Begun | WaitFor:
        match about_stored(self._stored(intent, build_id), intent, self.memory.generation):
            case Adopt(build):
                self.log.info(
                    "Going on with %s, which an earlier try of this task started; it is %s",
                    build.title,
                    build.status,
                )
                if intent.generation != self.memory.generation:
                    intent = intent.started(build.id, time.time())  # a Clear has its own time
                self.memory.keep(intent)
                return Begun(build, intent.dispatched_at)
            case Fresh(reason):
                self.log.info("Starting a new build: %s", reason)
        return self._start(intent)

    def _stored(self, intent: Intent, build_id: str) -> Build | None:
        """Read the build of an earlier try; None if it is gone, and not just not visible yet."""
        try:
            return self.hook.get_build(build_id)
        except NotFound:
            if time.time() - intent.dispatched_at > Pacing.absence:
                return None
        return self._unread(build_id)

    def _start(self, earlier: Intent | None) -> Begun | WaitFor:
        """Dispatch, unless a live build of the kind says otherwise.

        :param earlier: what an earlier try left: its build is none of this one's, its token is.
        """
        from airflow_provider_buildpixel.client.dispatching import snapshot  # loads requests

        before = snapshot(self.hook.client, self.asked, self.setting)
        listed = in_flight(before.live, self.asked, self.setting)
        if (mine := self._mine(listed)) is not None:
            self.log.info("Going on with %s, taken for this task's from an earlier try", mine.title)
            return self._adopt(mine, before, age=self.hook.client.age(mine))
        match about_live(self._confirmed(listed), self.asked, self.setting, self.on_in_flight):
            case WaitFor() as wait:
                self.log.info("Waiting for %s to end before dispatching", wait.build.title)
                return wait
            case Adopt(build):
                self.log.info("Adopting %s, triggered by %s", build.title, build.triggered_by)
                return self._adopt(build, before)
            case Post(supersedes):
                self._warn(supersedes)
        if earlier is not None:
            before = replace(before, newest=max(before.newest or "", earlier.build_id or ""))
        token = earlier.token if earlier is not None else None
        intent = Intent(self.asked, asked_at=before.at, newest=before.newest, token=token)
        self.memory.keep(intent)
        return self._dispatch(intent, before)

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
        found = made_by_us(live, self.asked, self.setting, since)
        mine = self._read(found[0]) if len(found) == 1 else None
        return mine if mine is not None and usable(mine) else None

    def _adopt(self, build: Build, before: Snapshot, *, age: float = 0.0) -> Begun:
        begun = Begun(build, time.time() - age)
        intent = Intent(self.asked, asked_at=before.at, newest=before.newest)
        self.memory.keep(intent.started(build.id, begun.dispatched_at))
        return begun

    def _dispatch(self, intent: Intent, before: Snapshot, *, searching: bool = False) -> Begun:
        build_id = self._once(intent, before, searching=searching)
        intent = intent.started(build_id, time.time())
        self.memory.keep(intent)
        build = self._first_look(build_id)
        self.memory.keep(replace(intent, token=build.triggered_by))
        self.log.info("Dispatched %s", build.title)
        return Begun(build, intent.dispatched_at)

    def _once(self, intent: Intent, before: Snapshot, *, searching: bool) -> str:
        """Start the build exactly once, and leave the memory right if that fails."""
        from airflow_provider_buildpixel.client.dispatching import dispatch

        try:
            return dispatch(
                self.hook.client,
                self.asked,
                self.setting,
                before,
                token=intent.token,
                searching=searching,
                # Only a live try gets this through: an orphan has nobody to take it any more.
                again=partial(self.memory.keep, intent),
            )
        except DispatchUncertain:
            # A retry looks again; a user who clears the task has looked, and wants a new build.
            self.memory.keep(replace(intent, concluded=True))
            raise
        except BuildPixelError:
            self.memory.forget()  # surely nothing was started
            raise

    def _first_look(self, build_id: str) -> Build:
        """Read the build once; it may not be visible yet, and that is no reason to fail."""
        from airflow_provider_buildpixel.core.calls import get_build

        try:
            return self.hook.client.attempt(get_build(build_id))
        except BuildPixelError as error:
            self.log.info("Build %s was dispatched and cannot be read yet: %s", build_id, error)
        return self._unread(build_id)

    def _unread(self, build_id: str) -> Build:
        return waiting.queued(
            Dispatch(build_id), self.asked.project_id, self.asked.build_setting_id
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
