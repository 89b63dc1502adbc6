"""How tasks of this provider wait, fail and report: shared by the operator and the sensor."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypedDict

from airflow.providers.common.compat.sdk import AirflowSkipException, conf
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS

from airflow_provider_buildpixel.api.text import duration_text
from airflow_provider_buildpixel.exceptions import BuildPixelError, BuildTimeout, Unauthorized
from airflow_provider_buildpixel.links.buildpixel import LINK_KEY
from airflow_provider_buildpixel.page.record import RECORD_KEY, BuildRecord, TaskInstanceKey
from airflow_provider_buildpixel.tasks.deadlines import (
    EXECUTION_TIMEOUT,
    QUEUE_TIMEOUT,
)
from airflow_provider_buildpixel.waits.wait import Wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_buildpixel.api.model import Build
    from airflow_provider_buildpixel.hooks.buildpixel import BuildPixelHook
    from airflow_provider_buildpixel.tasks.deadlines import (
        Deadlines,
    )
    from airflow_provider_buildpixel.waits.reporter import LogMessage as Told


LEVELS = {"info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
BUILD_ID_KEY = "build_id"


DEFERRAL_MARGIN = 300.0
"""Seconds after which Airflow itself ends a deferral whose trigger did not keep its deadline."""


class ResumeDelay(TypedDict):
    """Arguments of a trigger."""

    resume_delay: float
    not_before: float


def resume_delay() -> ResumeDelay:
    """Give the trigger's arguments that say how long a deferred task must not come back.

    Airflow's scheduler takes a task for failed that is queued again while the report of its
    worker's end is still under way, and the worker's supervisor looks only every
    ``[workers] min_heartbeat_interval`` seconds.
    """
    interval = float(conf.getfloat("workers", "min_heartbeat_interval", fallback=5.0))
    seconds = interval + 5.0
    return {"resume_delay": seconds, "not_before": time.time() + seconds}


def deferral_timeout(deadlines: Deadlines, now: float) -> timedelta | None:
    """Give Airflow's own limit for a deferral: ours and some more, in case the trigger is lost."""
    left = deadlines.left(now)
    return None if left is None else timedelta(seconds=left + DEFERRAL_MARGIN)


def timeout_error(reason: str, limit: float, build: Build, url: str | None) -> BuildTimeout:
    """Make the error of a wait that took too long."""
    what = {
        QUEUE_TIMEOUT: "is still queued",
        EXECUTION_TIMEOUT: f"is {build.status}",
    }.get(reason, f"is {build.status}")
    where = f"; look at {url}" if url else ""
    return BuildTimeout(
        f"{build.title} {what} after {reason} of {duration_text(limit)}. The build goes on: BuildPixel "
        f"has no way to cancel it over the API{where}",
        build=build,
    )


def log_writer(log: Any) -> Callable[[Told], None]:
    """Write what a wait has to tell into the task's log."""

    def tell(record: Told) -> None:
        log.log(LEVELS[record.level], "%s", record.text)

    return tell


@contextmanager
def skip_on_soft_fail(sensor: Any) -> Iterator[None]:
    """Turn errors into a skip where ``soft_fail`` asks for it, in every mode alike."""
    try:
        yield
    except BuildPixelError as error:
        if sensor.soft_fail or sensor.never_fail:
            raise AirflowSkipException(f"skipped by soft_fail or never_fail: {error}") from error
        raise


def refresh_token(task: Any) -> bool:
    """Take a new hook after a refused token; tell whether the connection has another one now."""
    refused = task.hook.settings
    task.hook.close()
    del task.hook
    if task.hook.settings == refused:
        return False
    task.log.info("The token was refused, and the connection has a new one: going on with it")
    return True


def wait_blocking(task: Any, wait: Wait) -> None:
    """Wait in this process, over a token that is replaced meanwhile, however often."""
    from airflow_provider_buildpixel.waits.blocking import wait_for_build  # loads requests

    while True:
        try:
            wait_for_build(task.hook.client, wait, log_writer(task.log))
        except Unauthorized:
            if not refresh_token(task):
                raise
            wait = replace(wait, resumed=True)
        else:
            return


def find_newer(task: Any, build: Build) -> Build | None:
    """Name the build that superseded one, if the list can be had: the error comes anyway."""
    from airflow_provider_buildpixel.builds.dispatch_loop import find_newer_build  # loads requests

    try:
        return find_newer_build(task.hook.client, build)
    except BuildPixelError as error:
        task.log.info("The newer build could not be looked up: %s", error)
        return None


def publish(context: Context, hook: BuildPixelHook, build: Build) -> None:
    """Push the build's id, its record and its link at once: they are there while the task runs."""
    ti = context["ti"]
    ti.xcom_push(key=BUILD_ID_KEY, value=build.id)
    url = hook.settings.build_page(build.id, build.project_id)
    if AIRFLOW_V_3_1_PLUS:  # Airflow has the build's page
        place = TaskInstanceKey.of(ti)
        record = BuildRecord.made(place, hook.buildpixel_conn_id, build, hook.settings.token)
        ti.xcom_push(key=RECORD_KEY, value=record.to_json())
        url = url or record.page(place)
    if url:
        ti.xcom_push(key=LINK_KEY, value=url)


def add_to_asset_events(context: Context, outlets: Iterable[Any], facts: dict[str, Any]) -> None:
    """Put the build's facts into the events of the task's BuildPixel assets."""
    for outlet in outlets:
        if str(getattr(outlet, "uri", "")).startswith("buildpixel:"):
            context["outlet_events"][outlet].extra.update(facts)


def make_wait(  # the sides of a wait
    build_id: str,
    deadlines: Deadlines,
    *,
    channel: str,
    poll_interval: float,
    stream: str | None,
) -> Wait:
    """Put a wait together."""
    return Wait(
        build_id,
        channel=channel,
        poll_interval=poll_interval,
        deadline=deadlines.until,
        queue_deadline=deadlines.queue_until,
        stream=stream,
    )
