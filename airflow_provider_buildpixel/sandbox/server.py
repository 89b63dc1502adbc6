"""The server: the API and the live channel on one port, the artifact store on another."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from airflow_provider_buildpixel.sandbox.api import Api
from airflow_provider_buildpixel.sandbox.clock import http_date
from airflow_provider_buildpixel.sandbox.door import Door
from airflow_provider_buildpixel.sandbox.feed import Feed
from airflow_provider_buildpixel.sandbox.gateway import Gateway
from airflow_provider_buildpixel.sandbox.pulse import Pulse
from airflow_provider_buildpixel.sandbox.sockets import Sockets
from airflow_provider_buildpixel.sandbox.store import Store
from airflow_provider_buildpixel.sandbox.webhooks import Courier

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox.faults import Faults
    from airflow_provider_buildpixel.sandbox.records import Records
    from airflow_provider_buildpixel.sandbox.world import World

_LARGEST_BODY = 2**20


@dataclass(frozen=True)
class Settings:
    """How the server listens and keeps time; all durations are real seconds."""

    host: str = "127.0.0.1"
    port: int = 0
    ping_interval: float = 25.0
    ping_timeout: float = 20.0
    webhook_pause: float = 1.0


class Server:
    """Everything that lives in the event loop."""

    def __init__(
        self,
        settings: Settings,
        world: World,
        faults: Faults,
        records: Records,
        more_routes: list[web.RouteDef],
    ) -> None:
        """Wire the parts together, in the running loop; nothing listens yet."""
        loop = asyncio.get_running_loop()
        self._faults = faults
        self.sockets = Sockets(world, faults, settings.ping_interval, settings.ping_timeout)
        self._feed = Feed(world, faults, self.sockets, loop)
        self.courier = Courier(world, faults, loop, settings.webhook_pause)
        self.gateway = Gateway(faults, records, self.sockets)
        self._pulse = Pulse(world, loop)
        api = web.Application(
            middlewares=[self.gateway.middleware()], client_max_size=_LARGEST_BODY
        )
        api.add_routes([*Api(world, faults, records).routes(), *more_routes])
        self.sockets.attach(api)
        self._api = _runner(world, api)
        self._store = _runner(world, Store(world, faults, records).app())
        self._settings = settings
        self._doors: list[Door] = []
        self._errands: set[asyncio.Task[None]] = set()

    async def start(self) -> tuple[int, int]:
        """Open the doors and return the ports of the API and of the store."""
        await self._api.setup()
        await self._store.setup()
        self._doors = [Door(self._api, self._settings.host, self._settings.port)]
        self._doors.append(Door(self._store, self._settings.host, 0))
        for door in self._doors:
            await door.open()
        self._pulse.start()
        return self._doors[0].port, self._doors[1].port

    async def obey(self) -> None:
        """Open or shut the door of the API, as the faults in force have it."""
        closing = self._faults.active("refuse-connections")
        if not closing:
            await self._doors[0].open()
            return
        await self._doors[0].shut()
        ends = [fault.until for fault in closing if fault.until is not None]
        if ends:
            loop = asyncio.get_running_loop()
            loop.call_at(min(ends) + 0.001, self._obey_later)

    def _obey_later(self) -> None:
        errand = asyncio.get_running_loop().create_task(self.obey())
        self._errands.add(errand)
        errand.add_done_callback(self._errands.discard)

    async def stop(self) -> None:
        """Shut the doors and let go of everything."""
        self._pulse.stop()
        self._faults.heal()
        for door in self._doors:
            await door.leave()
        await self.courier.stop()
        await self.sockets.server.shutdown()
        await self._api.cleanup()
        await self._store.cleanup()


def _runner(world: World, app: web.Application) -> web.AppRunner:
    async def date(_: web.Request, response: web.StreamResponse) -> None:
        response.headers["Date"] = http_date(world.clock.now())

    app.on_response_prepare.append(date)
    return web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
