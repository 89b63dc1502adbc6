"""Gets the build of a task: that of an earlier try, an adopted one, or a new one."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from airflow_provider_buildpixel.builds import search
from airflow_provider_buildpixel.builds.dispatch import WaitFor
from airflow_provider_buildpixel.builds.record import (
    Adopt,
    DispatchRecord,
    NewBuild,
    decide_about_build,
    decide_from_record,
)
from airflow_provider_buildpixel.exceptions import NotFound
from airflow_provider_buildpixel.tasks.build_starter import Dispatched, pending_build
from airflow_provider_buildpixel.waits.actions import Pacing

if TYPE_CHECKING:
    from airflow_provider_buildpixel.api.model import Build
    from airflow_provider_buildpixel.tasks.build_starter import BuildStarter


__all__ = ["Dispatched", "Dispatcher", "WaitFor"]

MAX_DELAY_AFTER_WAIT = 10.0
"""Longest random delay in seconds between the end of a build that a task has waited for and its
own dispatch: other tasks may have waited for the same build."""


@dataclass(frozen=True)
class Dispatcher:
    """Gets the build of one try of one task.

    :param starter: starts a build if the task has none.
    """

    starter: BuildStarter

    def dispatch(self, *, has_waited: bool = False) -> Dispatched | WaitFor:
        """Return the build of this task, or the live build that has to end first.

        :param has_waited: the task has waited for a live build to end.
        """
        starter = self.starter
        earlier = starter.state.load()
        match decide_from_record(earlier, starter.target, starter.state.current_try):
            case DispatchRecord(build_id=build_id) as record if build_id:
                return self._resume_build(record, build_id)
            case DispatchRecord() as record:
                starter.log.info(
                    "An earlier try ended while it started a build: searching for that build"
                )
                if (build := starter.search(record)) is not None:
                    age = starter.hook.client.age(build)
                    record = record.with_build(build.id, time.time() - age)
                    return self._resume_build(record, build.id)
            case NewBuild(reason) if reason:
                starter.log.info("Starting a new build: %s", reason)
        if has_waited:
            time.sleep(random.uniform(0.0, MAX_DELAY_AFTER_WAIT))  # noqa: S311  # spreads tasks
        return starter.start(earlier)

    def _resume_build(self, record: DispatchRecord, build_id: str) -> Dispatched | WaitFor:
        """Continue with the stored build, or start a new one if that failed or was deleted."""
        starter = self.starter
        stored = self._read_stored(record, build_id)
        if stored is not None:
            starter.hook.client.run(search.read_lines([stored], starter.lines))
        match decide_about_build(stored, record, starter.state.current_try, starter.lines):
            case Adopt(build):
                starter.log.info(
                    "Continuing with %s, which an earlier try of this task started; it is %s",
                    build.title,
                    build.status,
                )
                if record.is_before_clear(starter.state.current_try):
                    record = record.with_build(build.id, time.time())  # a Clear restarts timeouts
                starter.state.save(replace(record, stored_by=starter.state.current_try))
                return Dispatched(build, record.dispatched_at)
            case NewBuild(reason):
                starter.log.info("Starting a new build: %s", reason)
        return starter.start(record)

    def _read_stored(self, record: DispatchRecord, build_id: str) -> Build | None:
        """Read the build of an earlier try; return None if it was deleted.

        Just after its dispatch, a 404 only means that the build is not visible yet.
        """
        try:
            return self.starter.hook.get_build(build_id)
        except NotFound:
            if time.time() - record.dispatched_at > Pacing.not_found_grace:
                return None
        return pending_build(build_id, self.starter.request)
