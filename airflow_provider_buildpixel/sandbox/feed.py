"""What happens in the world, on its way to those who follow a build."""

from __future__ import annotations

import itertools
from collections import deque
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.sandbox.odd import SHAPES
from airflow_provider_buildpixel.sandbox.views import log_event, status_event

if TYPE_CHECKING:
    import asyncio

    from airflow_provider_buildpixel.sandbox.faults import Fault, Faults
    from airflow_provider_buildpixel.sandbox.sockets import Sockets
    from airflow_provider_buildpixel.sandbox.world import Happening, World


class Feed:
    """Takes happenings from any thread and sends them from the server's event loop."""

    def __init__(
        self, world: World, faults: Faults, sockets: Sockets, loop: asyncio.AbstractEventLoop
    ) -> None:
        """Listen to the world."""
        self._world, self._faults, self._sockets, self._loop = world, faults, sockets, loop
        self._outbox: deque[Happening] = deque()
        self._awake = False
        self._shapes = itertools.cycle(SHAPES)
        world.listeners.append(self._hear)

    def _hear(self, happening: Happening) -> None:
        # Under the world's lock; the loop is woken once for however many come together.
        self._outbox.append(happening)
        if not self._awake:
            self._awake = True
            self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        self._awake = False
        while self._outbox:
            self._send(self._outbox.popleft())

    def _send(self, happening: Happening) -> None:
        build, line = happening.build, happening.line
        if not self._sockets.joined(build.id):
            return
        if line is not None:
            self._emit("build:log", build.id, log_event(build, line))
        else:
            payload = status_event(self._world.variants, build, happening.at, happening.status)
            self._emit("build:status", build.id, payload)

    def _emit(self, event: str, build_id: str, payload: dict[str, Any]) -> None:
        fault = self._faults.strike("event", event)
        if fault is None:
            self._sockets.send(build_id, event, [payload])
        else:
            self._disturb(fault, event, build_id, payload)

    def _disturb(self, fault: Fault, event: str, build_id: str, payload: dict[str, Any]) -> None:
        send = self._sockets.send
        match fault.name:
            case "events-duplicated":
                for _ in range(fault.params.get("copies", 2)):
                    send(build_id, event, [payload])
            case "events-late":
                delay = fault.params.get("delay", 1.0)
                self._loop.call_later(delay, send, build_id, event, [payload])
            case "events-malformed":
                shape = fault.params.get("shape") or next(self._shapes)
                send(build_id, event, SHAPES[shape](build_id, payload))
