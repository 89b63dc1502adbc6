"""How builds will go: what a test or a demo scripts before they are queued."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Plan:
    """The course of one build; all durations are in sandbox seconds.

    :param outcome: ``complete``, ``failed``, ``dies`` (logs stop, failed half a minute later),
        ``hangs`` (runs for ever), ``stays_pending``, or any other word, which then is the last
        status reported.
    :param queue: how long it is pending.
    :param run: how long it is running.
    :param failure: the way to fail: ``compile``, ``cook``, ``stage``, ``repository``,
        ``perforce``.
    :param errors: replaces the error lines of that.
    :param artifact_bytes: size of the artifact; None makes none.
    :param lines: a number of log lines, or the very lines.
    :param through: statuses to report between pending and running.
    :param death: from the last line of one that dies to its failure.
    :param deploy: what becomes of the auto-deploy.
    """

    outcome: str = "complete"
    queue: float = 2.0
    run: float = 30.0
    failure: str = "compile"
    errors: tuple[str, ...] = ()
    artifact_bytes: int | None = 1_000_000
    lines: int | tuple[str, ...] = 24
    through: tuple[str, ...] = ()
    death: float = 28.0
    deploy: str = "complete"

    @property
    def result(self) -> str:
        """Name the terminal status that the outcome leads to."""
        return "failed" if self.outcome == "dies" else self.outcome


@dataclass
class _Booking:
    plan: Plan
    times: int
    setting_id: str | None


class Plans:
    """Plans waiting for their builds, oldest first; a default when none fits."""

    def __init__(self, default: Plan) -> None:
        """Take what to do when nothing was planned."""
        self.default = default
        self._bookings: deque[_Booking] = deque()

    def book(self, plan: Plan, times: int, setting_id: str | None) -> None:
        """Use a plan for so many builds, of one build setting or of any."""
        self._bookings.append(_Booking(plan, times, setting_id))

    def take(self, setting_id: str) -> Plan:
        """Return the plan of a build that is being queued now."""
        for booking in self._bookings:
            if booking.setting_id in {None, setting_id}:
                return self._spend(booking)
        return self.default

    def _spend(self, booking: _Booking) -> Plan:
        booking.times -= 1
        if booking.times <= 0:
            self._bookings.remove(booking)
        return booking.plan


def plan_from(default: Plan, **changes: object) -> Plan:
    """Return a plan that differs from the default, from JSON or from Python alike."""
    for name in ("errors", "through"):
        if name in changes:
            changes[name] = tuple(changes[name])  # type: ignore[arg-type]
    if isinstance(changes.get("lines"), list):
        changes["lines"] = tuple(changes["lines"])  # type: ignore[arg-type]
    return replace(default, **changes)  # type: ignore[arg-type]
