"""The operators that Dag authors import."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import AirflowSkipException, BaseOperator, conf

from airflow_provider_buildpixel.builds import outcome
from airflow_provider_buildpixel.builds.outcome import Outcome
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
    from airflow_provider_buildpixel.builds.dispatch import WaitFor
    from airflow_provider_buildpixel.builds.record import DispatchRecord
    from airflow_provider_buildpixel.tasks.build_starter import Dispatched
    from airflow_provider_buildpixel.tasks.deadlines import Deadlines


__all__ = ["BuildPixelDownloadArtifactOperator", "BuildPixelTriggerBuildOperator"]


class BuildPixelTriggerBuildOperator(BaseOperator):
    """Starts a build, waits until it ends, and succeeds only if the build does.

    Returns the build's facts: ``build_id``, ``status``, ``project_id``, ``build_setting_id``,
    ``platform``, ``build_type``, ``branch``, ``commit``, ``changelist``, ``ue_version``,
    ``triggered_by``, ``created_at``, ``finished_at``, ``duration_seconds`` and ``url``. The XCom
    ``build_id`` and the link to the build exist as soon as the build was started.

    All time limits are in seconds. A time limit ends the task, never the build: BuildPixel's API
    cannot cancel a build.

    :param project: the id or exact name of the project (templated).
    :param build_setting: the id of a build setting, or fields that match exactly one setting of
        the project, such as ``{"platform": "Win64", "buildType": "Shipping"}`` (templated).
    :param branch: the branch to build, instead of the setting's (templated).
    :param commit: the commit to build, instead of the newest one of the branch (templated).
    :param changelist: the Perforce changelist to build (templated).
    :param buildpixel_conn_id: the id of the Airflow connection (templated).
    :param wait_for_completion: if False, the task succeeds as soon as the build was started.
    :param deferrable: wait in the triggerer, without a worker; the default is
        ``[operators] default_deferrable``.
    :param channel: how the end of the build is noticed: ``socketio``, ``polling``, or ``auto`` for
        Socket.IO with polling while it is down. None uses the connection's setting.
    :param poll_interval: seconds between reads of the status while polling. While Socket.IO is
        connected, the status is read every ten intervals.
    :param timeout: seconds from the start of the build until its end, over all retries. Airflow's
        ``execution_timeout`` applies as well, also while the task is deferred.
    :param queue_timeout: seconds that the build may stay in the queue.
    :param on_superseded: what to do when a newer build supersedes this one: ``fail``, ``skip`` the
        task, or ``follow`` the newer build, which waits for it and returns its facts.
    :param on_in_flight: what to do when the new build would supersede a live one: ``supersede`` it;
        ``adopt`` it if it has the same build setting and the requested commit or changelist
        (otherwise supersede it); ``wait`` until it has ended; or ``fail``.
    :param durable: continue with the same build after a retry or after the loss of a worker or
        triggerer. If False, each try starts a build.
    :param stream_logs: the build log lines to copy to the task's log: ``all``, ``warn`` (warnings
        and errors), ``error`` or None.
    :raises BuildFailed: the build failed; the error has its phase, first error lines and advice.
    :raises BuildSuperseded: a newer build superseded this one.
    :raises BuildTimeout: a time limit was exceeded; the build continues in BuildPixel.
    :raises BuildInFlight: there is a live build, and ``on_in_flight`` is ``fail``.
    :raises DispatchUncertain: a request may have started a build that cannot be identified.
    :raises InvalidRequest: a parameter is invalid; nothing was started.
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

    def __init__(  # noqa: PLR0913  # the public interface
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
        """Start the build, or continue with the one of an earlier try, and wait for it."""
        self._check_parameters()
        return self._dispatch_and_wait(context, WaitProgress.of_new_try(context))

    def _dispatch_and_wait(
        self, context: Context, progress: WaitProgress, *, has_waited: bool = False
    ) -> dict[str, Any]:
        """Get the task's build and wait for it.

        :param progress: covers the time before the dispatch, spent waiting for a live build.
        :param has_waited: the task has waited for a live build to end.
        """
        from airflow_provider_buildpixel.builds.dispatch import WaitFor  # not for parsing Dags

        while isinstance(result := self._dispatch(context, has_waited=has_waited), WaitFor):
            self._wait_for_in_flight(result.build, progress)
            has_waited = True
        self._publish(context, result.build)
        if not self.wait_for_completion:
            return self._finish(context, result.build)
        return self._wait(context, result.build, progress.from_dispatch(result.dispatched_at))

    def _dispatch(self, context: Context, *, has_waited: bool) -> Dispatched | WaitFor:
        """Get the task's build, or the live build that has to end first."""
        # Every parse of a Dag imports this module; only a running task needs these.
        from airflow_provider_buildpixel.builds.request import BuildRequest
        from airflow_provider_buildpixel.tasks.build_starter import BuildStarter
        from airflow_provider_buildpixel.tasks.dispatcher import Dispatcher

        project = self.hook.find_project(self.project)
        setting = self.hook.find_build_setting(project.id, self.build_setting)
        request = BuildRequest.create(
            setting,
            project.id,
            branch=self.branch,
            commit=self.commit,
            changelist=self.changelist,
        )
        starter = BuildStarter(
            hook=self.hook,
            request=request,
            setting=setting,
            state=self._state(context),
            on_in_flight=self.on_in_flight,
            log=self.log,
            lines={setting.id: setting.branch_or_stream},
        )
        return Dispatcher(starter).dispatch(has_waited=has_waited)

    def execute_complete(
        self,
        context: Context,
        event: dict[str, Any] | None = None,
        build_id: str | None = None,
        progress: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Continue after the trigger's event: read the build again, then finish or wait on.

        The event is only a wake-up. Its build id is used where Airflow drops the other arguments.
        """
        event = event or {}
        if event.get("status") == "error":
            self.log.warning("The wait ended early: %s", event.get("message"))
        known_id = build_id or event.get("build_id")
        if not known_id:
            raise BuildPixelError("the task was resumed without the id of its build")
        self._build_id = known_id
        known_progress = WaitProgress.from_json(context, progress)
        build = self._read_after_resume(known_id, known_progress)
        # Push the XComs again: Airflow deletes them if it has begun another try meanwhile.
        waiting.publish(context, self.hook, build)
        return self._wait(context, build, known_progress)

    def execute_after_in_flight(
        self,
        context: Context,
        event: dict[str, Any] | None = None,
        progress: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Continue after a live build has ended that the new one would have superseded."""
        self.log.info("The wait for a live build has ended: %s", event)
        return self._dispatch_and_wait(
            context, WaitProgress.from_json(context, progress), has_waited=True
        )

    def _read_after_resume(self, build_id: str, progress: WaitProgress) -> Build:
        """Read the build; defer again, without using a worker, while it cannot be read."""
        from airflow_provider_buildpixel.api.endpoints import get_build  # not for parsing Dags
        from airflow_provider_buildpixel.api.retry import is_permanent

        deadlines = self._deadlines(progress)
        if not self.deferrable or deadlines.expired_parameter(time.time(), queued=False):
            return self.hook.get_build(build_id)
        try:
            return self.hook.client.attempt(get_build(build_id))
        except BuildPixelError as error:
            if is_permanent(error) or isinstance(error, NotFound):
                return self.hook.get_build(build_id)  # this also uses a replaced token
            self.log.warning("Could not read the build; deferring again: %s", error)
        return self._defer_until_end(build_id, deadlines, progress)

    def on_kill(self) -> None:
        """Log that the build continues: BuildPixel's API cannot cancel it."""
        if self._build_id is not None:
            self.log.warning(
                "Build %s continues in BuildPixel: it cannot be cancelled over the API. A retry "
                "of this task continues with it",
                self._build_id,
            )

    def _check_parameters(self) -> None:
        parameters.check_wait(self.channel, self.poll_interval, self.stream_logs)
        parameters.check_limits(timeout=self.timeout, queue_timeout=self.queue_timeout)
        parameters.check_rendered(
            branch=self.branch, commit=self.commit, changelist=self.changelist
        )
        parameters.check_choice("on_superseded", self.on_superseded, outcome.ON_SUPERSEDED)
        parameters.check_choice("on_in_flight", self.on_in_flight, parameters.ON_IN_FLIGHT)

    def _state(self, context: Context) -> TaskState:
        return TaskState(context, retries=self.retries or 0, durable=self.durable)

    def _url(self, build: Build) -> str | None:
        return self.hook.settings.build_page_url(build.id, build.project_id)

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
        """Wait until the build has ended; return its facts or raise its error."""
        while True:
            build_outcome = outcome.outcome_of(build, self.on_superseded)
            if build_outcome is Outcome.FOLLOW_NEWER:
                build, progress = self._follow_newer(context, build, progress)
            elif build_outcome is not None:
                return self._apply_outcome(context, build, build_outcome)
            else:
                build = self._wait_for_change(build, progress)

    def _wait_for_change(self, build: Build, progress: WaitProgress) -> Build:
        """Defer; or block until the wait ends or times out, then read the build again."""
        deadlines = self._deadlines(progress)
        waiting.raise_if_expired(self, deadlines, build, queued=build.status.queued)
        if not build.status.queued:
            deadlines = replace(deadlines, queue_expires_at=None)
        if self.deferrable:
            self._defer_until_end(build.id, deadlines, progress)
        self._wait_blocking(build.id, deadlines, self.stream_logs)
        return self.hook.get_build(build.id)

    def _wait_blocking(self, build_id: str, deadlines: Deadlines, stream_logs: str | None) -> None:
        wait = waiting.make_wait(
            build_id,
            deadlines,
            channel=self.channel or self.hook.settings.channel,
            poll_interval=self.poll_interval,
            stream_logs=stream_logs,
        )
        waiting.wait_blocking(self, wait)

    def _defer_until_end(
        self, build_id: str, deadlines: Deadlines, progress: WaitProgress
    ) -> NoReturn:
        self.hook.close()
        self.defer(
            trigger=self._make_trigger(build_id, deadlines),
            method_name="execute_complete",
            kwargs={"build_id": build_id, "progress": progress.next_deferral().to_json()},
            timeout=waiting.deferral_timeout(deadlines, time.time()),
        )

    def _make_trigger(self, build_id: str, deadlines: Deadlines) -> BuildPixelBuildTrigger:
        return BuildPixelBuildTrigger(
            build_id=build_id,
            buildpixel_conn_id=self.buildpixel_conn_id,
            channel=self.channel,
            poll_interval=self.poll_interval,
            deadline=deadlines.expires_at,
            queue_deadline=deadlines.queue_expires_at,
            stream_logs=self.stream_logs,
            **waiting.resume_delay(),
        )

    def _wait_for_in_flight(self, build: Build, progress: WaitProgress) -> None:
        """Wait for a live build that the new one would supersede; ``timeout`` applies."""
        deadlines = replace(self._deadlines(progress), queue_expires_at=None)
        waiting.raise_if_expired(self, deadlines, build, queued=False)
        if self.deferrable:
            self.hook.close()
            self.defer(
                trigger=self._make_trigger(build.id, deadlines),
                method_name="execute_after_in_flight",
                kwargs={"progress": progress.to_json()},
                timeout=waiting.deferral_timeout(deadlines, time.time()),
            )
        self._wait_blocking(build.id, deadlines, stream_logs=None)

    def _follow_newer(
        self, context: Context, build: Build, progress: WaitProgress
    ) -> tuple[Build, WaitProgress]:
        """Return the build that superseded this one, and the progress of waiting for it."""
        state = self._state(context)
        record = state.load()
        newer = waiting.newer_build(self, build, retry=True)
        if (
            newer is None
            or progress.followed >= outcome.MAX_FOLLOWED
            or not self._is_of_revision(newer, record)
        ):
            raise outcome.superseded_error(build, newer, self._url(build))
        self.log.warning(
            "%s was superseded: following %s, triggered by %s",
            build.title,
            newer.title,
            newer.triggered_by,
        )
        if record is not None:
            followed = replace(record, build_id=newer.id, is_followed=True)
            state.save(replace(followed, stored_by=state.current_try))
        self._publish(context, newer)
        return newer, progress.follow_newer(time.time() - self.hook.client.age(newer))

    def _is_of_revision(self, newer: Build, record: DispatchRecord | None) -> bool:
        """Return whether a newer build is of the commit and changelist that were requested.

        :param record: what was requested; the task may have been edited since.
        """
        from airflow_provider_buildpixel.builds.request import BuildFilter, Match, stripped

        wanted = BuildFilter(commit=stripped(self.commit), changelist=stripped(self.changelist))
        if record is not None:
            asked = record.target
            wanted = BuildFilter(commit=asked.commit, changelist=asked.changelist)
        return wanted.compare(newer) is Match.YES

    def _apply_outcome(
        self, context: Context, build: Build, build_outcome: Outcome
    ) -> dict[str, Any]:
        url = self._url(build)
        if build_outcome is Outcome.SUCCEED:
            lineage.report_build(self.hook, build)
            return self._finish(context, build)
        if build_outcome is Outcome.SKIP:
            raise AirflowSkipException(f"{build.title} was superseded (on_superseded='skip')")
        if build.status.superseded:
            raise outcome.superseded_error(build, waiting.newer_build(self, build), url)
        raise outcome.failure_error(build, url)

    def _finish(self, context: Context, build: Build) -> dict[str, Any]:
        """Return the build's facts, after storing that the task has used them."""
        facts = build.facts(self._url(build))
        waiting.add_to_asset_events(context, self.outlets or (), facts)
        self._state(context).mark_finished()
        self.hook.close()
        return facts
