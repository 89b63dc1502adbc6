"""One cell in progress: a sandbox of its own, and the trouble ordered at the right moment.

A fault has to strike one request of many. Where its phase does not have a request of its own, the
one before is held meanwhile: by then nothing else is under way.
"""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.sandbox.odd import SHAPES
from tests.chaos.table import ROUTES
from tests.tasks.stage import dispatched, reads

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.sandbox import Sandbox
    from airflow_provider_buildpixel.sandbox.faults import Fault
    from tests.chaos.table import Cell

PATIENCE = 150.0
"""Seconds after which what a scene waits for will not come."""

SHUT = 1.0
"""Seconds for which nothing can connect."""

HURRY = 6.0
"""Seconds for one request where one hangs: long enough for a busy machine."""


class OverError(Exception):
    """The task ended before what was waited for."""


@dataclass
class Scene:
    """A cell, its sandbox, and what was done to it.

    :param hits: counts how often the trouble struck.
    :param struck_at: when it did first, on the monotonic clock.
    """

    cell: Cell
    sandbox: Sandbox
    conn_id: str
    over: threading.Event = field(default_factory=threading.Event)
    hits: Callable[[], int] = lambda: 0
    struck_at: float = 0.0

    @property
    def kind(self) -> str:
        """The name of the fault or act."""
        return self.cell.row.kind

    def connect(self, token: str) -> None:
        """Put a token into the cell's connection."""
        extra = {"request_timeout": HURRY} if self.kind == "hang" else {}
        given = {"conn_type": "buildpixel", "host": self.sandbox.url, "password": token}
        os.environ[f"AIRFLOW_CONN_{self.conn_id.upper()}"] = json.dumps({**given, "extra": extra})

    def until(self, true: Callable[[], Any]) -> None:
        """Wait until something is true."""
        end = time.monotonic() + PATIENCE
        while not true():
            if self.over.is_set() and not true():
                raise OverError
            if time.monotonic() > end:
                raise OverError
            time.sleep(0.01)

    def order(self, *, after: int = 0) -> None:
        """Order the cell's fault, to strike what is asked next."""
        rule, row = self.cell.row.rule, self.cell.row
        kind = "404" if row.kind == "the build is deleted" else row.kind
        route = row.route(self.cell.phase) or ROUTES[self.cell.phase]
        given: dict[str, Any] = (
            {"route": route} if row.place in {"http", "act"} or row.at_store else {}
        )
        self.watch(self.sandbox.fault(kind, **given, after=after, **rule.order))

    def watch(self, fault: Fault) -> None:
        """Take a fault for the one whose strikes count."""
        self.hits = lambda: fault.hits
        if self.kind == "held":
            self.later(lambda: self.let_go(fault))

    def later(self, work: Callable[[], None]) -> None:
        """Do something beside the story."""
        threading.Thread(target=work, daemon=True).start()

    def let_go(self, fault: Fault) -> None:
        """Remove a fault some time after it struck."""
        while not fault.hits and not self.over.is_set():
            time.sleep(0.01)
        time.sleep(0.5)
        fault.remove()

    def latch(self, *, after: int = 0, done: bool = False) -> Fault:
        """Order that the next request of the phase is held."""
        route = ROUTES[self.cell.phase]
        return self.sandbox.fault("held", route, times=1, after=after, done=done)

    def strike_latched(self, latch: Fault) -> None:
        """Do what is no fault of a request, while the phase's request is held."""
        self.until(lambda: latch.hits)
        self.hits, self.struck_at = (lambda: latch.hits), time.monotonic()
        match self.kind:
            case "refuse-connections":
                door = self.sandbox.fault("refuse-connections")
                time.sleep(SHUT)
                door.remove()
            case "revoked-token":
                self.sandbox.fault("revoked-token")
            case "the token is replaced":
                self.replace(self.sandbox.token)
            case "the token is replaced twice":
                second = self.replace(self.sandbox.token)
                latch.remove()
                self.used(second)
                self.used(self.replace(second))
        latch.remove()

    def replace(self, token: str) -> str:
        """Revoke a token; give the new one, which the connection has by then."""
        new = self.sandbox.issue_token()
        self.connect(new)
        self.sandbox.revoke(token)
        return new

    def used(self, token: str) -> None:
        """Wait until a token has been used."""
        bearer = f"Bearer {token}"
        sandbox = self.sandbox
        self.until(lambda: any(r.headers.get("Authorization") == bearer for r in sandbox.requests))

    @property
    def latched(self) -> bool:
        """Whether the trouble is none that a route can be given for."""
        return self.kind in {"refuse-connections", "revoked-token"} or self.replaced

    @property
    def replaced(self) -> bool:
        """Whether it is the token that changes."""
        return self.kind.startswith("the token is replaced")

    def struck(self) -> None:
        """Wait until the trouble has struck."""
        self.until(self.hits)
        self.struck_at = self.struck_at or time.monotonic()


def prepare(scene: Scene) -> Callable[[], None]:
    """Order what has to be ordered before the task starts; give what happens meanwhile."""
    phase = scene.cell.phase
    if phase in {"waiting", "concluding"}:
        return {"waiting": lambda: waiting(scene), "concluding": lambda: concluding(scene)}[phase]
    # The first read of a build belongs to its dispatch.
    after = 1 if phase == "joining" and not scene.cell.row.socket_only else 0
    if scene.latched:
        latch = scene.latch(after=after)
        return lambda: ended(scene, lambda: scene.strike_latched(latch))
    scene.order(after=after)
    return lambda: ended(scene, scene.struck)


def ended(scene: Scene, first: Callable[[], None]) -> None:
    """Let the build end well after something else, unless the trouble lasts."""
    first()
    if scene.cell.phase in {"joining", "waiting"} and not scene.cell.row.rule.lasts:
        complete(scene)


def complete(scene: Scene, *, emit: bool = True) -> None:
    """Let the build end well."""
    build_id = dispatched(scene.sandbox)[0]
    scene.sandbox.set_status(build_id, "complete", emit=emit)


def waits(scene: Scene) -> str:
    """Wait until the task waits, its room joined if it has one; give its build."""
    sandbox = scene.sandbox
    scene.until(lambda: dispatched(sandbox))
    build_id = dispatched(sandbox)[0]
    scene.until(lambda: reads(sandbox, build_id) >= 2)
    if scene.cell.channel == "socket":
        scene.until(lambda: sandbox.joined(build_id))
    return build_id


def waiting(scene: Scene) -> None:
    """Strike a task that waits."""
    build_id = waits(scene)
    row = scene.cell.row
    if scene.latched:
        ended(scene, lambda: scene.strike_latched(scene.latch()))
    elif scene.kind == "the service is deployed":
        ended(scene, lambda: deployed(scene, build_id))
    elif row.place in {"socket", "connect", "join"}:
        scene.order()
        scene.sandbox.drop_sockets()
        ended(scene, scene.struck)
    else:
        scene.order()
        if row.place == "event":
            for number in range(len(SHAPES)):
                scene.sandbox.log(build_id, f"[{number}/240] Compile Module.cpp")
        ended(scene, lambda: None)
        scene.struck()


def deployed(scene: Scene, build_id: str) -> None:
    """Send everyone away, and let them come back."""
    scene.sandbox.kick_sockets()
    scene.hits, scene.struck_at = (lambda: 1), time.monotonic()
    scene.until(lambda: scene.sandbox.joined(build_id))


def concluding(scene: Scene) -> None:
    """Strike the read that follows the one which ended the wait."""
    waits(scene)
    route = ROUTES["concluding"]
    first = scene.sandbox.fault("hang", route, times=1)
    scene.until(lambda: first.hits)
    complete(scene, emit=False)
    last = scene.latch(done=True)
    first.remove()
    scene.until(lambda: last.hits)
    if scene.latched:
        latch = scene.latch()
        last.remove()
        scene.strike_latched(latch)
    else:
        scene.order()
        last.remove()
        scene.struck()
