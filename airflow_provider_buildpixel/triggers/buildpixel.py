"""The trigger that waits for a build in the triggerer."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_buildpixel.exceptions import BuildPixelError, Unauthorized
from airflow_provider_buildpixel.hooks.connections import get_settings_async, warn_if_unverified
from airflow_provider_buildpixel.hooks.metrics import report_metrics
from airflow_provider_buildpixel.hooks.task_log import log_writer
from airflow_provider_buildpixel.waits.wait import Wait

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_provider_buildpixel.api.settings import Settings


RESTART_AFTER = 60.0
"""Seconds after ``not_before`` from which the start of a trigger counts as a restart."""

MAX_RESUME_DELAY = 60.0
"""Longest delay of an event in seconds, even if the clocks of worker and triggerer differ."""

DEFAULTS: dict[str, Any] = {
    "channel": None,
    "poll_interval": 30.0,
    "deadline": None,
    "queue_deadline": None,
    "stream_logs": "all",
    "not_before": None,
    "resume_delay": 0.0,
    "query": None,
    "wait_until_exists": False,
}


class BuildPixelBuildTrigger(BaseTrigger):
    """Waits in the triggerer until a build ends. It only reads; it never starts a build.

    It sends one event, ``{"build_id": ..., "status": ...}``. ``build_id`` is the build's id, or
    None if no build matched ``query``. ``status`` is one of:

    - the build's terminal status: ``complete``, ``failed`` or ``superseded``;
    - ``timeout``: ``deadline`` or ``queue_deadline`` has passed;
    - ``error``: waiting cannot continue, for example because the token was refused or the build is
      gone. The event then also has a ``message``.

    The event is a wake-up and carries no result: the resumed task reads the build again. All
    triggers of a connection in one triggerer share one Socket.IO connection and the requests.

    :param build_id: the id of the build; None if ``query`` is given.
    :param buildpixel_conn_id: the id of the Airflow connection. Airflow stores no secret with a
        trigger.
    :param channel: how to notice the end: ``socketio``, ``polling``, or ``auto`` for Socket.IO with
        polling while it is down. None uses the connection's setting.
    :param poll_interval: seconds between reads of the build while polling.
    :param deadline: instant at which to send ``timeout``, in seconds since the epoch; None waits
        without a limit.
    :param queue_deadline: instant at which to send ``timeout`` if the build is still queued, in
        seconds since the epoch; None for no limit.
    :param stream_logs: the build log lines to copy to the task's log: ``all``, ``warn`` (warnings
        and errors), ``error`` or None.
    :param not_before: instant before which no event is sent, in seconds since the epoch. A task
        that is resumed within seconds of its deferral can be mistaken for a failed one by Airflow.
    :param resume_delay: seconds after the start of this trigger before which no event is sent, for
        the same reason: Airflow may have taken some time to store the deferral.
    :param query: the fields of the build to find first, instead of ``build_id``: ``project_id``,
        ``build_setting_id``, ``branch``, ``commit`` and ``changelist``.
    :param wait_until_exists: wait until the deadline for a build that answers 404, instead of
        sending ``error``.
    """

    def __init__(  # noqa: PLR0913  # Airflow stores each argument by its name
        self,
        *,
        build_id: str | None = None,
        buildpixel_conn_id: str = "buildpixel_default",
        channel: str | None = None,
        poll_interval: float = 30.0,
        deadline: float | None = None,
        queue_deadline: float | None = None,
        stream_logs: str | None = "all",
        not_before: float | None = None,
        resume_delay: float = 0.0,
        query: dict[str, Any] | None = None,
        wait_until_exists: bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's
        self.build_id = build_id
        self.buildpixel_conn_id = buildpixel_conn_id
        self.channel = channel
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.queue_deadline = queue_deadline
        self.stream_logs = stream_logs
        self.not_before = not_before
        self.resume_delay = resume_delay
        self.query = query
        self.wait_until_exists = wait_until_exists

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments that differ from their defaults.

        Defaults are not stored, so that rows of earlier versions stay loadable.
        """
        kwargs: dict[str, Any] = {
            "build_id": self.build_id,
            "buildpixel_conn_id": self.buildpixel_conn_id,
        }
        values = {name: getattr(self, name) for name in DEFAULTS}
        kwargs |= {name: value for name, value in values.items() if value != DEFAULTS[name]}
        return (f"{type(self).__module__}.{type(self).__qualname__}", kwargs)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait for the build, then yield the one event."""
        started = time.monotonic()
        try:
            event = await self._wait()
        except (BuildPixelError, AirflowNotFoundException) as error:
            # A missing connection may also be temporary: the resumed task checks it again.
            event = {"build_id": self.build_id, "status": "error", "message": str(error)}
        await asyncio.sleep(
            min(MAX_RESUME_DELAY, self._remaining_delay(time.monotonic() - started))
        )
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]  # 2.11's is untyped

    async def on_kill(self) -> None:
        """Log that the build keeps running: BuildPixel's API cannot cancel builds."""
        self.log.warning(
            "Build %s continues in BuildPixel: it cannot be cancelled over the API", self.build_id
        )

    async def _wait(self) -> dict[str, Any]:
        """Wait; continue each time that a refused token was replaced in the connection."""
        settings = await get_settings_async(self.buildpixel_conn_id)
        warn_if_unverified(settings, self.buildpixel_conn_id, self.log)
        while True:
            try:
                return await self._wait_with(settings)
            except Unauthorized:
                replaced = await get_settings_async(self.buildpixel_conn_id, refused=settings)
                if replaced.token == settings.token:
                    raise
            self.log.info("The token was refused; continuing with the connection's new token")
            settings = replaced

    async def _wait_with(self, settings: Settings) -> dict[str, Any]:
        # Imported here, because workers and Dag processors import this module but never wait.
        from airflow_provider_buildpixel.builds.request import BuildFilter
        from airflow_provider_buildpixel.builds.search import NewestMatch
        from airflow_provider_buildpixel.waits.actions import Done
        from airflow_provider_buildpixel.waits.monitor import monitor_for

        async with monitor_for(settings, report_metrics) as monitor:
            if self.build_id is None:
                wanted = BuildFilter.of_query(self.query)
                self.build_id = await monitor.find(NewestMatch(wanted), self._search_wait())
            if self.build_id is None:
                return {"build_id": None, "status": "timeout"}
            wait = self._build_wait(self.build_id, settings)
            end = await monitor.wait(wait, log_writer(self.log))
        status = str(end.build.status) if isinstance(end, Done) else "timeout"
        return {"build_id": self.build_id, "status": status}

    def _build_wait(self, build_id: str, settings: Settings) -> Wait:
        return Wait(
            build_id,
            channel=self.channel or settings.channel,
            poll_interval=self.poll_interval,
            deadline=self.deadline,
            queue_deadline=self.queue_deadline,
            stream_logs=self.stream_logs,
            resumed=self._is_restart,
            wait_until_exists=self.wait_until_exists,
        )

    @property
    def _is_restart(self) -> bool:
        """Whether this is probably a restart of the wait after the triggerer ended."""
        return self.not_before is not None and time.time() - self.not_before > RESTART_AFTER

    def _search_wait(self) -> Wait:
        return Wait("", poll_interval=self.poll_interval, deadline=self.deadline)

    def _remaining_delay(self, elapsed: float) -> float:
        """Return the seconds to wait before the event may be sent."""
        left = 0.0 if self.not_before is None else self.not_before - time.time()
        return max(0.0, left, self.resume_delay - elapsed)
