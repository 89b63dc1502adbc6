"""Waits for a build in the triggerer."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_buildpixel.exceptions import BuildPixelError, Unauthorized
from airflow_provider_buildpixel.hooks.connections import get_settings_async, warn_if_unverified
from airflow_provider_buildpixel.hooks.metrics import report_metrics
from airflow_provider_buildpixel.waits.wait import Wait

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_provider_buildpixel.api.settings import Settings
    from airflow_provider_buildpixel.waits.reporter import LogMessage


LEVELS = {"info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
RESTART_AFTER = 60.0
"""Seconds after the deferral from which the start of a trigger is taken for a restart."""

MAX_RESUME_DELAY = 60.0
"""Seconds: worker and triggerer may disagree about the time."""

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
    """Reads and listens until a build ends; never dispatches.

    Its one event is a wake-up, not a verdict: ``{"build_id": …, "status": …}``, where status is
    the build's terminal status, ``timeout``, or ``error`` with a ``message``. Whoever it wakes
    reads the build again.

    :param build_id: the build; None with ``query``.
    :param buildpixel_conn_id: the Airflow connection; no secret is stored with a trigger.
    :param channel: ``auto``, ``socketio`` or ``polling``; None for the connection's.
    :param poll_interval: seconds between reads while polling.
    :param deadline: when to wake with ``timeout``, in seconds since the epoch.
    :param queue_deadline: likewise, if the build is still queued then.
    :param stream_logs: ``all``, ``warn``, ``error`` or None: which log lines go to the task's log.
    :param not_before: seconds since the epoch before which no event is sent: Airflow can take a
        task that comes back within seconds of its deferral for a failed one.
    :param resume_delay: seconds after the trigger's start before which no event is sent, for the same
        reason: Airflow may have taken its time to store the deferral.
    :param query: instead of a build id, the fields of the build to look for.
    :param wait_until_exists: wait for a build that is not there (yet) like for any other.
    """

    def __init__(  # Airflow stores each by its name
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
        """Give what is stored: what differs from the defaults, so that old rows stay loadable."""
        kwargs: dict[str, Any] = {
            "build_id": self.build_id,
            "buildpixel_conn_id": self.buildpixel_conn_id,
        }
        values = {name: getattr(self, name) for name in DEFAULTS}
        kwargs |= {name: value for name, value in values.items() if value != DEFAULTS[name]}
        return (f"{type(self).__module__}.{type(self).__qualname__}", kwargs)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then wake the task once."""
        started = time.monotonic()
        try:
            event = await self._wait()
        except (BuildPixelError, AirflowNotFoundException) as error:
            # That the connection is not there can pass, too: the task looks for itself.
            event = {"build_id": self.build_id, "status": "error", "message": str(error)}
        await asyncio.sleep(
            min(MAX_RESUME_DELAY, self._remaining_delay(time.monotonic() - started))
        )
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]  # 2.11's is untyped

    async def on_kill(self) -> None:
        """Say that nothing stops the build: BuildPixel has no way to cancel one."""
        self.log.warning("Build %s goes on in BuildPixel: it cannot be cancelled", self.build_id)

    async def _wait(self) -> dict[str, Any]:
        """Wait, over a token that is replaced meanwhile, however often."""
        settings = await get_settings_async(self.buildpixel_conn_id)
        warn_if_unverified(settings, self.buildpixel_conn_id, self.log)
        while True:
            try:
                return await self._wait_with(settings)
            except Unauthorized:
                replaced = await get_settings_async(self.buildpixel_conn_id, refused=settings)
                if replaced.token == settings.token:
                    raise
            self.log.info(
                "The token was refused, and the connection has a new one: going on with it"
            )
            settings = replaced

    async def _wait_with(self, settings: Settings) -> dict[str, Any]:
        # Workers and Dag processors import this module too, and never get here.
        from airflow_provider_buildpixel.builds.search import BuildQuery
        from airflow_provider_buildpixel.waits.actions import Done
        from airflow_provider_buildpixel.waits.monitor import (
            monitor_for,  # settings_for has loaded it
        )

        async with monitor_for(settings, report_metrics) as monitor:
            if self.build_id is None:
                self.build_id = await monitor.find(
                    BuildQuery.from_json(self.query), self._looking()
                )
            if self.build_id is None:
                return {"build_id": None, "status": "timeout"}
            end = await monitor.wait(self._of(self.build_id, settings), self._tell)
        status = str(end.build.status) if isinstance(end, Done) else "timeout"
        return {"build_id": self.build_id, "status": status}

    def _of(self, build_id: str, settings: Settings) -> Wait:
        return Wait(
            build_id,
            channel=self.channel or settings.channel,
            poll_interval=self.poll_interval,
            deadline=self.deadline,
            queue_deadline=self.queue_deadline,
            stream=self.stream_logs,
            resumed=self._resumed,
            wait_until_exists=self.wait_until_exists,
        )

    @property
    def _resumed(self) -> bool:
        """Whether this looks like a new start of the same wait, after the triggerer ended."""
        return self.not_before is not None and time.time() - self.not_before > RESTART_AFTER

    def _looking(self) -> Wait:
        return Wait("", poll_interval=self.poll_interval, deadline=self.deadline)

    def _remaining_delay(self, running: float) -> float:
        """Give the seconds for which the event is still held back."""
        left = 0.0 if self.not_before is None else self.not_before - time.time()
        return max(0.0, left, self.resume_delay - running)

    def _tell(self, record: LogMessage) -> None:
        self.log.log(LEVELS[record.level], "%s", record.text)
