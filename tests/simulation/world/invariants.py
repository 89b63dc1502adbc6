"""What must hold in every schedule. Nothing here repeats a decision of the code under test."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.exceptions import (
    BuildFailed,
    BuildInFlight,
    BuildSuperseded,
    DispatchUncertain,
    NotFound,
    UnexpectedAnswer,
)
from tests.simulation.world.excuses import (
    fits,
    has_unknown_line,
    may_be_mistaken_for,
    may_be_mistaken_for_that_of,
    seems_cleared,
    was_cleared_after_uncertainty,
    was_cleared_before_end,
    was_uncertain,
    with_hidden_line,
)
from tests.simulation.world.hub import CLOCK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulation.world.builds import SimBuild
    from tests.simulation.world.history import Request
    from tests.simulation.world.simulation import Simulation
    from tests.simulation.world.task import Task

FINISHED = ("success", "failed", "skipped")


LOCK_HOLDS = 400.0
"""Seconds after a request in which the lock of a lost worker surely has not expired: it expires
ten minutes after it was taken, and a task may pause for some minutes before its request."""


class Violation(AssertionError):
    """An invariant does not hold."""


def violate_if(condition: object, message: str) -> None:
    """Raise a violation."""
    if condition:
        raise Violation(message)


@dataclass
class Judge:
    """Checks each build that a task starts, and each end of a try."""

    simulation: Simulation

    def on_build(self, request: Request, build: SimBuild, superseded: list[SimBuild]) -> None:
        """Check a build that a request of a task has just created."""
        for other in request.task.history.requests:
            if other is not request and other.build is not None:
                first, last = sorted((request, other), key=lambda one: one.sent)
                self._check_repeated(first, last)
        for victim in superseded:
            self._check_superseded(request, build, victim)

    def _check_repeated(self, first: Request, last: Request) -> None:
        """Check that the task had a reason for its later one of two requests."""
        task, old = last.task, first.build
        assert old is not None
        is_new_try = first.try_number != last.try_number
        asked_for_another = any(
            first.sent <= one.sent < last.sent and one.target != last.target
            for one in task.history.requests
        )
        if asked_for_another or (is_new_try and not last.spec.durable):
            return
        if (
            first.is_surprise
            or last.is_surprise
            or self._was_mistaken(task, any_known=first.is_lost)
        ):
            return
        if has_unknown_line(task, old) or self._is_of_earlier_request(first):
            return
        if self._is_over(first, last) or was_cleared_after_uncertainty(first, last):
            return
        if was_cleared_before_end(first, last) or seems_cleared(first, last, old):
            return
        if not self.simulation.schedule.has_store and not (
            old.created < last.seen_until and old.is_live(last.sent)
        ):
            return
        status = old.status(last.sent) if old.created <= last.sent else "to come"
        raise Violation(
            f"{task.name} has two builds, {old.id} and {last.build and last.build.id}, without a "
            f"reason: the first was {status} when the second was requested"
        )

    def _is_of_earlier_request(self, request: Request) -> bool:
        """Return whether the task may have taken an earlier build of its own for a lost one."""
        return request.is_lost and any(
            may_be_mistaken_for_that_of(request, one) for one in self._known_builds(request.task)
        )

    def _is_over(self, first: Request, last: Request) -> bool:
        """Return whether a task may replace a build that it has requested before."""
        old = first.build
        assert old is not None
        if old.is_live(last.sent) or old.created > last.sent:
            return False
        is_gone = old.deleted <= last.sent or old.status(last.sent) == "failed"
        clears = last.task.history.clears
        is_cleared = any(first.sent <= clear.at <= last.sent for clear in clears)
        is_following = last.spec.on_superseded == "follow"
        return is_gone or is_cleared or (is_following and self._followed_one_failed(last, old))

    def _known_builds(self, task: Task) -> Iterator[SimBuild]:
        """Yield the builds that the task has read, or taken for its own from a list."""
        taken = set[str | None]() if task.store is None else task.store.taken
        ids = {*task.traffic.known_builds, *taken}
        return (self.simulation.service.by_id[id_] for id_ in ids if id_ is not None)

    def _was_mistaken(self, task: Task, *, any_known: bool = False) -> bool:
        """Return whether the task may have taken the build of another one for its own.

        :param any_known: every build that it has read counts, not only those that it has stored.
        """
        return any(
            may_be_mistaken_for(task, build)
            for build in self._known_builds(task)
            if any_known
            or task.store is None
            or not task.used.durable
            or build.id in task.store.taken
        )

    def _followed_one_failed(self, last: Request, old: SimBuild) -> bool:
        """Return whether a newer build, which the task has followed, has failed."""
        return any(
            build.number > old.number
            and build.has_place_of(old)
            and (build.status(last.sent) == "failed" or build.deleted <= last.sent)
            for build in self._known_builds(last.task)
        )

    def _check_superseded(self, request: Request, build: SimBuild, victim: SimBuild) -> None:
        """Check that a live build of others was superseded only as the policy says."""
        task, policy = request.task, request.spec.on_in_flight
        owner = victim.request.task if victim.request else None
        if owner is task or policy == "supersede" or request.is_surprise:
            return
        if has_unknown_line(task, victim):
            return
        if policy == "adopt" and not self._can_adopt(request, victim):
            return
        is_unseen = victim.created >= request.seen_until
        if is_unseen and not self._is_locked_out(request, build, victim):
            return
        raise Violation(
            f"{task.name} with on_in_flight={policy!r} superseded {victim.id} of "
            f"{victim.triggered_by} with {build.id}"
        )

    def _is_locked_out(self, request: Request, build: SimBuild, victim: SimBuild) -> bool:
        """Return whether the lock must have kept two tasks from starting both builds."""
        schedule, other = self.simulation.schedule, victim.request
        return (
            schedule.has_variables
            and other is not None
            and other.spec.on_in_flight != "supersede"
            and max(build.created - request.sent, victim.created - other.sent) < LOCK_HOLDS
            and not other.is_surprise
            and not self._was_mistaken(request.task, any_known=True)
            and not self._was_mistaken(other.task, any_known=True)
            and not was_uncertain(request, build.created)
            and not was_uncertain(other, build.created)
        )

    def _can_adopt(self, request: Request, victim: SimBuild) -> bool:
        read = request.seen_until
        is_reported = not self.simulation.service.spec.late_commit or (
            victim.created <= read and victim.status(read) != "pending"
        )
        return fits(victim, request.target) and (is_reported or not request.target.revision)

    def on_success(self, task: Task, facts: dict[str, Any]) -> None:
        """Check what a task returns."""
        build, now = self.simulation.service.by_id[facts["build_id"]], CLOCK.hub.now
        violate_if(
            task.used.wait_for_completion and build.status(now) != "complete",
            f"{task.name} returned {build.id}, which is {build.status(now)}",
        )
        self._check_source(task, build)
        is_followed = task.used.on_superseded == "follow" and build.request not in (
            task.history.requests
        )
        targets = [with_hidden_line(task, build, one) for one in task.asked_in_try]
        if task.store is None and self.simulation.service.spec.late_commit:
            targets = [replace(target, revision="") for target in targets]
        violate_if(
            not any(fits(build, one, any_setting=is_followed) for one in targets)
            and not may_be_mistaken_for(task, build),
            f"{task.name} returned {build.id}, which is not what it asks for: {task.target()}",
        )
        spec = self.simulation.service.spec
        lag = spec.staleness if task.store is None else 0.0  # lists showed the build as live
        for clear in task.history.clears:
            is_unclear = clear.state != "success" and any(
                at <= clear.at for at in task.history.edits_of_retries
            )
            violate_if(
                clear.state in FINISHED and build.end <= clear.at - lag and not is_unclear,
                f"{task.name} returned {build.id}, which had ended before its Clear",
            )
        self._check_uncertainty(task, None, build)

    def _check_source(self, task: Task, build: SimBuild) -> None:
        """Check that a build was made for the task."""
        request = build.request
        if request is not None and request.task is task:
            return
        specs = {task.used} | task.traffic.known_builds.get(build.id, set())
        if any(one.on_in_flight == "adopt" or one.on_superseded == "follow" for one in specs):
            return
        is_documented = not self.simulation.schedule.has_store and build.created >= task.run.started
        if is_documented and not (build.triggered_by or "").startswith(("push", "cron")):
            return
        if may_be_mistaken_for(task, build):
            return
        raise Violation(f"{task.name} returned {build.id}, a build of {build.triggered_by}")

    def on_error(self, task: Task, error: BaseException) -> None:
        """Check the error that a try ends with."""
        now = CLOCK.hub.now
        build = self.simulation.service.by_id.get(getattr(getattr(error, "build", None), "id", ""))
        self._check_uncertainty(task, error, build)
        match error:
            case DispatchUncertain():
                task.history.uncertain.append(now)
                violate_if(not task.history.losses, f"nothing is uncertain for {task.name}")
            case BuildInFlight() if build is not None:
                seen = task.traffic.seen_until
                is_in_the_way = any(
                    build.line == with_hidden_line(task, build, asked).line
                    and build.spec.project == asked.setting.project
                    for asked in task.asked_in_try
                )
                violate_if(not is_in_the_way, f"{build.id} is not in the way of {task.name}")
                violate_if(build.end < seen, f"{build.id} had ended when {task.name} refused")
            case BuildFailed() | BuildSuperseded() if build is not None:
                violate_if(
                    build.status(now) not in ("failed", "superseded"), f"{build.id} has not failed"
                )
                if task.used.on_superseded != "follow":
                    self._check_source(task, build)
            case NotFound():
                builds = self.simulation.service.builds
                violate_if(all(one.deleted > now for one in builds), f"nothing is gone: {error}")
            case UnexpectedAnswer():
                raise Violation(f"{task.name} could not read an answer: {error}")

    def _check_uncertainty(
        self, task: Task, error: BaseException | None, build: SimBuild | None
    ) -> None:
        """Check that a try with a lost request whose build it has not found says so."""
        if isinstance(error, DispatchUncertain) or self._was_mistaken(task):
            return
        for request in task.history.requests:
            runs = request.build is not None or request.runs_at is not None
            is_deleted = request.build is not None and request.build.deleted <= CLOCK.hub.now
            runs = runs and not request.is_surprise and not is_deleted
            known = request.build is not None and (
                request.build is build or request.build in self._known_builds(task)
            )
            known |= self._is_of_earlier_request(request)
            is_of_this_try = request.try_number == task.try_number
            violate_if(
                request.is_lost and runs and not known and is_of_this_try,
                f"a request of {task.name} may have run, but it ended with {error!r}",
            )

    def at_end(self, *, is_over: bool) -> None:
        """Check that no task hangs."""
        unfinished = [task.name for task in self.simulation.tasks if not task.is_over]
        violate_if(not is_over, f"the simulation does not end: {unfinished}")
        violate_if(unfinished, f"these tasks do not end: {unfinished}")
