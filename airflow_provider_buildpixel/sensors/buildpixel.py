"""The sensor that waits for a build that something else started: a push, a schedule, a user."""

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

from airflow_provider_buildpixel.builds import outcome
from airflow_provider_buildpixel.builds.outcome import Outcome
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
    from airflow_provider_buildpixel.builds.request import BuildFilter
    from airflow_provider_buildpixel.builds.search import NewestMatch
    from airflow_provider_buildpixel.tasks.deadlines import Deadlines


__all__ = ["BuildPixelBuildSensor"]


class BuildPixelBuildSensor(BaseSensorOperator):
    """Waits for a build that something else started, and succeeds only if the build does.

    It waits for one build by id, or for the newest build that matches the other fields. If there is
    no such build yet, it waits for one. It returns the build's facts, the same as
    ``BuildPixelTriggerBuildOperator``.

    The modes poke and reschedule and the deferrable mode end in the same way: a failed build raises
    ``BuildFailed``, and the sensor's ``timeout`` (in seconds) raises ``AirflowSensorTimeout``. With
    ``soft_fail`` both skip the task instead.

    :param build_id: the id of the build (templated).
    :param project: the id or exact name of the project (templated). Required without ``build_id``.
    :param build_setting: the id of a build setting, or fields that match exactly one setting of
        the project, such as ``{"platform": "Win64"}`` (templated).
    :param branch: the branch of the build (templated).
    :param commit: the commit of the build, or its first characters (templated).
    :param changelist: the Perforce changelist of the build (templated).
    :param buildpixel_conn_id: the id of the Airflow connection (templated).
    :param deferrable: wait in the triggerer, without a worker; the default is
        ``[operators] default_deferrable``.
    :param channel: in deferrable mode, how the end of the build is noticed: ``socketio``,
        ``polling``, or ``auto`` for Socket.IO with polling while it is down. None uses the
        connection's setting.
    :param poll_interval: in deferrable mode, seconds between reads while polling; the default is
        ``poke_interval``, at most 30.
    :param on_superseded: with ``build_id``, what to do when a newer build supersedes that build:
        ``fail``, ``skip`` the task, or ``follow`` the newer build, which waits for it and returns
        its facts. Without ``build_id``, the newest matching build is waited for in any case.
    :param stream_logs: in deferrable mode, the build log lines to copy to the task's log: ``all``,
        ``warn`` (warnings and errors), ``error`` or None.
    :param start_from_trigger: in deferrable mode with ``build_id``, start in the triggerer, so that
        no worker is used until the build has ended. This needs Airflow 3.3 or later, and a
        ``build_id`` that comes neither from an XCom nor from ``expand``; otherwise the sensor
        starts in a worker.
    :raises BuildFailed: the build failed; the error has its phase, first error lines and advice.
    :raises BuildSuperseded: a newer build superseded this one, and ``on_superseded`` is ``fail``.
    :raises AirflowSensorTimeout: the build did not succeed within the sensor's ``timeout``.
    :raises InvalidRequest: a parameter is invalid, or empty after rendering.
    """

    template_fields: Sequence[str] = (
        "build_id",
        "project",
        "build_setting",
        "branch",
        "commit",
        "changelist",
        "buildpixel_conn_id",
    )
    operator_extra_links = (BuildPixelBuildLink(),)
    ui_color = "#e8e3ff"

    def __init__(  # noqa: PLR0913  # the public interface
        self,
        *,
        build_id: str | None = None,
        project: str | None = None,
        build_setting: str | Mapping[str, Any] | None = None,
        branch: str | None = None,
        commit: str | None = None,
        changelist: str | int | None = None,
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
        self.changelist = changelist
        self.buildpixel_conn_id = buildpixel_conn_id
        self.deferrable = deferrable
        self.channel = channel
        self.poll_interval = poll_interval
        self.on_superseded = on_superseded
        self.stream_logs = stream_logs
        self._cached_search: NewestMatch | None = None
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
        """Wait by poking, or defer."""
        self._check_parameters()
        try:
            with waiting.skip_on_soft_fail(self):
                if not self.deferrable:
                    return super().execute(context)
                return self._finish_or_defer(
                    context, self.build_id, WaitProgress.of_new_try(context)
                )
        finally:
            self.hook.close()

    def poke(self, context: Context) -> PokeReturnValue | bool:
        """Read the build once; return its facts if it has succeeded."""
        build = self._read(self.build_id)
        facts = None if build is None else self._facts_if_succeeded(context, build)
        return PokeReturnValue(is_done=True, xcom_value=facts) if facts else False

    def execute_complete(
        self,
        context: Context,
        event: dict[str, Any] | None = None,
        progress: dict[str, Any] | None = None,
    ) -> Any:
        """Continue after the trigger's event: read the build again, then finish or defer."""
        event = event or {}
        if event.get("status") == "error":
            self.log.warning("The wait ended early: %s", event.get("message"))
        known_id = self.build_id or event.get("build_id")
        try:
            with waiting.skip_on_soft_fail(self):
                return self._finish_or_defer(
                    context, known_id, WaitProgress.from_json(context, progress)
                )
        finally:
            self.hook.close()

    def _start_args(self) -> StartTriggerArgs:
        return start_trigger.start_args(
            BuildPixelBuildTrigger,
            float(self.timeout),
            build_id=self.build_id,
            buildpixel_conn_id=self.buildpixel_conn_id,
            channel=self.channel,
            poll_interval=self._poll_seconds,
            stream_logs=self.stream_logs,
            wait_until_exists=True,
        )

    def _check_parameters(self) -> None:
        parameters.check_wait(self.channel, self._poll_seconds, self.stream_logs)
        parameters.check_choice("on_superseded", self.on_superseded, outcome.ON_SUPERSEDED)
        if self.build_id is None and not self.project:
            raise InvalidRequest("the sensor needs a build_id, or a project and optional filters")
        named = {name: getattr(self, name) for name in ("build_id", "project", "build_setting")}
        parameters.check_rendered(
            **named, branch=self.branch, commit=self.commit, changelist=self.changelist
        )
        for name, value in named.items():
            if isinstance(value, str) and not value.strip():
                raise InvalidRequest(f"{name} is empty; check what its template rendered to")

    @property
    def _poll_seconds(self) -> float:
        if self.poll_interval is not None:
            return self.poll_interval
        poke: Any = self.poke_interval
        return min(30.0, float(poke.total_seconds() if isinstance(poke, timedelta) else poke))

    def _query(self) -> BuildFilter:
        """Return the fields of the build to find; names are looked up."""
        from airflow_provider_buildpixel.builds.request import (  # not for parsing Dags
            BuildFilter,
            branch_name,
            stripped,
        )

        project = self.hook.find_project(self.project or "")
        setting_id = None
        if self.build_setting:
            setting_id = self.hook.find_build_setting(project.id, self.build_setting).id
        return BuildFilter(
            project.id,
            setting_id,
            branch=branch_name(self.branch),
            commit=stripped(self.commit),
            changelist=stripped(self.changelist),
        )

    @property
    def _search(self) -> NewestMatch:
        """The search for the build; it knows what earlier pokes have read."""
        from airflow_provider_buildpixel.builds.search import NewestMatch  # not for parsing Dags

        if self._cached_search is None:
            self._cached_search = NewestMatch(self._query())
        return self._cached_search

    def _read(self, build_id: str | None) -> Build | None:
        """Read the build, with a new token if the old one was replaced.

        Return None if the build does not exist yet, or on an error that may be temporary.
        """
        from airflow_provider_buildpixel.api.retry import is_permanent  # not for parsing Dags

        try:
            return self._read_once(build_id)
        except Unauthorized:
            if not waiting.refresh_token(self):
                raise
            return self._read(build_id)
        except BuildPixelError as error:
            if is_permanent(error) or isinstance(error, NotFound):
                raise
            self.log.warning("Could not read the build this time: %s", error)
            return None

    def _read_once(self, build_id: str | None) -> Build | None:
        """Read the build with this id, or the newest one that matches; None if there is none."""
        if build_id is None:
            client, search = self.hook.client, self._search
            found = client.run(search.search(client.server_now() - client.clock_tolerance))
            if found is None:
                self.log.info("There is no matching build yet: %s", search.build_filter.title)
                return None
            build_id = found.id
        try:
            return self.hook.get_build(build_id)
        except NotFound:
            self.log.info("There is no build %s yet", build_id)
            return None

    def _facts_if_succeeded(self, context: Context, build: Build) -> dict[str, Any] | None:
        """Return the facts of a build that succeeded, or None if it has not ended.

        An end without success raises an error or skips the task.
        """
        url = self.hook.settings.build_page_url(build.id, build.project_id)
        waiting.publish(context, self.hook, build)
        match outcome.outcome_of(build, self.on_superseded):
            case None:
                self.log.info("%s is %s", build.title, build.status)
                return None
            case Outcome.SUCCEED:
                facts = build.facts(url)
                waiting.add_to_asset_events(context, self.outlets or (), facts)
                return facts
            case Outcome.SKIP:
                raise AirflowSkipException(f"{build.title} was superseded (on_superseded='skip')")
            case Outcome.FOLLOW_NEWER:
                return self._follow_newer(context, build, url)
            case Outcome.FAIL:
                raise self._failure(build, url)

    def _follow_newer(
        self, context: Context, build: Build, url: str | None
    ) -> dict[str, Any] | None:
        """Continue with the newest build in the chain of builds that superseded this one."""
        current = build
        for _ in range(outcome.MAX_FOLLOWED):
            newer = waiting.newer_build(self, current, retry=True)
            if newer is None:
                break
            self.log.warning("%s was superseded: following %s", current.title, newer.title)
            if not newer.status.superseded:
                self.build_id = newer.id
                return self._facts_if_succeeded(context, self.hook.get_build(newer.id))
            current = newer
        raise outcome.superseded_error(build, None, url)

    def _failure(self, build: Build, url: str | None) -> BuildPixelError:
        if build.status.superseded:
            return outcome.superseded_error(build, waiting.newer_build(self, build), url)
        return outcome.failure_error(build, url)

    def _finish_or_defer(
        self, context: Context, build_id: str | None, progress: WaitProgress
    ) -> Any:
        """Return the facts of a build that succeeded; defer while it has not ended."""
        build = self._read(self.build_id)
        if build is None and build_id != self.build_id:
            build = self._read(build_id)
        if build is not None:
            facts = self._facts_if_succeeded(context, build)
            if facts is not None:
                return facts
        deadlines = self._deadlines(progress)
        if deadlines.expired_parameter(time.time(), queued=False) is not None:
            self._raise_timeout(deadlines.parameter)
        self._defer(self.build_id or (build.id if build else None), deadlines, progress)
        return None

    def _deadlines(self, progress: WaitProgress) -> Deadlines:
        return replace(progress, dispatched_at=progress.started_at).deadlines(
            timeout=float(self.timeout),
            queue_timeout=None,
            execution_timeout=self.execution_timeout,
        )

    def _raise_timeout(self, parameter: str) -> NoReturn:
        message = (
            f"the build did not succeed within the sensor's {parameter}; a build that is running "
            "continues in BuildPixel"
        )
        raise AirflowSkipException(message) if self.soft_fail else AirflowSensorTimeout(message)

    def _defer(self, build_id: str | None, deadlines: Deadlines, progress: WaitProgress) -> None:
        self.defer(
            trigger=BuildPixelBuildTrigger(
                build_id=build_id,
                buildpixel_conn_id=self.buildpixel_conn_id,
                channel=self.channel,
                poll_interval=self._poll_seconds,
                deadline=deadlines.expires_at,
                stream_logs=self.stream_logs,
                **waiting.resume_delay(),
                query=None if build_id else self._search.build_filter.to_json(),
                wait_until_exists=True,
            ),
            method_name="execute_complete",
            kwargs={"progress": progress.next_deferral().to_json()},
            timeout=waiting.deferral_timeout(deadlines, time.time()),
        )
