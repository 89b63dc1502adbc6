"""A minimal BuildPixel server for the benchmark, in a separate process that is not measured.

It has the parts of REST and Socket.IO that the waits use. Socket.IO is written directly to
aiohttp's websocket: a Socket.IO server in Python sends about 3 000 events a second, and the
benchmark needs 10 000. It also has the one route of dbt Cloud that its trigger reads.
``POST /_bench/<command>`` controls it.
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
PING_INTERVAL = 25.0
SUCCESS = 10
RUNNING = 3
OLD_BUILDS = 2_000


@dataclass
class State:
    """All builds, and the requests since the last count."""

    statuses: dict[str, str] = field(default_factory=dict)
    changed: dict[str, float] = field(default_factory=dict)
    requests: Counter[str] = field(default_factory=Counter)
    transports: dict[int, Any] = field(default_factory=dict)
    max_connections: int = 0
    joined: set[str] = field(default_factory=set)
    sockets: set[web.WebSocketResponse] = field(default_factory=set)
    connects: int = 0

    def record_request(self, request: web.Request, route: str) -> None:
        """Count a request, and the open connections."""
        self.requests[route] += 1
        self.transports[id(request.transport)] = request.transport
        closed = [key for key, value in self.transports.items() if value.is_closing()]
        for key in closed:
            del self.transports[key]
        self.max_connections = max(self.max_connections, len(self.transports))

    def end(self, build_id: str) -> None:
        """Complete a build."""
        self.statuses[build_id] = "complete"
        self.changed[build_id] = time.monotonic()


STATE = web.AppKey("state", State)


def build_json(build_id: str, status: str) -> dict[str, Any]:
    """Return a build in the format of the API."""
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


async def get_build(request: web.Request) -> web.Response:
    """``GET /builds/:id``."""
    state = request.app[STATE]
    state.record_request(request, "GET /builds/:id")
    build_id = request.match_info["id"]
    return web.json_response({**build_json(build_id, state.statuses[build_id]), "logs": []})


async def list_builds(request: web.Request) -> web.Response:
    """``GET /builds``: newest first, as ids sort by creation."""
    state = request.app[STATE]
    state.record_request(request, "GET /builds")
    status = request.query.get("status")
    limit, after = int(request.query["limit"]), request.query.get("cursor", "~")
    page = []
    for build_id in reversed(state.statuses):
        if build_id < after and status in (None, state.statuses[build_id]):
            page.append(build_id)
            if len(page) > limit:
                break
    more = page[limit - 1] if len(page) > limit else None
    items = [build_json(build_id, state.statuses[build_id]) for build_id in page[:limit]]
    return web.json_response({"items": items, "nextCursor": more})


async def dbt_run(request: web.Request) -> web.Response:
    """Return a run in the format of dbt Cloud."""
    state = request.app[STATE]
    state.record_request(request, "GET run")
    run_id = request.match_info["id"]
    done = state.statuses[build_id_of(int(run_id))] == "complete"
    status = SUCCESS if done else RUNNING
    return web.json_response({"data": {"id": int(run_id), "status": status}})


async def socketio(request: web.Request) -> web.WebSocketResponse:
    """Serve Socket.IO over a websocket."""
    state = request.app[STATE]
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.send_str("0" + ENGINE_OPEN)
    pings = asyncio.ensure_future(ping(socket))
    try:
        async for message in socket:
            if message.type == WSMsgType.TEXT:
                await handle_packet(state, socket, message.data)
    finally:
        pings.cancel()
        state.sockets.discard(socket)
    return socket


async def ping(socket: web.WebSocketResponse) -> None:
    """Keep a connection alive."""
    while True:
        await asyncio.sleep(PING_INTERVAL)
        await socket.send_str("2")


async def handle_packet(state: State, socket: web.WebSocketResponse, packet: str) -> None:
    """Handle a packet of the client."""
    if packet.startswith("40"):
        state.connects += 1
        state.sockets.add(socket)
        await socket.send_str('40{"sid":"socket"}')
    elif packet.startswith("42"):
        name, data = json.loads(packet[2:])
        change = state.joined.add if name == "join:build" else state.joined.discard
        change(data["buildId"])
    elif packet.startswith("41"):
        await socket.close()


async def emit(state: State, event: str, data: dict[str, Any]) -> None:
    """Send an event to every connection, if the build's room is joined."""
    if data["buildId"] in state.joined:
        packet = f"42{json.dumps([event, data])}"
        for socket in list(state.sockets):
            await socket.send_str(packet)


def build_id_of(number: int) -> str:
    """Return a build's id; ids sort by creation."""
    return f"68a1b2c3d4e5f6a7{number:08d}"


class Commands:
    """The commands of the benchmark; each returns JSON."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._tasks: set[asyncio.Task[None]] = set()

    async def reset(self, n: int) -> Any:
        """Reset to so many running builds, and some old builds."""
        state = self._state
        state.statuses = {build_id_of(number): "complete" for number in range(OLD_BUILDS)}
        ids = [build_id_of(OLD_BUILDS + number) for number in range(n)]
        state.statuses |= dict.fromkeys(ids, "running")
        state.joined.clear()
        state.changed.clear()
        await self.count()
        return ids

    async def count(self) -> Any:
        """Return the requests and connections since the last count, and reset the counters."""
        state = self._state
        counts = {
            "requests": dict(state.requests),
            "connections": state.max_connections,
            "sockets": len(state.sockets),
            "connects": state.connects,
            "joined": len(state.joined),
        }
        state.requests = Counter()
        state.max_connections = state.connects = 0
        return counts

    async def peek(self) -> Any:
        """Return the number of rooms and requests, without a reset."""
        return {"joined": len(self._state.joined), "requests": sum(self._state.requests.values())}

    async def end(self, ids: list[str], gap: float | None, *, mute: bool = False) -> Any:
        """End builds, one by one with a gap, or all at once.

        :param mute: send no event.
        """
        self._start_task(self._end(ids, gap, mute=mute))

    async def changed(self) -> Any:
        """Return when each build ended, on the machine's monotonic clock."""
        return self._state.changed

    async def drop(self) -> Any:
        """Cut all Socket.IO connections."""
        self._state.joined.clear()
        for socket in list(self._state.sockets):
            transport = socket._req and socket._req.transport  # aiohttp has no public access
            if transport:
                transport.abort()
        return time.monotonic()

    async def flood(self, build_id: str, rate: int, seconds: float) -> Any:
        """Send log lines of one build at a steady rate."""
        self._start_task(self._flood(build_id, rate, seconds))

    async def _end(self, ids: Iterable[str], gap: float | None, *, mute: bool) -> None:
        state = self._state
        if gap is None:
            for build_id in ids:
                state.end(build_id)
        for build_id in ids:
            if gap is not None:
                state.end(build_id)
            if not mute:
                await emit(state, "build:status", {"buildId": build_id, "status": "complete"})
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
                await emit(self._state, "build:log", line)
            await asyncio.sleep(0.01)

    def _start_task(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def serve() -> None:
    """Serve until the parent process closes the standard input."""
    state = State()
    commands = Commands(state)

    async def command(request: web.Request) -> web.Response:
        handler = getattr(commands, request.match_info["command"])
        return web.json_response(await handler(**await request.json()))

    app = web.Application(client_max_size=2**24)
    app[STATE] = state
    app.add_routes(
        [
            web.get("/builds", list_builds),
            web.get("/builds/{id}", get_build),
            web.get("/socket.io/", socketio),
            web.get("/api/v2/accounts/{account}/runs/{id}/", dbt_run),
            web.post("/_bench/{command}", command),
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
