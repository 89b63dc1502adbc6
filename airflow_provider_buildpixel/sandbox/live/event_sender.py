"""Sends changes of builds as Socket.IO events."""

from __future__ import annotations

import itertools
from collections import deque
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.sandbox.faults.malformed import EVENT_SHAPES
from airflow_provider_buildpixel.sandbox.world.payloads import log_event, status_event

if TYPE_CHECKING:
    import asyncio

    from airflow_provider_buildpixel.sandbox.faults.registry import Fault, FaultRegistry
    from airflow_provider_buildpixel.sandbox.live.socket_server import SocketServer
    from airflow_provider_buildpixel.sandbox.world.world import BuildEvent, World


class EventSender:
    """Receives build events from any thread, and sends them from the server's event loop."""

    def __init__(
        self,
        world: World,
        faults: FaultRegistry,
        sockets: SocketServer,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._world, self._faults, self._sockets, self._loop = world, faults, sockets, loop
        self._queue: deque[BuildEvent] = deque()
        self._scheduled = False
        self._shapes = itertools.cycle(EVENT_SHAPES)
        world.listeners.append(self._on_event)

    def _on_event(self, event: BuildEvent) -> None:
        # Called with the world's lock held; the loop is woken once for all events of a burst.
        self._queue.append(event)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        self._scheduled = False
        while self._queue:
            self._send(self._queue.popleft())

    def _send(self, event: BuildEvent) -> None:
        build, line = event.build, event.line
        if not self._sockets.joined(build.id):
            return
        if line is not None:
            self._emit("build:log", build.id, log_event(build, line))
        else:
            payload = status_event(self._world.variants, build, event.at, event.status)
            self._emit("build:status", build.id, payload)

    def _emit(self, event: str, build_id: str, payload: dict[str, Any]) -> None:
        fault = self._faults.apply("event", event)
        if fault is None:
            self._sockets.send(build_id, event, [payload])
        else:
            self._emit_with_fault(fault, event, build_id, payload)

    def _emit_with_fault(
        self, fault: Fault, event: str, build_id: str, payload: dict[str, Any]
    ) -> None:
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
                send(build_id, event, EVENT_SHAPES[shape](build_id, payload))
