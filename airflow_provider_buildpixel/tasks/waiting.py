"""How tasks wait, defer, time out and publish their build; used by the operator and the sensor."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowSkipException, conf
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS

from airflow_provider_buildpixel.api.text import duration_text
from airflow_provider_buildpixel.exceptions import BuildPixelError, BuildTimeout, Unauthorized
from airflow_provider_buildpixel.hooks.task_log import log_writer
from airflow_provider_buildpixel.links.buildpixel import LINK_KEY
from airflow_provider_buildpixel.tasks.deadlines import QUEUE_TIMEOUT
from airflow_provider_buildpixel.waits.wait import Wait

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_buildpixel.api.model import Build
    from airflow_provider_buildpixel.hooks.buildpixel import BuildPixelHook
    from airflow_provider_buildpixel.tasks.deadlines import Deadlines


BUILD_ID_KEY = "build_id"

DEFERRAL_MARGIN = 300.0
"""Seconds after its deadline at which Airflow ends a deferral whose trigger sent no event."""


def resume_delay() -> dict[str, Any]:
    """Return the trigger arguments that keep a deferred task from being resumed too early.

    If a task is queued again while its worker's exit is still being reported, Airflow's scheduler
    mistakes it for a failed task. The worker's supervisor checks for the exit only every
    ``[workers] min_heartbeat_interval`` seconds.
    """
    interval = float(conf.getfloat("workers", "min_heartbeat_interval", fallback=5.0))
    seconds = interval + 5.0
    return {"resume_delay": seconds, "not_before": time.time() + seconds}


def deferral_timeout(deadlines: Deadlines, now: float) -> timedelta | None:
    """Return Airflow's timeout for a deferral: our deadline and a margin.

    Airflow applies it if the trigger is lost.
    """
    left = deadlines.seconds_left(now)
    return None if left is None else timedelta(seconds=left + DEFERRAL_MARGIN)


def raise_if_expired(task: Any, deadlines: Deadlines, build: Build, *, queued: bool) -> None:
    """Raise BuildTimeout if one of the task's limits is over.

    :param task: the operator.
    :param queued: whether ``queue_timeout`` applies.
    """
    parameter = deadlines.expired_parameter(time.time(), queued=queued)
    if parameter is None:
        return
    limit = getattr(task, parameter)
    seconds = limit.total_seconds() if isinstance(limit, timedelta) else float(limit)
    url = task.hook.settings.build_page_url(build.id, build.project_id)
    raise timeout_error(parameter, seconds, build, url)


def timeout_error(parameter: str, limit: float, build: Build, url: str | None) -> BuildTimeout:
    """Return the error of a wait that took too long.

    :param parameter: the name of the limit.
    :param limit: its value in seconds.
    :param url: the page of the build.
    """
    state = "is still queued" if parameter == QUEUE_TIMEOUT else f"is {build.status}"
    page = f"; see {url}" if url else ""
    return BuildTimeout(
        f"{build.title} {state} after the {parameter} of {duration_text(limit)}. The build "
        f"continues in BuildPixel: it cannot be cancelled over the API{page}",
        build=build,
    )


@contextmanager
def skip_on_soft_fail(sensor: Any) -> Iterator[None]:
    """Raise a skip instead of an error if the sensor has ``soft_fail`` or ``never_fail``."""
    try:
        yield
    except BuildPixelError as error:
        if sensor.soft_fail or sensor.never_fail:
            raise AirflowSkipException(f"skipped by soft_fail or never_fail: {error}") from error
        raise


def refresh_token(task: Any) -> bool:
    """Create a new hook after a refused token; return whether the connection has a new token."""
    refused = task.hook.settings
    task.hook.close()
    del task.hook
    if task.hook.settings == refused:
        return False
    task.log.info("The token was refused; continuing with the connection's new token")
    return True


def wait_blocking(task: Any, wait: Wait) -> None:
    """Wait in this process; continue each time that a refused token was replaced."""
    from airflow_provider_buildpixel.waits.blocking import wait_for_build  # imports requests

    while True:
        try:
            wait_for_build(task.hook.client, wait, log_writer(task.log))
        except Unauthorized:
            if not refresh_token(task):
                raise
            wait = replace(wait, resumed=True)
        else:
            return


def newer_build(task: Any, build: Build, *, retry: bool = False) -> Build | None:
    """Return the build that superseded one; None if the lists do not show it.

    :param task: the operator or sensor.
    :param retry: search again for some seconds, as lists may be stale, and raise errors. Without
        it, the build is only to be named in an error.
    """
    # Not for parsing Dags.
    from airflow_provider_buildpixel.builds import search
    from airflow_provider_buildpixel.builds.dispatch import SEARCH_PAUSES

    for pause in (0.0, *(SEARCH_PAUSES if retry else ())):
        time.sleep(pause)
        try:
            newer: Build | None = task.hook.client.run(search.newer_build(build))
        except BuildPixelError as error:
            if retry:
                raise
            task.log.info("Could not look up the build that superseded this one: %s", error)
            return None
        if newer is not None:
            return newer
    return None


def publish(context: Context, hook: BuildPixelHook, build: Build) -> None:
    """Push the XComs with the build's id, record and link, so that they exist while it runs."""
    # Not for parsing Dags.
    from airflow_provider_buildpixel.page.record import RECORD_KEY, BuildRecord, TaskInstanceKey

    ti = context["ti"]
    ti.xcom_push(key=BUILD_ID_KEY, value=build.id)
    url = hook.settings.build_page_url(build.id, build.project_id)
    if AIRFLOW_V_3_1_PLUS:  # Airflow shows the build page
        ti_key = TaskInstanceKey.from_task_instance(ti)
        record = BuildRecord.create(ti_key, hook.buildpixel_conn_id, build, hook.settings.token)
        ti.xcom_push(key=RECORD_KEY, value=record.to_json())
        url = url or record.page_url(ti_key)
    if url:
        ti.xcom_push(key=LINK_KEY, value=url)


def add_to_asset_events(context: Context, outlets: Iterable[Any], facts: dict[str, Any]) -> None:
    """Add the build's facts to the events of the task's BuildPixel assets."""
    for outlet in outlets:
        if str(getattr(outlet, "uri", "")).startswith("buildpixel:"):
            context["outlet_events"][outlet].extra.update(facts)


def make_wait(
    build_id: str,
    deadlines: Deadlines,
    *,
    channel: str,
    poll_interval: float,
    stream_logs: str | None,
) -> Wait:
    """Return the wait for a build with these deadlines."""
    return Wait(
        build_id,
        channel=channel,
        poll_interval=poll_interval,
        deadline=deadlines.expires_at,
        queue_deadline=deadlines.queue_expires_at,
        stream_logs=stream_logs,
    )
