"""Waits for a build that something else started: a push, a schedule, a person."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import (
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_provider_buildpixel.api.paging import ListScan
from airflow_provider_buildpixel.builds import outcome
from airflow_provider_buildpixel.builds.outcome import Fail, FollowNewer, Skip, Succeed
from airflow_provider_buildpixel.builds.search import BuildQuery, NewestMatch
from airflow_provider_buildpixel.exceptions import (
    BuildPixelError,
    InvalidRequest,
    NotFound,
    Unauthorized,
)
from airflow_provider_buildpixel.hooks.buildpixel import BuildPixelHook
from airflow_provider_buildpixel.links.buildpixel import BuildPixelBuildLink
from airflow_provider_buildpixel.sensors import start_trigger
from airflow_provider_buildpixel.tasks import waiting
from airflow_provider_buildpixel.tasks.deadlines import WaitProgress
from airflow_provider_buildpixel.triggers.buildpixel import BuildPixelBuildTrigger
from airflow_provider_buildpixel.waits import parameters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context
    from airflow.triggers.base import StartTriggerArgs

    from airflow_provider_buildpixel.api.model import Build
    from airflow_provider_buildpixel.tasks.deadlines import Deadlines


__all__ = ["BuildPixelBuildSensor"]


class BuildPixelBuildSensor(BaseSensorOperator):
    """Waits for a build and succeeds only if it does; returns the build's facts.

    Either one build by id, or the newest one that fits the other fields. A build that is not
    there yet is waited for. Poke, reschedule and deferrable mode end alike: a failed build
    raises ``BuildFailed``, the sensor's ``timeout`` raises ``AirflowSensorTimeout``, and both
    are a skip with ``soft_fail``.

    :param build_id: the build (templated).
    :param project: id or exact name of the project (templated).
    :param build_setting: id, or fields that exactly one setting of the project has (templated).
    :param branch: the branch (templated).
    :param commit: the commit, or its first characters (templated).
    :param buildpixel_conn_id: the Airflow connection (templated).
    :param deferrable: wait in the triggerer; by default as ``[operators] default_deferrable``.
    :param channel: ``auto``, ``socketio`` or ``polling``; by default the connection's. Used in
        deferrable mode; the others poke.
    :param poll_interval: seconds between reads while polling in deferrable mode; by default
        ``poke_interval``, at most 30.
    :param on_superseded: ``fail``, ``skip`` or ``follow`` the newer build. Without a build id
        the newest one that fits is waited for, so this is for ``build_id`` only.
    :param stream_logs: the build's log lines in the task's log: ``all``, ``warn``, ``error`` or
        None. In deferrable mode.
    :param start_from_trigger: in deferrable mode with a ``build_id``, use no worker at all before
        the build has ended. From Airflow 3.3 on, and where the id comes neither from an XCom nor
        by ``expand``; elsewhere the sensor begins in a worker as usual.
    """

    template_fields: Sequence[str] = (
        "build_id",
        "project",
        "build_setting",
        "branch",
        "commit",
        "buildpixel_conn_id",
    )
    operator_extra_links = (BuildPixelBuildLink(),)
    ui_color = "#e8e3ff"

    def __init__(  # the public interface
        self,
        *,
        build_id: str | None = None,
        project: str | None = None,
        build_setting: str | Mapping[str, Any] | None = None,
        branch: str | None = None,
        commit: str | None = None,
        buildpixel_conn_id: str = "buildpixel_default",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        channel: str | None = None,
        poll_interval: float | None = None,
        on_superseded: str = "fail",
        stream_logs: str | None = "all",
        start_from_trigger: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.build_id = build_id
        self.project = project
        self.build_setting = build_setting
        self.branch = branch
        self.commit = commit
        self.buildpixel_conn_id = buildpixel_conn_id
        self.deferrable = deferrable
        self.channel = channel
        self.poll_interval = poll_interval
        self.on_superseded = on_superseded
        self.stream_logs = stream_logs
        self._search: BuildQuery | None = None
        self.start_from_trigger = (
            start_from_trigger and deferrable and start_trigger.can_start_from_trigger(build_id)
        )
        if self.start_from_trigger:
            self.start_trigger_args = self._start_args()

    @cached_property
    def hook(self) -> BuildPixelHook:
        """The hook of this task."""
        return BuildPixelHook(self.buildpixel_conn_id)

    def execute(self, context: Context) -> Any:
        """Wait: by poking, or in the triggerer."""
        self._check()
        try:
            with waiting.skip_on_soft_fail(self):
                if not self.deferrable:
                    return super().execute(context)
                return self._wait(context, self.build_id, WaitProgress.of(context))
        finally:
            self.hook.close()

    def poke(self, context: Context) -> PokeReturnValue | bool:
        """Read once and judge."""
        build = self._look(self.build_id)
        facts = None if build is None else self._judged(context, build)
        return PokeReturnValue(is_done=True, xcom_value=facts) if facts else False

    def execute_complete(
        self,
        context: Context,
        event: dict[str, Any] | None = None,
        progress: dict[str, Any] | None = None,
    ) -> Any:
        """Go on after the trigger woke this task: read the build again and decide."""
        event = event or {}
        if event.get("status") == "error":
            self.log.warning("The wait was broken off: %s", event.get("message"))
        known = self.build_id or event.get("build_id")
        try:
            with waiting.skip_on_soft_fail(self):
                return self._wait(context, known, WaitProgress.from_json(context, progress))
        finally:
            self.hook.close()

    def _start_args(self) -> StartTriggerArgs:
        return start_trigger.start_args(
            BuildPixelBuildTrigger,
            float(self.timeout),
            build_id=self.build_id,
            buildpixel_conn_id=self.buildpixel_conn_id,
            channel=self.channel,
            poll_interval=self._interval,
            stream_logs=self.stream_logs,
            wait_until_exists=True,
        )

    def _check(self) -> None:
        parameters.check_wait(self.channel, self._interval, self.stream_logs)
        parameters.check_choice("on_superseded", self.on_superseded, outcome.ON_SUPERSEDED)
        if self.build_id is None and not self.project:
            raise InvalidRequest("the sensor needs a build_id, or a project and what fits of it")
        named = {name: getattr(self, name) for name in ("build_id", "project", "build_setting")}
        parameters.check_rendered(**named, branch=self.branch, commit=self.commit)
        for name, value in named.items():
            if isinstance(value, str) and not value.strip():
                raise InvalidRequest(f"{name} is empty; check what its template rendered to")

    @property
    def _interval(self) -> float:
        if self.poll_interval is not None:
            return self.poll_interval
        poke: Any = self.poke_interval
        return min(30.0, float(poke.total_seconds() if isinstance(poke, timedelta) else poke))

    def _searched(self) -> BuildQuery:
        """Resolve the names once."""
        if self._search is None:
            project = self.hook.find_project(self.project or "")
            setting = (
                self.hook.find_build_setting(project.id, self.build_setting)
                if self.build_setting
                else None
            )
            branch, commit = ((value or "").strip() or None for value in (self.branch, self.commit))
            self._search = BuildQuery(project.id, setting.id if setting else None, branch, commit)
        return self._search

    def _look(self, build_id: str | None) -> Build | None:
        """Read once, over a token that was replaced; trouble that may pass counts as not yet."""
        from airflow_provider_buildpixel.api.retry import is_permanent  # not for parsing Dags

        try:
            return self._read(build_id)
        except Unauthorized:
            if not waiting.refresh_token(self):
                raise
            return self._look(build_id)
        except BuildPixelError as error:
            if is_permanent(error) or isinstance(error, NotFound):
                raise
            self.log.warning("The build could not be read this time: %s", error)
            return None

    def _read(self, build_id: str | None) -> Build | None:
        """Give the build as it is now, None if there is none yet."""
        if build_id is None:
            search = self._searched()
            match = NewestMatch(search)
            self.hook.client.scan(ListScan(search.listed, match.take))
            found = match.found
            if found is None:
                self.log.info("There is not yet %s", search.title)
                return None
            build_id = found.id
        try:
            return self.hook.get_build(build_id)
        except NotFound:
            self.log.info("There is no build %s yet", build_id)
            return None

    def _judged(self, context: Context, build: Build) -> dict[str, Any] | None:
        """Give the facts of a build that succeeded, None while it has not ended."""
        url = self.hook.settings.build_page(build.id, build.project_id)
        waiting.publish(context, self.hook, build)
        match outcome.outcome_of(build, self.on_superseded):
            case None:
                self.log.info("%s is %s", build.title, build.status)
                return None
            case Succeed():
                facts = build.facts(url)
                waiting.add_to_asset_events(context, self.outlets or (), facts)
                return facts
            case Skip():
                raise AirflowSkipException(f"{build.title} was superseded")
            case FollowNewer():
                return self._followed(context, build, url)
            case Fail():
                raise self._failure(build, url)

    def _followed(self, context: Context, build: Build, url: str | None) -> dict[str, Any] | None:
        from airflow_provider_buildpixel.builds.dispatch_loop import (
            find_newer_build,  # loads requests
        )

        seen = build
        for _ in range(outcome.MAX_FOLLOWED):
            newer = find_newer_build(self.hook.client, seen, retry=True)
            if newer is None:
                break
            self.log.warning("%s was superseded: following %s", seen.title, newer.title)
            if not newer.status.superseded:
                self.build_id = newer.id
                return self._judged(context, self.hook.get_build(newer.id))
            seen = newer
        raise outcome.superseded_error(build, None, url)

    def _failure(self, build: Build, url: str | None) -> BuildPixelError:
        if build.status.superseded:
            return outcome.superseded_error(build, waiting.find_newer(self, build), url)
        return outcome.failure_error(build, url)

    def _wait(self, context: Context, build_id: str | None, progress: WaitProgress) -> Any:
        """Conclude, or defer until there is news."""
        build = self._look(self.build_id)
        if build is None and build_id != self.build_id:
            build = self._look(build_id)
        if build is not None:
            facts = self._judged(context, build)
            if facts is not None:
                return facts
        deadlines = self._deadlines(progress)
        if deadlines.passed(time.time(), queued=False) is not None:
            self._out_of_time(deadlines.reason)
        self._defer(self.build_id or (build.id if build else None), deadlines, progress)
        return None

    def _deadlines(self, progress: WaitProgress) -> Deadlines:
        return replace(progress, dispatched_at=progress.started_at).deadlines(
            timeout=float(self.timeout),
            queue_timeout=None,
            execution_timeout=self.execution_timeout,
        )

    def _out_of_time(self, reason: str) -> NoReturn:
        message = (
            f"the build did not succeed within the sensor's {reason}; a build that is under way "
            "goes on"
        )
        raise AirflowSkipException(message) if self.soft_fail else AirflowSensorTimeout(message)

    def _defer(self, build_id: str | None, deadlines: Deadlines, progress: WaitProgress) -> None:
        self.defer(
            trigger=BuildPixelBuildTrigger(
                build_id=build_id,
                buildpixel_conn_id=self.buildpixel_conn_id,
                channel=self.channel,
                poll_interval=self._interval,
                deadline=deadlines.until,
                stream_logs=self.stream_logs,
                **waiting.resume_delay(),
                query=None if build_id else self._searched().to_json(),
                wait_until_exists=True,
            ),
            method_name="execute_complete",
            kwargs={"progress": progress.next_round().to_json()},
            timeout=waiting.deferral_timeout(deadlines, time.time()),
        )
