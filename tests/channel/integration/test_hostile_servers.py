"""A hostile server gets no token, and can neither block the event loop nor fill the memory."""

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
from tests.clients.adapters import RecordedWait, ended_build, open_client, run_wait, wait_until
from tests.clients.hostile_server import HANDSHAKE, hostile_server
from tests.clients.raw_server import http_response, raw_server

if TYPE_CHECKING:
    import socket as socketlib
    from collections.abc import AsyncIterator, Iterator

    from aiohttp import web

    from airflow_provider_buildpixel.api.settings import Settings
    from airflow_provider_buildpixel.sandbox import Sandbox
    from tests.clients.hostile_server import HostileServer

MAX_STEP = 0.1
"""Seconds of processor time that one step of the event loop may take."""

SAMPLE_INTERVAL = 0.002
"""Seconds between two samples: a loop without pauses competes with the thread of the server."""


@pytest.fixture
def server() -> Iterator[HostileServer]:
    """Run a hostile server."""
    with hostile_server() as running:
        yield running


@pytest.mark.parametrize("status", [302, 307])
@pytest.mark.parametrize("transport", ["websocket", "polling", "polling-post"])
async def test_redirected_handshake(
    sandbox: Sandbox, settings: Settings, client_kind: str, status: int, transport: str
) -> None:
    """No step of the handshake follows a redirect to another host."""
    opening = f"0{json.dumps(HANDSHAKE)}".encode()

    def redirect(connection: socketlib.socket) -> None:
        head = redirecting.request_heads[-1]
        path = head.split(" ", 2)[1]
        if path.startswith("/builds/"):
            connection.sendall(http_response(json.dumps(build).encode()))
        elif "transport=websocket" in path and transport != "websocket":
            connection.sendall(http_response(b"", status="403 Forbidden"))
        elif transport == "polling-post" and head.startswith("GET") and "sid=" not in path:
            connection.sendall(http_response(opening))
        else:
            if transport != "polling-post" or head.startswith("POST"):
                redirected.append(head)
            location = f"Location: {sandbox.url.replace('http', scheme)}{path}"
            connection.sendall(http_response(b"", location, status=f"{status} Moved"))

    def had_time_to_follow() -> bool:
        """Return whether a step was redirected, and four reads later there was time to follow."""
        heads = redirecting.request_heads
        later = heads[heads.index(redirected[0]) :] if redirected else []
        return sum(head.startswith("GET /builds/") for head in later) >= 4

    build, redirected = {"id": "b", "status": "running"}, list[str]()
    scheme = "ws" if client_kind == "blocking" and transport == "websocket" else "http"
    with raw_server(redirect) as redirecting:
        async with open_client(client_kind, replace(settings, base_url=redirecting.url)) as client:
            task = asyncio.create_task(run_wait(client, RecordedWait("b", join_wait=0.05)))
            await wait_until(had_time_to_follow)
            build["status"] = "complete"
            assert ended_build(await task).status == "complete"
    assert not sandbox.requests


@dataclass
class LoopSteps:
    """The processor time of the longest step of an event loop, and its limit, in seconds."""

    longest: float = 0.0
    limit: float = MAX_STEP
    sample_interval: float = SAMPLE_INTERVAL


async def _measure(steps: LoopSteps) -> None:
    """Measure the longest step in processor time, which does not grow on a busy machine."""
    before = time.thread_time()
    while True:
        await asyncio.sleep(steps.sample_interval)
        now = time.thread_time()
        steps.longest = max(steps.longest, now - before)
        before = now


@pytest.fixture
async def loop_steps() -> AsyncIterator[LoopSteps]:
    """Measure the steps of the test's event loop, and check the limit at the end."""
    measured = LoopSteps()
    task = asyncio.create_task(_measure(measured))
    yield measured
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert measured.longest < measured.limit


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
    server: HostileServer,
    settings: Settings,
    client_kind: str,
    loop_steps: LoopSteps,
    flood: list[str],
) -> None:
    """No flood of packets blocks the event loop or hides the end of the build."""

    async def attack(socket: web.WebSocketResponse) -> None:
        with suppress(ClientConnectionResetError):
            for packet in flood:
                await socket.send_str(packet)

    server.attack = attack
    async with open_client(client_kind, replace(settings, base_url=server.url)) as client:
        wait = RecordedWait("b", poll_interval=0.2)
        task = asyncio.create_task(run_wait(client, wait))
        await wait_until(lambda: server.attacked, 20)
        server.build = {"id": "b", "status": "complete"}
        assert ended_build(await task).status == "complete"
    assert "\x1b" not in wait.log_text


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
    server: HostileServer, settings: Settings, client_kind: str, loop_steps: LoopSteps, odd: Any
) -> None:
    """With any handshake of the server, the wait continues over REST."""
    whole = {} if odd == {} else HANDSHAKE
    server.handshake = odd if isinstance(odd, str) else "0" + json.dumps({**whole, **odd})
    async with open_client(client_kind, replace(settings, base_url=server.url)) as client:
        task = asyncio.create_task(
            run_wait(client, RecordedWait("b", poll_interval=0.05, join_wait=0.1))
        )
        await wait_until(lambda: server.connections)
        server.build = {"id": "b", "status": "complete"}
        assert ended_build(await task).status == "complete"


async def test_silent_server(server: HostileServer, settings: Settings, client_kind: str) -> None:
    """If a server stops to ping, the channel reconnects, although the server still reads."""
    server.handshake = "0" + json.dumps({**HANDSHAKE, "pingInterval": 1000, "pingTimeout": 100})
    async with open_client(client_kind, replace(settings, base_url=server.url)) as client:
        task = asyncio.create_task(run_wait(client, RecordedWait("b", poll_interval=60)))
        await wait_until(lambda: server.joined >= 2, 30)
        server.build = {"id": "b", "status": "complete"}
        assert ended_build(await task).status == "complete"


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


def _parse_time(answer: bytes) -> float:
    """Return the processor time in seconds that parsing an answer takes.

    For the answer with many keys it is half of the limit of a step, even on an idle machine.
    """
    before = time.thread_time()
    json.loads(answer)
    return time.thread_time() - before


@pytest.mark.parametrize("answer", COSTLY.values(), ids=list(COSTLY))
async def test_costly_answers(
    server: HostileServer, settings: Settings, loop_steps: LoopSteps, answer: bytes
) -> None:
    """No REST answer blocks the event loop, neither in a single read nor as a list."""
    loop_steps.sample_interval = 0.0  # two answers that arrive together are two steps
    server.build = answer
    calibrated = answer is COSTLY["keys"]
    cost = _parse_time(answer) if calibrated else 0.0
    async with open_client(
        "asyncio", replace(settings, base_url=server.url, request_timeout=9)
    ) as client:
        wait = RecordedWait("b", poll_interval=0.05, channel="polling")
        task = asyncio.create_task(run_wait(client, wait))
        with suppress(BuildPixelError):
            await client.attempt(endpoints.list_builds())
        await wait_until(lambda: server.reads >= 3)
        server.build = {"id": "b", "status": "complete"}
        assert ended_build(await task).status == "complete"
    assert len(wait.messages) < 1_500
    if calibrated:
        loop_steps.limit = max(MAX_STEP, 4 * max(cost, _parse_time(answer)))


async def test_another_build(server: HostileServer, settings: Settings, client_kind: str) -> None:
    """An answer about another build than the requested one does not end a wait."""
    server.build = {"id": "other", "status": "complete"}
    async with open_client(client_kind, replace(settings, base_url=server.url)) as client:
        end = await run_wait(
            client, RecordedWait("b", channel="polling", poll_interval=0.05, timeout=0.5)
        )
    assert isinstance(end, Expired)
