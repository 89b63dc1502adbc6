"""How tasks of this provider wait, fail and report: shared by the operator and the sensor."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypedDict

from airflow.providers.common.compat.sdk import AirflowSkipException, conf
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS

from airflow_provider_buildpixel.core.deadlines import (
    EXECUTION_TIMEOUT,
    QUEUE_TIMEOUT,
    Deadlines,
)
from airflow_provider_buildpixel.core.places import RECORD_KEY, Place, Record
from airflow_provider_buildpixel.core.verdict import duration
from airflow_provider_buildpixel.core.waiting import Wait
from airflow_provider_buildpixel.exceptions import BuildPixelError, BuildTimeout, Unauthorized
from airflow_provider_buildpixel.links.buildpixel import LINK_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_buildpixel.core.model import Build
    from airflow_provider_buildpixel.core.narration import Record as Told
    from airflow_provider_buildpixel.hooks.buildpixel import BuildPixelHook

LEVELS = {"info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
BUILD_ID_KEY = "build_id"
MAX_ROUNDS = 100
"""Deferrals of one task: each follows a change or an hour of trouble, so more is a fault."""

PAD = 300.0
"""Seconds after which Airflow itself ends a deferral whose trigger did not keep its deadline."""

EARLY = 5.0
"""Seconds that we end a wait before ``execution_timeout``, so that the error says what goes on."""


@dataclass(frozen=True)
class Progress:
    """What a waiting task knows of itself, carried over deferrals as plain JSON.

    :param dispatched_at: from when ``timeout`` and ``queue_timeout`` count.
    :param started_at: from when ``execution_timeout`` counts. Both seconds since the epoch.
    :param rounds: deferrals so far.
    :param followed: newer builds gone on to so far.
    :param queued_at: from when ``queue_timeout`` counts instead, for such a newer build.
    """

    dispatched_at: float
    started_at: float
    rounds: int = 0
    followed: int = 0
    queued_at: float | None = None

    @classmethod
    def of(cls, context: Context) -> Progress:
        """Begin now, as for the dispatch, and with the task's own start."""
        now = time.time()
        start = getattr(context["ti"], "start_date", None)
        return cls(dispatched_at=now, started_at=start.timestamp() if start else now)

    @classmethod
    def from_json(cls, context: Context, data: Any) -> Progress:
        """Read what :meth:`to_json` wrote; ``dag.test`` drops it, then it begins anew."""
        known = data if isinstance(data, dict) else {}
        if not {"dispatched_at", "started_at"} <= known.keys():
            return cls.of(context)
        return cls(**{name: known[name] for name in cls.__dataclass_fields__ if name in known})

    def to_json(self) -> dict[str, Any]:
        """Give it as plain JSON."""
        return asdict(self)

    def since(self, dispatched_at: float) -> Progress:
        """Count from the dispatch of a build."""
        return replace(self, dispatched_at=dispatched_at)

    def following(self, queued_at: float) -> Progress:
        """Go on to a newer build, which has its own time in the queue."""
        return replace(self, followed=self.followed + 1, queued_at=queued_at)

    def next_round(self) -> Progress:
        """Count one more deferral.

        :raises BuildPixelError: there were too many.
        """
        if self.rounds >= MAX_ROUNDS:
            raise BuildPixelError(
                f"the wait was resumed {self.rounds} times and the build has not ended; look at "
                "the triggerer's log"
            )
        return replace(self, rounds=self.rounds + 1)

    def deadlines(
        self,
        *,
        timeout: float | None,
        queue_timeout: float | None,
        execution_timeout: timedelta | None,
    ) -> Deadlines:
        """Give the instants at which the wait gives up."""
        limit = None if execution_timeout is None else execution_timeout.total_seconds()
        return Deadlines.of(
            dispatched_at=self.dispatched_at,
            started_at=self.started_at,
            timeout=timeout,
            execution_timeout=None if limit is None else limit - min(EARLY, limit / 10),
            queue_timeout=queue_timeout,
            queued_at=self.queued_at,
        )


class Hold(TypedDict):
    """Arguments of a trigger."""

    hold: float
    not_before: float


def hold() -> Hold:
    """Give the trigger's arguments that say how long a deferred task must not come back.

    Airflow's scheduler takes a task for failed that is queued again while the report of its
    worker's end is still under way, and the worker's supervisor looks only every
    ``[workers] min_heartbeat_interval`` seconds.
    """
    interval = float(conf.getfloat("workers", "min_heartbeat_interval", fallback=5.0))
    seconds = interval + 5.0
    return {"hold": seconds, "not_before": time.time() + seconds}


def patience(deadlines: Deadlines, now: float) -> timedelta | None:
    """Give Airflow's own limit for a deferral: ours and some more, in case the trigger is lost."""
    left = deadlines.left(now)
    return None if left is None else timedelta(seconds=left + PAD)


def timed_out(reason: str, limit: float, build: Build, url: str | None) -> BuildTimeout:
    """Make the error of a wait that took too long."""
    what = {
        QUEUE_TIMEOUT: "is still queued",
        EXECUTION_TIMEOUT: f"is {build.status}",
    }.get(reason, f"is {build.status}")
    where = f"; look at {url}" if url else ""
    return BuildTimeout(
        f"{build.title} {what} after {reason} of {duration(limit)}. The build goes on: BuildPixel "
        f"has no way to cancel it over the API{where}",
        build=build,
    )


def teller(log: Any) -> Callable[[Told], None]:
    """Write what a wait has to tell into the task's log."""

    def tell(record: Told) -> None:
        log.log(LEVELS[record.level], "%s", record.text)

    return tell


@contextmanager
def softly(sensor: Any) -> Iterator[None]:
    """Turn errors into a skip where ``soft_fail`` asks for it, in every mode alike."""
    try:
        yield
    except BuildPixelError as error:
        if sensor.soft_fail or sensor.never_fail:
            raise AirflowSkipException(f"skipped by soft_fail or never_fail: {error}") from error
        raise


def renewed(task: Any) -> bool:
    """Take a new hook after a refused token; tell whether the connection has another one now."""
    refused = task.hook.settings
    task.hook.close()
    del task.hook
    if task.hook.settings == refused:
        return False
    task.log.info("The token was refused, and the connection has a new one: going on with it")
    return True


def block(task: Any, wait: Wait) -> None:
    """Wait in this process, over a token that is replaced meanwhile, however often."""
    while True:
        try:
            task.hook.client.wait(wait, teller(task.log))
        except Unauthorized:
            if not renewed(task):
                raise
            wait = replace(wait, resumed=True)
        else:
            return


def newer(task: Any, build: Build) -> Build | None:
    """Name the build that superseded one, if the list can be had: the error comes anyway."""
    from airflow_provider_buildpixel.client.dispatching import successor  # loads requests

    try:
        return successor(task.hook.client, build)
    except BuildPixelError as error:
        task.log.info("The newer build could not be looked up: %s", error)
        return None


def publish(context: Context, hook: BuildPixelHook, build: Build) -> None:
    """Push the build's id, its record and its link at once: they are there while the task runs."""
    ti = context["ti"]
    ti.xcom_push(key=BUILD_ID_KEY, value=build.id)
    url = hook.settings.build_page(build.id, build.project_id)
    if AIRFLOW_V_3_1_PLUS:  # Airflow has the build's page
        place = Place.of(ti)
        record = Record.made(place, hook.buildpixel_conn_id, build, hook.settings.token)
        ti.xcom_push(key=RECORD_KEY, value=record.to_json())
        url = url or record.page(place)
    if url:
        ti.xcom_push(key=LINK_KEY, value=url)


def announce(context: Context, outlets: Iterable[Any], facts: dict[str, Any]) -> None:
    """Put the build's facts into the events of the task's BuildPixel assets."""
    for outlet in outlets:
        if str(getattr(outlet, "uri", "")).startswith("buildpixel:"):
            context["outlet_events"][outlet].extra.update(facts)


def wait_for(  # the sides of a wait
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
