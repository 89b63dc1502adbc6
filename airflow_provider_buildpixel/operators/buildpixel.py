"""The operators that DAG authors import."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import AirflowSkipException, BaseOperator, conf

from airflow_provider_buildpixel.builds import outcome
from airflow_provider_buildpixel.builds.outcome import FollowNewer, Skip, Succeed
from airflow_provider_buildpixel.exceptions import BuildPixelError, NotFound
from airflow_provider_buildpixel.hooks import lineage
from airflow_provider_buildpixel.hooks.buildpixel import BuildPixelHook
from airflow_provider_buildpixel.links.buildpixel import BuildPixelBuildLink
from airflow_provider_buildpixel.operators.download import BuildPixelDownloadArtifactOperator
from airflow_provider_buildpixel.tasks import waiting
from airflow_provider_buildpixel.tasks.deadlines import WaitProgress
from airflow_provider_buildpixel.tasks.state import TaskState
from airflow_provider_buildpixel.triggers.buildpixel import BuildPixelBuildTrigger
from airflow_provider_buildpixel.waits import parameters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_buildpixel.api.model import Build
    from airflow_provider_buildpixel.builds.request import BuildRequest
    from airflow_provider_buildpixel.tasks.deadlines import Deadlines


__all__ = ["BuildPixelDownloadArtifactOperator", "BuildPixelTriggerBuildOperator"]


class BuildPixelTriggerBuildOperator(BaseOperator):
    """Starts a build, waits for it without holding a worker, and succeeds only if it does.

    Returns the build's facts (``build_id``, ``status``, ``commit``, ``url``, …). The XCom
    ``build_id`` and the link to the build are there from the moment of the dispatch.

    :param project: id or exact name of the project (templated).
    :param build_setting: id, or fields such as ``{"platform": "Win64", "buildType": "Shipping"}``
        that exactly one setting of the project has (templated).
    :param branch: build this branch instead of the setting's (templated).
    :param commit: build this commit (templated).
    :param changelist: build this Perforce changelist (templated).
    :param buildpixel_conn_id: the Airflow connection (templated).
    :param wait_for_completion: False to return after the dispatch.
    :param deferrable: wait in the triggerer; by default as ``[operators] default_deferrable``.
    :param channel: ``auto`` (Socket.IO, polling while it is down), ``socketio`` or ``polling``;
        by default the connection's.
    :param poll_interval: seconds between reads while polling; while the live channel is up, a
        safety read every ten of them.
    :param timeout: seconds from the dispatch to the build's end; ``execution_timeout`` holds too,
        deferred or not.
    :param queue_timeout: seconds that the build may stay queued.
    :param on_superseded: ``fail``, ``skip``, or ``follow`` the newer build.
    :param on_in_flight: when a live build of this kind would be cancelled by ours: ``supersede``
        it, ``adopt`` it if it builds the same, ``wait`` for it, or ``fail``.
    :param durable: go on with the same build after a retry, a lost worker or triggerer.
    :param stream_logs: the build's log lines in the task's log: ``all``, ``warn``, ``error`` or
        None.
    :raises BuildFailed: the build failed; it carries phase, first error lines and advice.
    :raises BuildSuperseded: a newer build took its place.
    :raises BuildTimeout: it took too long; it goes on, as nothing can cancel it.
    :raises DispatchUncertain: a request may have started a build that cannot be told apart.
    """

    template_fields: Sequence[str] = (
        "project",
        "build_setting",
        "branch",
        "commit",
        "changelist",
        "buildpixel_conn_id",
    )
    template_fields_renderers = {"build_setting": "json"}
    operator_extra_links = (BuildPixelBuildLink(),)
    ui_color = "#e8e3ff"

    def __init__(  # the public interface
        self,
        *,
        project: str,
        build_setting: str | Mapping[str, Any],
        branch: str | None = None,
        commit: str | None = None,
        changelist: str | int | None = None,
        buildpixel_conn_id: str = "buildpixel_default",
        wait_for_completion: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        channel: str | None = None,
        poll_interval: float = 30.0,
        timeout: float | None = None,
        queue_timeout: float | None = None,
        on_superseded: str = "fail",
        on_in_flight: str = "supersede",
        durable: bool = True,
        stream_logs: str | None = "all",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.project = project
        self.build_setting = build_setting
        self.branch = branch
        self.commit = commit
        self.changelist = changelist
        self.buildpixel_conn_id = buildpixel_conn_id
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.channel = channel
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.queue_timeout = queue_timeout
        self.on_superseded = on_superseded
        self.on_in_flight = on_in_flight
        self.durable = durable
        self.stream_logs = stream_logs
        self._build_id: str | None = None

    @cached_property
    def hook(self) -> BuildPixelHook:
        """The hook of this task."""
        return BuildPixelHook(self.buildpixel_conn_id)

    def execute(self, context: Context) -> dict[str, Any]:
        """Start the build, or go on with the one of an earlier try, and wait for it."""
        self._check()
        return self._begin(context, WaitProgress.of(context))

    def _begin(self, context: Context, before: WaitProgress) -> dict[str, Any]:
        """Have a build and wait for it.

        :param before: of the time before the dispatch, in which a build in the way is waited for.
        """
        # Every parse of a Dag imports this module, and only a task that runs gets here.
        from airflow_provider_buildpixel.builds.dispatch import WaitFor
        from airflow_provider_buildpixel.tasks.dispatcher import Dispatcher

        project = self.hook.find_project(self.project)
        setting = self.hook.find_build_setting(project.id, self.build_setting)
        starting = Dispatcher(
            hook=self.hook,
            request=self._request(project.id, setting.id),
            setting=setting,
            memory=self._memory(context),
            on_in_flight=self.on_in_flight,
            log=self.log,
            retry_since=self._retry_since(context),
        )
        while isinstance(begun := starting.begin(), WaitFor):
            self._let_end(begun.build, before)
            starting = replace(starting, hook=self.hook)  # whose token may have been replaced
        self._publish(context, begun.build)
        if not self.wait_for_completion:
            return self._taken(context, begun.build)
        return self._wait(context, begun.build, before.since(begun.dispatched_at))

    def execute_complete(
        self,
        context: Context,
        event: dict[str, Any] | None = None,
        build_id: str | None = None,
        progress: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Go on after the trigger woke this task: read the build again and decide.

        The event is a wake-up; of what it says only the build's id is used, where Airflow drops
        the other arguments.
        """
        event = event or {}
        if event.get("status") == "error":
            self.log.warning("The wait was broken off: %s", event.get("message"))
        known = build_id or event.get("build_id")
        if not known:
            raise BuildPixelError("the task was resumed without the id of its build")
        self._build_id = known
        before = WaitProgress.from_json(context, progress)
        build = self._woken(known, before)
        # Said at the dispatch already; a try that Airflow began meanwhile has cleared it.
        waiting.publish(context, self.hook, build)
        return self._wait(context, build, before)

    def execute_after(
        self,
        context: Context,
        event: dict[str, Any] | None = None,
        progress: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Go on after a live build that stood in the way has ended."""
        self.log.info("The build in the way: %s", event)
        return self._begin(context, WaitProgress.from_json(context, progress))

    def _woken(self, build_id: str, progress: WaitProgress) -> Build:
        """Read the build again; while BuildPixel is away, wait on without a worker for that too."""
        from airflow_provider_buildpixel.api.endpoints import get_build  # not for parsing Dags
        from airflow_provider_buildpixel.api.retry import is_permanent

        deadlines = self._deadlines(progress)
        if not self.deferrable or deadlines.passed(time.time(), queued=False):
            return self.hook.get_build(build_id)
        try:
            return self.hook.client.attempt(get_build(build_id))
        except BuildPixelError as error:
            if is_permanent(error) or isinstance(error, NotFound):
                return self.hook.get_build(build_id)  # which takes a token that was replaced
            self.log.warning("The build could not be read, so the wait goes on: %s", error)
        return self._defer(build_id, deadlines, progress)

    def on_kill(self) -> None:
        """Say that nothing stops the build: BuildPixel has no way to cancel one."""
        if self._build_id is not None:
            self.log.warning(
                "Build %s goes on in BuildPixel: it cannot be cancelled over the API. A retry of "
                "this task goes on with it",
                self._build_id,
            )

    def _check(self) -> None:
        parameters.check_wait(self.channel, self.poll_interval, self.stream_logs)
        parameters.check_limits(timeout=self.timeout, queue_timeout=self.queue_timeout)
        parameters.check_rendered(
            branch=self.branch, commit=self.commit, changelist=self.changelist
        )
        parameters.check_choice("on_superseded", self.on_superseded, outcome.ON_SUPERSEDED)
        parameters.check_choice("on_in_flight", self.on_in_flight, parameters.ON_IN_FLIGHT)

    def _request(self, project_id: str, build_setting_id: str) -> BuildRequest:
        from airflow_provider_buildpixel.builds.request import BuildRequest

        changelist = None if self.changelist in (None, "") else str(self.changelist)
        return BuildRequest(
            project_id, build_setting_id, self.branch or None, self.commit or None, changelist
        )

    def _memory(self, context: Context) -> TaskState:
        return TaskState(context, durable=self.durable)

    def _retry_since(self, context: Context) -> float | None:
        """Give the instant from which a live build may be an earlier try's of this task."""
        ti: Any = context["ti"]
        start = getattr(context.get("dag_run"), "start_date", None)
        retry = self.durable and (ti.try_number or 1) > 1
        return start.timestamp() if retry and start is not None else None

    def _url(self, build: Build) -> str | None:
        return self.hook.settings.build_page(build.id, build.project_id)

    def _publish(self, context: Context, build: Build) -> None:
        self._build_id = build.id
        url = self._url(build)
        if url:
            self.log.info("See %s", url)
        waiting.publish(context, self.hook, build)

    def _deadlines(self, progress: WaitProgress) -> Deadlines:
        return progress.deadlines(
            timeout=self.timeout,
            queue_timeout=self.queue_timeout,
            execution_timeout=self.execution_timeout,
        )

    def _wait(self, context: Context, build: Build, progress: WaitProgress) -> dict[str, Any]:
        """Wait until the build is over: the one end of all roads."""
        while True:
            end = outcome.outcome_of(build, self.on_superseded)
            if isinstance(end, FollowNewer):
                build, progress = self._follow(context, build, progress)
                continue
            if end is not None:
                return self._conclude(context, build, end)
            build = self._wait_once(build, progress)

    def _wait_once(self, build: Build, progress: WaitProgress) -> Build:
        """Defer, or block until there is news, and read the build again."""
        deadlines = self._deadlines(progress)
        reason = deadlines.passed(time.time(), queued=build.status.queued)
        if reason is not None:
            raise waiting.timeout_error(reason, self._limit(reason), build, self._url(build))
        if not build.status.queued:
            deadlines = replace(deadlines, queue_until=None)
        if self.deferrable:
            self._defer(build.id, deadlines, progress)
        self._block(build.id, deadlines, self.stream_logs)
        return self.hook.get_build(build.id)

    def _block(self, build_id: str, deadlines: Deadlines, stream: str | None) -> None:
        wait = waiting.make_wait(
            build_id,
            deadlines,
            channel=self.channel or self.hook.settings.channel,
            poll_interval=self.poll_interval,
            stream=stream,
        )
        waiting.wait_blocking(self, wait)

    def _limit(self, reason: str) -> float:
        limit = getattr(self, reason)
        return limit.total_seconds() if isinstance(limit, timedelta) else float(limit)

    def _defer(self, build_id: str, deadlines: Deadlines, progress: WaitProgress) -> NoReturn:
        self.hook.close()
        self.defer(
            trigger=self._trigger(build_id, deadlines),
            method_name="execute_complete",
            kwargs={"build_id": build_id, "progress": progress.next_round().to_json()},
            timeout=waiting.deferral_timeout(deadlines, time.time()),
        )

    def _trigger(self, build_id: str, deadlines: Deadlines) -> BuildPixelBuildTrigger:
        return BuildPixelBuildTrigger(
            build_id=build_id,
            buildpixel_conn_id=self.buildpixel_conn_id,
            channel=self.channel,
            poll_interval=self.poll_interval,
            deadline=deadlines.until,
            queue_deadline=deadlines.queue_until,
            stream_logs=self.stream_logs,
            **waiting.resume_delay(),
        )

    def _let_end(self, build: Build, progress: WaitProgress) -> None:
        """Wait for a live build that ours would cancel; ``timeout`` bounds all such waits."""
        deadlines = replace(self._deadlines(progress), queue_until=None)
        reason = deadlines.passed(time.time(), queued=False)
        if reason is not None:
            raise waiting.timeout_error(reason, self._limit(reason), build, self._url(build))
        if self.deferrable:
            self.hook.close()
            self.defer(
                trigger=self._trigger(build.id, deadlines),
                method_name="execute_after",
                kwargs={"progress": progress.to_json()},
                timeout=waiting.deferral_timeout(deadlines, time.time()),
            )
        self._block(build.id, deadlines, stream=None)

    def _follow(
        self, context: Context, build: Build, progress: WaitProgress
    ) -> tuple[Build, WaitProgress]:
        """Go on to the build that superseded ours."""
        from airflow_provider_buildpixel.builds.dispatch_loop import (
            find_newer_build,  # loads requests
        )

        newer = find_newer_build(self.hook.client, build, retry=True)
        if newer is None or progress.followed >= outcome.MAX_FOLLOWED:
            raise outcome.superseded_error(build, newer, self._url(build))
        self.log.warning(
            "%s was superseded: following %s, triggered by %s",
            build.title,
            newer.title,
            newer.triggered_by,
        )
        memory = self._memory(context)
        record = memory.recall()
        if record is not None:
            memory.keep(replace(record, build_id=newer.id))
        self._publish(context, newer)
        return newer, progress.following(time.time() - self.hook.client.age(newer))

    def _conclude(self, context: Context, build: Build, end: outcome.Outcome) -> dict[str, Any]:
        url = self._url(build)
        if isinstance(end, Succeed):
            lineage.report_build(self.hook, build)
            return self._taken(context, build)
        if isinstance(end, Skip):
            raise AirflowSkipException(f"{build.title} was superseded (on_superseded='skip')")
        if build.status.superseded:
            raise outcome.superseded_error(build, waiting.find_newer(self, build), url)
        raise outcome.failure_error(build, url)

    def _taken(self, context: Context, build: Build) -> dict[str, Any]:
        facts = build.facts(self._url(build))
        waiting.add_to_asset_events(context, self.outlets or (), facts)
        self._memory(context).conclude()
        self.hook.close()
        return facts
