"""A server that means harm: neither the token, nor the loop, nor the memory is its to take."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientConnectionResetError

from airflow_provider_buildpixel.api import endpoints
from airflow_provider_buildpixel.exceptions import BuildPixelError
from airflow_provider_buildpixel.waits.actions import Expired
from tests.clients.hostile import HANDSHAKE, hostile
from tests.clients.shells import Waiting, built, end_of, opened, until
from tests.clients.wire import answer, wire

if TYPE_CHECKING:
    import socket as socketlib
    from collections.abc import AsyncIterator, Iterator

    from aiohttp import web

    from airflow_provider_buildpixel.api.settings import Settings
    from airflow_provider_buildpixel.sandbox import Sandbox
    from tests.clients.hostile import Hostile

HANG = 0.1
"""Seconds of its own processor time that one turn of a loop may take."""

LOOK_EVERY = 0.002
"""Seconds between two looks: a loop that never rests fights the server's thread at each packet."""


@pytest.fixture
def server() -> Iterator[Hostile]:
    """Run a hostile server."""
    with hostile() as running:
        yield running


@pytest.mark.parametrize("status", [302, 307])
@pytest.mark.parametrize("transport", ["websocket", "polling", "polling-post"])
async def test_a_handshake_that_is_redirected(
    sandbox: Sandbox, settings: Settings, kind: str, status: int, transport: str
) -> None:
    """No step of the live channel's handshake can be led to another host, token or not."""
    opening = f"0{json.dumps(HANDSHAKE)}".encode()

    def redirect(connection: socketlib.socket) -> None:
        head = line.heads[-1]
        path = head.split(" ", 2)[1]
        if path.startswith("/builds/"):
            connection.sendall(answer(json.dumps(build).encode()))
        elif "transport=websocket" in path and transport != "websocket":
            connection.sendall(answer(b"", status="403 Forbidden"))
        elif transport == "polling-post" and head.startswith("GET") and "sid=" not in path:
            connection.sendall(answer(opening))
        else:
            if transport != "polling-post" or head.startswith("POST"):
                astray.append(head)
            elsewhere = f"Location: {sandbox.url.replace('http', scheme)}{path}"
            connection.sendall(answer(b"", elsewhere, status=f"{status} Moved"))

    def refused() -> bool:
        """Tell that the step was led astray, and that there was time to follow, of some reads."""
        later = line.heads[line.heads.index(astray[0]) :] if astray else []
        return sum(head.startswith("GET /builds/") for head in later) >= 4

    build, astray = {"id": "b", "status": "running"}, list[str]()
    scheme = "ws" if kind == "blocking" and transport == "websocket" else "http"
    with wire(redirect) as line:
        async with opened(kind, replace(settings, base_url=line.url)) as shell:
            task = asyncio.create_task(end_of(shell, Waiting("b", join_wait=0.05)))
            await until(refused)
            build["status"] = "complete"
            assert built(await task).status == "complete"
    assert not sandbox.requests


@dataclass
class Turns:
    """The processor time of the longest turn of a loop, and what it may be."""

    longest: float = 0.0
    most: float = HANG
    look_every: float = LOOK_EVERY


async def _pulse(turns: Turns) -> None:
    """Note the processor time of the longest turn of the loop: what a busy machine cannot add."""
    before = time.thread_time()
    while True:
        await asyncio.sleep(turns.look_every)
        now = time.thread_time()
        turns.longest = max(turns.longest, now - before)
        before = now


@pytest.fixture
async def turns() -> AsyncIterator[Turns]:
    """Watch the turns of the test's loop."""
    watched = Turns()
    task = asyncio.create_task(_pulse(watched))
    yield watched
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert watched.longest < watched.most


def _log(message: str, **more: Any) -> str:
    payload = {"buildId": "b", "level": "info", "message": message, **more}
    return "42" + json.dumps(["build:log", payload])


def _status(status: str) -> str:
    return "42" + json.dumps(["build:status", {"buildId": "b", "status": status}])


NONSENSE = ["42[]", "42[1]", "4x", "49", "42{}", "451-[1]", "42/n,[]", "43[]", "40[1]", "41x"]
FLOODS = {
    "lines": [_log("x" * 100)] * 20_000,
    "errors": [_log("Error: x", level="error")] * 20_000,
    "statuses": [_status("01"[number % 2]) for number in range(20_000)],
    "nonsense": NONSENSE * 2_000,
    "deep": ["4" + "[" * 9_000, "42" + "[" * 9_000],
    "namespaces": [f"40/n{number}," for number in range(10_000)],
    "pings": ["2"] * 20_000,
    "attachments": ['4599999-["build:log",{"_placeholder":true,"num":0}]', *["bAAAA"] * 20_000],
    "a-giant-line": [_log("x" * 1_000_000)] * 5,
    "many-values": ['42["build:log",[' + ",".join(["[]"] * 4_000_000) + "]]"],
    "too-giant": [_log("x" * 20_000_000)],
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=list(FLOODS))
async def test_floods(
    server: Hostile, settings: Settings, kind: str, turns: Turns, flood: list[str]
) -> None:
    """No flood of packets hangs the loop or keeps the end of the build from being found."""

    async def attack(socket: web.WebSocketResponse) -> None:
        with suppress(ClientConnectionResetError):
            for packet in flood:
                await socket.send_str(packet)

    server.attack = attack
    async with opened(kind, replace(settings, base_url=server.url)) as shell:
        waiting = Waiting("b", poll_interval=0.2)
        task = asyncio.create_task(end_of(shell, waiting))
        await until(lambda: server.attacked, 20)
        server.build = {"id": "b", "status": "complete"}
        assert built(await task).status == "complete"
    assert "\x1b" not in waiting.told


ODD_HANDSHAKES = [
    {"pingInterval": 1e300},
    {"pingInterval": float("inf"), "pingTimeout": float("nan")},
    {"pingInterval": -1, "pingTimeout": 0},
    {"pingInterval": "x"},
    {"pingInterval": 10**90},
    {"sid": None},
    {"sid": "\ud800"},
    {"sid": 5},
    {"upgrades": 1},
    {},
]


@pytest.mark.parametrize("odd", [*ODD_HANDSHAKES, "0[]", "0", "", "9", "0" + "[" * 9_000], ids=repr)
async def test_odd_handshakes(
    server: Hostile, settings: Settings, kind: str, turns: Turns, odd: Any
) -> None:
    """Whatever a server says of itself, the wait goes on over REST."""
    whole = {} if odd == {} else HANDSHAKE
    server.handshake = odd if isinstance(odd, str) else "0" + json.dumps({**whole, **odd})
    async with opened(kind, replace(settings, base_url=server.url)) as shell:
        task = asyncio.create_task(end_of(shell, Waiting("b", poll_interval=0.05, join_wait=0.1)))
        await until(lambda: server.connections)
        server.build = {"id": "b", "status": "complete"}
        assert built(await task).status == "complete"


async def test_a_server_that_falls_silent(server: Hostile, settings: Settings, kind: str) -> None:
    """One that no longer pings is left for a new connection, however well it still reads."""
    server.handshake = "0" + json.dumps({**HANDSHAKE, "pingInterval": 1000, "pingTimeout": 100})
    async with opened(kind, replace(settings, base_url=server.url)) as shell:
        task = asyncio.create_task(end_of(shell, Waiting("b", poll_interval=60)))
        await until(lambda: server.joined >= 2, 30)
        server.build = {"id": "b", "status": "complete"}
        assert built(await task).status == "complete"


def _build(**more: Any) -> bytes:
    return json.dumps({"id": "b", "status": "running", **more}).encode()


COSTLY = {
    "lines-of-text": _build(logs="x y\n" * 900_000),
    "lines": _build(logs=[f"2026-05-10T14:23:45.123Z error: line {n}" for n in range(70_000)]),
    "objects": _build(logs=[{"message": f"line {n}"} for n in range(100_000)]),
    "values": b'{"id":"b","logs":[' + b",".join([b"[]"] * 5_000_000) + b"]}",
    "keys": _build(**{f"changelist{n}": [] for n in range(70_000)}),
    "digits": b'{"id":"b","a":[' + b",".join([b"9" * 4_000] * 5_000) + b"]}",
    "depth": b"[" * 10_000_000,
    "members": b'{"items":[' + b",".join([_build()] * 90_000) + b"]}",
}


def _cost(answered: bytes) -> float:
    """Give the processor time of reading an answer, and of nothing else.

    Of the one with many keys it is half of what a turn may take, even on a machine at ease.
    """
    before = time.thread_time()
    json.loads(answered)
    return time.thread_time() - before


@pytest.mark.parametrize("answered", COSTLY.values(), ids=list(COSTLY))
async def test_costly_answers(
    server: Hostile, settings: Settings, turns: Turns, answered: bytes
) -> None:
    """No answer of REST hangs the loop, whether it is read singly or as a list."""
    turns.look_every = 0.0  # at each turn: two answers that come at once are two turns
    server.build = answered
    calibrated = answered is COSTLY["keys"]
    cost = _cost(answered) if calibrated else 0.0
    async with opened(
        "asyncio", replace(settings, base_url=server.url, request_timeout=9)
    ) as shell:
        waiting = Waiting("b", poll_interval=0.05, channel="polling")
        task = asyncio.create_task(end_of(shell, waiting))
        with suppress(BuildPixelError):
            await shell.attempt(endpoints.list_builds())
        await until(lambda: server.reads >= 3)
        server.build = {"id": "b", "status": "complete"}
        assert built(await task).status == "complete"
    assert len(waiting.records) < 1_500
    if calibrated:
        turns.most = max(HANG, 4 * max(cost, _cost(answered)))


async def test_another_build(server: Hostile, settings: Settings, kind: str) -> None:
    """An answer that is about another build than was asked for does not end a wait."""
    server.build = {"id": "other", "status": "complete"}
    async with opened(kind, replace(settings, base_url=server.url)) as shell:
        end = await end_of(shell, Waiting("b", channel="polling", poll_interval=0.05, seconds=0.5))
    assert isinstance(end, Expired)
