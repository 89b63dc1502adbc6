"""A lean BuildPixel for the bench, in a process of its own, so that it is never what is measured.

It speaks as much of REST and Socket.IO as the waits use, straight over aiohttp's websocket, since
a Socket.IO server in Python sends some 3 000 events a second and the bench needs 10 000. It also
answers dbt Cloud's one route that its trigger reads. ``POST /_bench/<order>`` drives it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import WSMsgType, web

if TYPE_CHECKING:
    from collections.abc import Iterable

ENGINE_OPEN = json.dumps(
    {
        "sid": "engine",
        "upgrades": [],
        "pingInterval": 25_000,
        "pingTimeout": 20_000,
        "maxPayload": 1_000_000,
    }
)
PING = 25.0
SUCCESS = 10
RUNNING = 3
HISTORY = 2_000


@dataclass
class Book:
    """All builds, and what was asked for since the last count."""

    statuses: dict[str, str] = field(default_factory=dict)
    changed: dict[str, float] = field(default_factory=dict)
    requests: Counter[str] = field(default_factory=Counter)
    transports: dict[int, Any] = field(default_factory=dict)
    most_connections: int = 0
    joined: set[str] = field(default_factory=set)
    sockets: set[web.WebSocketResponse] = field(default_factory=set)
    connects: int = 0

    def saw(self, request: web.Request, route: str) -> None:
        """Count a request, and the connections that are open."""
        self.requests[route] += 1
        self.transports[id(request.transport)] = request.transport
        gone = [key for key, value in self.transports.items() if value.is_closing()]
        for key in gone:
            del self.transports[key]
        self.most_connections = max(self.most_connections, len(self.transports))

    def end(self, build_id: str) -> None:
        """End a build well."""
        self.statuses[build_id] = "complete"
        self.changed[build_id] = time.monotonic()


BOOK = web.AppKey("book", Book)


def build_json(build_id: str, status: str) -> dict[str, Any]:
    """Give a build as the API does."""
    number = int(build_id[-8:])
    ended = status == "complete"
    return {
        "id": build_id,
        "projectId": "5f0000000000000000000001",
        "buildSettingId": "5e0000000000000000000001",
        "status": status,
        "platform": "Win64",
        "buildType": "Shipping",
        "branch": f"feature/{number}",
        "commit": f"{number:040x}",
        "commitMessage": "Move the spawn points of the second arena",
        "ueVersion": "5.4",
        "triggeredBy": "user:5d0000000000000000000001",
        "createdAt": "2026-05-10T14:23:45.123Z",
        "finishedAt": "2026-05-10T15:23:45.123Z" if ended else None,
        "durationMs": 3_600_000 if ended else None,
    }


async def one(request: web.Request) -> web.Response:
    """``GET /builds/:id``."""
    book = request.app[BOOK]
    book.saw(request, "GET /builds/:id")
    build_id = request.match_info["id"]
    return web.json_response({**build_json(build_id, book.statuses[build_id]), "logs": []})


async def many(request: web.Request) -> web.Response:
    """``GET /builds``: newest first, as ids sort by creation."""
    book = request.app[BOOK]
    book.saw(request, "GET /builds")
    wanted = request.query.get("status")
    limit, after = int(request.query["limit"]), request.query.get("cursor", "~")
    page = []
    for build_id in reversed(book.statuses):
        if build_id < after and wanted in (None, book.statuses[build_id]):
            page.append(build_id)
            if len(page) > limit:
                break
    more = page[limit - 1] if len(page) > limit else None
    items = [build_json(build_id, book.statuses[build_id]) for build_id in page[:limit]]
    return web.json_response({"items": items, "nextCursor": more})


async def dbt_run(request: web.Request) -> web.Response:
    """Answer for a run as dbt Cloud does."""
    book = request.app[BOOK]
    book.saw(request, "GET run")
    run_id = request.match_info["id"]
    done = book.statuses[build_name(int(run_id))] == "complete"
    status = SUCCESS if done else RUNNING
    return web.json_response({"data": {"id": int(run_id), "status": status}})


async def live(request: web.Request) -> web.WebSocketResponse:
    """Speak Socket.IO over a websocket."""
    book = request.app[BOOK]
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.send_str("0" + ENGINE_OPEN)
    pings = asyncio.ensure_future(ping(socket))
    try:
        async for message in socket:
            if message.type == WSMsgType.TEXT:
                await heard(book, socket, message.data)
    finally:
        pings.cancel()
        book.sockets.discard(socket)
    return socket


async def ping(socket: web.WebSocketResponse) -> None:
    """Keep a connection alive."""
    while True:
        await asyncio.sleep(PING)
        await socket.send_str("2")


async def heard(book: Book, socket: web.WebSocketResponse, packet: str) -> None:
    """Take a packet of the client."""
    if packet.startswith("40"):
        book.connects += 1
        book.sockets.add(socket)
        await socket.send_str('40{"sid":"socket"}')
    elif packet.startswith("42"):
        name, data = json.loads(packet[2:])
        change = book.joined.add if name == "join:build" else book.joined.discard
        change(data["buildId"])
    elif packet.startswith("41"):
        await socket.close()


async def emit(book: Book, event: str, data: dict[str, Any]) -> None:
    """Send an event to every connection, if the room is joined."""
    if data["buildId"] in book.joined:
        packet = f"42{json.dumps([event, data])}"
        for socket in list(book.sockets):
            await socket.send_str(packet)


def build_name(number: int) -> str:
    """Give a build's id, which sorts by creation."""
    return f"68a1b2c3d4e5f6a7{number:08d}"


class Orders:
    """What the bench can order; each takes the book and gives plain JSON."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._errands: set[asyncio.Task[None]] = set()

    async def reset(self, n: int) -> Any:
        """Start again with so many running builds, and some that ended long ago."""
        book = self._book
        book.statuses = {build_name(number): "complete" for number in range(HISTORY)}
        ids = [build_name(HISTORY + number) for number in range(n)]
        book.statuses |= dict.fromkeys(ids, "running")
        book.joined.clear()
        book.changed.clear()
        await self.count()
        return ids

    async def count(self) -> Any:
        """Give what was asked for since the last count."""
        book = self._book
        found = {
            "requests": dict(book.requests),
            "connections": book.most_connections,
            "sockets": len(book.sockets),
            "connects": book.connects,
            "joined": len(book.joined),
        }
        book.requests = Counter()
        book.most_connections = book.connects = 0
        return found

    async def peek(self) -> Any:
        """Give the number of rooms and requests without a new count."""
        return {"joined": len(self._book.joined), "requests": sum(self._book.requests.values())}

    async def end(self, ids: list[str], gap: float | None, *, mute: bool = False) -> Any:
        """End builds, one by one with a gap, or all at once.

        :param mute: tell nobody.
        """
        self._later(self._end(ids, gap, mute=mute))

    async def changed(self) -> Any:
        """Give when each build ended, on the machine's monotonic clock."""
        return self._book.changed

    async def drop(self) -> Any:
        """Cut all connections of the live channel."""
        self._book.joined.clear()
        for socket in list(self._book.sockets):
            transport = socket._req and socket._req.transport  # aiohttp has no public way
            if transport:
                transport.abort()
        return time.monotonic()

    async def flood(self, build_id: str, rate: int, seconds: float) -> Any:
        """Write log lines of one build at a steady rate."""
        self._later(self._flood(build_id, rate, seconds))

    async def _end(self, ids: Iterable[str], gap: float | None, *, mute: bool) -> None:
        book = self._book
        if gap is None:
            for build_id in ids:
                book.end(build_id)
        for build_id in ids:
            if gap is not None:
                book.end(build_id)
            if not mute:
                await emit(book, "build:status", {"buildId": build_id, "status": "complete"})
            if gap is not None:
                await asyncio.sleep(gap)

    async def _flood(self, build_id: str, rate: int, seconds: float) -> None:
        started, sent = time.monotonic(), 0
        while (passed := time.monotonic() - started) < seconds:
            for _ in range(int(passed * rate) - sent):
                sent += 1
                line = {
                    "buildId": build_id,
                    "timestamp": f"2026-05-10T15:{sent // 60_000:02}:{sent // 1000 % 60:02}"
                    f".{sent % 1000:03}Z",
                    "level": "error" if sent % 1000 == 0 else "info",
                    "message": f"LogCook: Display: Cooking package {sent} of a big game",
                }
                await emit(self._book, "build:log", line)
            await asyncio.sleep(0.01)

    def _later(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)


async def serve() -> None:
    """Serve until the process that started this one closes our standard input."""
    book = Book()
    orders = Orders(book)

    async def order(request: web.Request) -> web.Response:
        wanted = getattr(orders, request.match_info["order"])
        return web.json_response(await wanted(**await request.json()))

    app = web.Application(client_max_size=2**24)
    app[BOOK] = book
    app.add_routes(
        [
            web.get("/builds", many),
            web.get("/builds/{id}", one),
            web.get("/socket.io/", live),
            web.get("/api/v2/accounts/{account}/runs/{id}/", dbt_run),
            web.post("/_bench/{order}", order),
        ]
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=4096)
    await site.start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve())
