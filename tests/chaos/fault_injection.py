"""Injects the fault of one cell into a running task, at the right moment.

A fault has to hit one request of many. If its phase has no request of its own, the sandbox holds
the request of the phase before while the fault is injected: no other request is in progress then.
"""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.sandbox.faults.malformed import EVENT_SHAPES
from tests.chaos.table import ROUTES
from tests.tasks.stage import count_reads, dispatched_builds

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.sandbox import Sandbox
    from airflow_provider_buildpixel.sandbox.faults.registry import Fault
    from tests.chaos.table import Cell

TIMEOUT = 150.0
"""Seconds to wait for any condition."""

OUTAGE_SECONDS = 1.0
"""Seconds for which the service refuses connections."""

REQUEST_TIMEOUT = 6.0
"""Seconds for one request where one hangs: long enough for a busy machine."""


class TaskEndedError(Exception):
    """The task ended, or the timeout passed, before the expected condition was true."""


@dataclass
class FaultInjection:
    """One running cell: its sandbox, its connection, and the injected fault.

    :param hits: returns how often the fault was hit.
    :param hit_at: when it was hit first, on the monotonic clock.
    """

    cell: Cell
    sandbox: Sandbox
    conn_id: str
    task_ended: threading.Event = field(default_factory=threading.Event)
    hits: Callable[[], int] = lambda: 0
    hit_at: float = 0.0

    @property
    def kind(self) -> str:
        """The name of the fault or action."""
        return self.cell.row.kind

    def store_token(self, token: str) -> None:
        """Store a token in the cell's connection."""
        extra = {"request_timeout": REQUEST_TIMEOUT} if self.kind == "hang" else {}
        fields = {"conn_type": "buildpixel", "host": self.sandbox.url, "password": token}
        os.environ[f"AIRFLOW_CONN_{self.conn_id.upper()}"] = json.dumps({**fields, "extra": extra})

    def wait_until(self, condition: Callable[[], Any]) -> None:
        """Wait for a condition.

        :raises TaskEndedError: the condition is still false at the end of the task.
        """
        end = time.monotonic() + TIMEOUT
        while not condition():
            if self.task_ended.is_set() and not condition():
                raise TaskEndedError
            if time.monotonic() > end:
                raise TaskEndedError
            time.sleep(0.01)

    def inject(self, *, after: int = 0) -> None:
        """Inject the cell's fault into the next request, or into a later one."""
        rule, row = self.cell.row.rule, self.cell.row
        kind = "404" if row.kind == "the build is deleted" else row.kind
        route = row.route(self.cell.phase) or ROUTES[self.cell.phase]
        params: dict[str, Any] = (
            {"route": route} if row.layer in {"http", "action"} or row.at_store else {}
        )
        self.count_hits_of(self.sandbox.fault(kind, **params, after=after, **rule.params))

    def count_hits_of(self, fault: Fault) -> None:
        """Count the hits of this fault from now on."""
        self.hits = lambda: fault.hits
        if self.kind == "held":
            self._start_thread(lambda: self._release_later(fault))

    def _start_thread(self, work: Callable[[], None]) -> None:
        threading.Thread(target=work, daemon=True).start()

    def _release_later(self, fault: Fault) -> None:
        """Remove a fault some time after it was hit."""
        while not fault.hits and not self.task_ended.is_set():
            time.sleep(0.01)
        time.sleep(0.5)
        fault.remove()

    def hold_request(self, *, after: int = 0, done: bool = False) -> Fault:
        """Let the sandbox hold the next request of the phase."""
        route = ROUTES[self.cell.phase]
        return self.sandbox.fault("held", route, times=1, after=after, done=done)

    def inject_while_held(self, held: Fault) -> None:
        """Inject a fault that has no route, while the phase's request is held."""
        self.wait_until(lambda: held.hits)
        self.hits, self.hit_at = (lambda: held.hits), time.monotonic()
        match self.kind:
            case "refuse-connections":
                outage = self.sandbox.fault("refuse-connections")
                time.sleep(OUTAGE_SECONDS)
                outage.remove()
            case "revoked-token":
                self.sandbox.fault("revoked-token")
            case "the token is replaced":
                self._replace_token(self.sandbox.token)
            case "the token is replaced twice":
                second = self._replace_token(self.sandbox.token)
                held.remove()
                self._wait_until_used(second)
                self._wait_until_used(self._replace_token(second))
        held.remove()

    def _replace_token(self, token: str) -> str:
        """Store a new token in the connection, then revoke the old one; return the new one."""
        new = self.sandbox.issue_token()
        self.store_token(new)
        self.sandbox.revoke(token)
        return new

    def _wait_until_used(self, token: str) -> None:
        bearer = f"Bearer {token}"
        sandbox = self.sandbox
        self.wait_until(
            lambda: any(r.headers.get("Authorization") == bearer for r in sandbox.requests)
        )

    @property
    def needs_held_request(self) -> bool:
        """Whether the fault has no route."""
        return self.kind in {"refuse-connections", "revoked-token"} or self.kind.startswith(
            "the token is replaced"
        )

    def wait_for_hit(self) -> None:
        """Wait until the fault was hit."""
        self.wait_until(self.hits)
        self.hit_at = self.hit_at or time.monotonic()


def prepare(injection: FaultInjection) -> Callable[[], None]:
    """Inject what is needed before the task starts; return what to do while it runs."""
    phase = injection.cell.phase
    if phase == "waiting":
        return lambda: inject_while_waiting(injection)
    if phase == "concluding":
        return lambda: inject_into_last_read(injection)
    # The first read of a build belongs to its dispatch.
    after = 1 if phase == "joining" and not injection.cell.row.socket_only else 0
    if injection.needs_held_request:
        held = injection.hold_request(after=after)
        return lambda: complete_after(injection, lambda: injection.inject_while_held(held))
    injection.inject(after=after)
    return lambda: complete_after(injection, injection.wait_for_hit)


def complete_after(injection: FaultInjection, action: Callable[[], None]) -> None:
    """Complete the build after an action, unless the fault is permanent."""
    action()
    if injection.cell.phase in {"joining", "waiting"} and not injection.cell.row.rule.permanent:
        complete(injection)


def complete(injection: FaultInjection, *, emit: bool = True) -> None:
    """Complete the build."""
    build_id = dispatched_builds(injection.sandbox)[0]
    injection.sandbox.set_status(build_id, "complete", emit=emit)


def wait_for_wait(injection: FaultInjection) -> str:
    """Wait until the task waits, and has joined its room over the socket; return its build."""
    sandbox = injection.sandbox
    injection.wait_until(lambda: dispatched_builds(sandbox))
    build_id = dispatched_builds(sandbox)[0]
    injection.wait_until(lambda: count_reads(sandbox, build_id) >= 2)
    if injection.cell.channel == "socket":
        injection.wait_until(lambda: sandbox.joined(build_id))
    return build_id


def inject_while_waiting(injection: FaultInjection) -> None:
    """Inject the fault while the task waits."""
    build_id = wait_for_wait(injection)
    row = injection.cell.row
    if injection.needs_held_request:
        complete_after(injection, lambda: injection.inject_while_held(injection.hold_request()))
    elif injection.kind == "the service is deployed":
        complete_after(injection, lambda: deploy(injection, build_id))
    elif row.layer in {"socket", "connect", "join"}:
        injection.inject()
        injection.sandbox.drop_sockets()
        complete_after(injection, injection.wait_for_hit)
    else:
        injection.inject()
        if row.layer == "event":
            for number in range(len(EVENT_SHAPES)):
                injection.sandbox.log(build_id, f"[{number}/240] Compile Module.cpp")
        complete_after(injection, lambda: None)
        injection.wait_for_hit()


def deploy(injection: FaultInjection, build_id: str) -> None:
    """Disconnect all sockets, and wait until the task has joined its room again."""
    injection.sandbox.kick_sockets()
    injection.hits, injection.hit_at = (lambda: 1), time.monotonic()
    injection.wait_until(lambda: injection.sandbox.joined(build_id))


def inject_into_last_read(injection: FaultInjection) -> None:
    """Inject the fault into the read that follows the wait."""
    wait_for_wait(injection)
    route = ROUTES["concluding"]
    first = injection.sandbox.fault("hang", route, times=1)
    injection.wait_until(lambda: first.hits)
    complete(injection, emit=False)
    last = injection.hold_request(done=True)
    first.remove()
    injection.wait_until(lambda: last.hits)
    if injection.needs_held_request:
        held = injection.hold_request()
        last.remove()
        injection.inject_while_held(held)
    else:
        injection.inject()
        last.remove()
        injection.wait_for_hit()
