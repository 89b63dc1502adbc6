"""What hooks, operators and triggers say of a wait, apart from the waiting itself.

Every parse of a Dag imports this, so the machines are imported only when a wait begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import inf
from typing import TYPE_CHECKING

from airflow_provider_buildpixel.core.model import Build, Status
from airflow_provider_buildpixel.core.settings import channel as checked_channel
from airflow_provider_buildpixel.exceptions import ArtifactUnavailable, BuildTimeout, InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.core.logs import LogLine
    from airflow_provider_buildpixel.core.model import Dispatch, Identity
    from airflow_provider_buildpixel.core.narration import Allowance, Narration, Record
    from airflow_provider_buildpixel.core.watch import Pacing, Watch
    from airflow_provider_buildpixel.exceptions import NotFound


ON_IN_FLIGHT = ("supersede", "adopt", "wait", "fail")
STREAMS = ("all", "warn", "error", None)


@dataclass(frozen=True)
class Wait:
    """One wait for one build, as plain values.

    :param channel: ``auto``, ``socketio`` or ``polling``.
    :param deadline: for the end, in seconds since the epoch.
    :param queue_deadline: for leaving the queue, likewise.
    :param stream: which log lines are told: ``all``, ``warn``, ``error`` or None.
    :param resumed: an earlier run of this wait has told what came before.
    :param patient: a build that is not there is waited for like any other, until the deadline.
    """

    build_id: str
    channel: str = "auto"
    poll_interval: float = 30.0
    deadline: float | None = None
    queue_deadline: float | None = None
    stream: str | None = "all"
    resumed: bool = False
    patient: bool = False

    def watch(self, now: float, wall: float, chance: Callable[[], float]) -> Watch:
        """Make its machine.

        :param now: monotonic clock.
        :param wall: seconds since the epoch at the same instant.
        """
        from airflow_provider_buildpixel.core.watch import Watch

        return Watch(
            now,
            pacing=_pacing(self.poll_interval, patient=self.patient),
            until=None if self.deadline is None else now + self.deadline - wall,
            queue_until=None if self.queue_deadline is None else now + self.queue_deadline - wall,
            live=self.channel != "polling",
            insist=self.channel == "socketio",
            chance=chance,
        )

    def narration(self, now: float, common: Allowance | None = None) -> Narration:
        """Make its narration.

        :param common: what all waits of the process may tell together.
        """
        from airflow_provider_buildpixel.core.narration import Narration

        title = f"build {self.build_id}"
        return Narration(now, stream=self.stream, title=title, common=common, resumed=self.resumed)


@lru_cache
def _pacing(poll_interval: float, *, patient: bool) -> Pacing:
    """Give the pacing that all waits with these parameters share."""
    from airflow_provider_buildpixel.core.watch import Pacing

    return Pacing(poll_interval=poll_interval, absence=inf if patient else Pacing.absence)


def checked(channel: str | None, poll_interval: float, stream: str | None) -> None:
    """Refuse parameters of a wait that make no sense, before anything is dispatched."""
    problems = []
    try:
        checked_channel(channel or "auto")
    except ValueError as error:
        problems.append(str(error))
    if not _seconds(poll_interval):
        problems.append(f"poll_interval must be seconds above 0, not {poll_interval!r}")
    if stream not in STREAMS:
        problems.append(f"stream_logs must be one of {STREAMS}, not {stream!r}")
    if problems:
        raise InvalidRequest("; ".join(problems))


def limited(**limits: object) -> None:
    """Refuse time limits that are no seconds, before anything is dispatched."""
    for name, limit in limits.items():
        if limit is not None and not _seconds(limit):
            raise InvalidRequest(f"{name} must be seconds above 0 or None, not {limit!r}")


def _seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < inf


def rendered(**given: object) -> None:
    """Refuse what Jinja writes for a value that is not there, before anything is dispatched."""
    for name, value in given.items():
        if isinstance(value, str) and value.strip() == "None":
            raise InvalidRequest(f"{name} is None; check what its template rendered to")


def one_of(name: str, value: object, allowed: tuple[object, ...]) -> None:
    """Refuse a value that a parameter does not know."""
    if value not in allowed:
        raise InvalidRequest(f"{name} must be one of {allowed}, not {value!r}")


def greeting(identity: Identity) -> str:
    """Say whom a token belongs to, and what it cannot do."""
    who = identity.email or identity.name or identity.user_id or "an unnamed user"
    message = (
        f"Connected as {who}, organization {identity.organization or 'unknown'}, "
        f"plan {identity.plan or 'unknown'}, role {identity.role or 'unknown'}"
    )
    if identity.may_trigger:
        return message
    return f"{message}. Warning: a viewer can follow builds and fetch artifacts, but not trigger"


def queued(dispatch: Dispatch, project_id: str, build_setting_id: str) -> Build:
    """Give the build that a trigger request has just started, as far as its answer tells."""
    return Build(
        dispatch.build_id,
        Status("pending"),
        project_id=project_id,
        build_setting_id=build_setting_id,
        raw=dispatch.raw,
    )


def unavailable(build_id: str, error: NotFound) -> ArtifactUnavailable:
    """Say that a build has no artifact."""
    return ArtifactUnavailable(
        f"build {build_id} has no artifact: it never made one, or retention removed it",
        status_code=error.status_code,
        code=error.code,
        request_id=error.request_id,
    )


def lines_to(on_log: Callable[[LogLine], None] | None) -> Callable[[Record], None]:
    """Pass the build's own lines on, and nothing else that a wait has to tell."""

    def tell(record: Record) -> None:
        if on_log is not None and record.line is not None:
            on_log(record.line)

    return tell


def waited(
    build_id: str,
    *,
    channel: str,
    poll_interval: float,
    timeout: float | None,
    now: float,
    stream: str | None,
) -> Wait:
    """Put the wait of a hook together.

    :param timeout: seconds from ``now``, which is seconds since the epoch.
    :raises InvalidRequest: a parameter makes no sense.
    """
    checked(channel, poll_interval, stream)
    limited(timeout=timeout or None)
    deadline = None if timeout is None else now + timeout
    return Wait(build_id, channel, poll_interval, deadline=deadline, stream=stream)


def ended(build_id: str, build: Build | None, timeout: float | None) -> Build:
    """Give a build as read when the time was over, and raise if it has not ended by then.

    :param build: None where it could not be read.
    """
    if build is not None and build.status.terminal:
        return build
    known = f"{build.title} is {build.status} and" if build else f"build {build_id}"
    raise BuildTimeout(
        f"{known} did not end within {timeout:g} s; it goes on, as BuildPixel has no way to "
        "cancel it",
        build=build or Build(build_id, Status("")),
    )
