"""The servers: the API and the live channel on one port, the artifact store on another."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from airflow_provider_buildpixel.sandbox.live.event_sender import EventSender
from airflow_provider_buildpixel.sandbox.live.socket_middleware import SocketMiddleware
from airflow_provider_buildpixel.sandbox.live.socket_server import SocketServer
from airflow_provider_buildpixel.sandbox.live.webhooks import WebhookSender
from airflow_provider_buildpixel.sandbox.server.api import RestApi
from airflow_provider_buildpixel.sandbox.server.artifact_store import StoreApp
from airflow_provider_buildpixel.sandbox.server.listener import Listener
from airflow_provider_buildpixel.sandbox.server.schedule_timer import ScheduleTimer
from airflow_provider_buildpixel.sandbox.world.clock import http_date

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox.faults.registry import FaultRegistry
    from airflow_provider_buildpixel.sandbox.request_log import RequestLog
    from airflow_provider_buildpixel.sandbox.world.world import World

_MAX_BODY = 2**20


@dataclass(frozen=True)
class ServerSettings:
    """Addresses and timing of the server; all durations are in real seconds."""

    host: str = "127.0.0.1"
    port: int = 0
    ping_interval: float = 25.0
    ping_timeout: float = 20.0
    webhook_pause: float = 1.0


class Server:
    """Everything that runs in the event loop; must be created in it.

    :param extra_routes: routes on the port of the API besides its own.
    """

    def __init__(
        self,
        settings: ServerSettings,
        world: World,
        faults: FaultRegistry,
        log: RequestLog,
        extra_routes: list[web.RouteDef],
    ) -> None:
        loop = asyncio.get_running_loop()
        self._faults = faults
        self.sockets = SocketServer(world, faults, settings.ping_interval, settings.ping_timeout)
        self._events = EventSender(world, faults, self.sockets, loop)
        self.webhooks = WebhookSender(world, faults, loop, settings.webhook_pause)
        self.socket_middleware = SocketMiddleware(faults, log, self.sockets)
        self._timer = ScheduleTimer(world, loop)
        api = web.Application(
            middlewares=[self.socket_middleware.middleware()], client_max_size=_MAX_BODY
        )
        api.add_routes([*RestApi(world, faults, log).routes(), *extra_routes])
        self.sockets.attach(api)
        self._api = _runner(world, api)
        self._store = _runner(world, StoreApp(world, faults, log).app())
        self._settings = settings
        self._listeners: list[Listener] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> tuple[int, int]:
        """Start to listen, and return the ports of the API and of the store."""
        await self._api.setup()
        await self._store.setup()
        self._listeners = [Listener(self._api, self._settings.host, self._settings.port)]
        self._listeners.append(Listener(self._store, self._settings.host, 0))
        for listener in self._listeners:
            await listener.open()
        self._timer.start()
        return self._listeners[0].port, self._listeners[1].port

    async def apply_faults(self) -> None:
        """Open or close the listener of the API, depending on the faults in force."""
        closing = self._faults.active("refuse-connections")
        if not closing:
            await self._listeners[0].open()
            return
        await self._listeners[0].close()
        ends = [fault.until for fault in closing if fault.until is not None]
        if ends:
            loop = asyncio.get_running_loop()
            loop.call_at(min(ends) + 0.001, self._apply_faults_later)

    def _apply_faults_later(self) -> None:
        task = asyncio.get_running_loop().create_task(self.apply_faults())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Close all connections and release the ports."""
        self._timer.stop()
        self._faults.heal()
        for listener in self._listeners:
            await listener.release_port()
        await self.webhooks.stop()
        await self.sockets.server.shutdown()
        await self._api.cleanup()
        await self._store.cleanup()


def _runner(world: World, app: web.Application) -> web.AppRunner:
    async def set_date(_: web.Request, response: web.StreamResponse) -> None:
        if world.variants.date_header == "sent":
            response.headers["Date"] = http_date(world.clock.now())
        else:
            # aiohttp has added one before it calls this.
            response.headers.popall("Date", None)

    app.on_response_prepare.append(set_date)
    return web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
