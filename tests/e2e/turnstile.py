"""Stands between Airflow's workers and its API server, and stops a call of theirs on request.

So a worker can be caught between any two of its steps, without a change to what is tested.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import aiohttp
from aiohttp import web
from yarl import URL

from airflow_provider_buildpixel.sandbox.background import LoopThread
from airflow_provider_buildpixel.sandbox.door import Door

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

LOOPBACK = "127.0.0.1"
WATCH_EVERY = 0.05
HEARTBEAT_EVERY = 5.0
PATIENCE = 120.0
AT_ONCE = 4
"""Calls that Airflow gets at the same time: SQLite has one writer, and the others wait in line."""

PASSED_ON = ("Content-Type", "Refreshed-API-Token", "airflow-api-version")


@dataclass(frozen=True)
class Call:
    """What is looked out for.

    :param leg: which start of the task's process makes it, from 1; None for any.
    :param done: stop it when Airflow has carried it out; else before Airflow sees it.
    """

    method: str
    path: str
    body: str = ""
    leg: int | None = None
    done: bool = False


@dataclass(eq=False)
class Gate:
    """Stops the first such call of one Dag run until it is opened."""

    run_id: str
    call: Call
    reached: bool = False
    cutting: bool = False
    _opened: threading.Event = field(default_factory=threading.Event)

    def open(self, *, cut: bool = False) -> None:
        """Let the call go on, or cut its connection."""
        self.cutting = cut
        self._opened.set()

    @property
    def is_open(self) -> bool:
        """Whether it lets everything pass from now on."""
        return self._opened.is_set()

    def matches(self, worker: Worker, request: web.Request, body: bytes, *, done: bool) -> bool:
        """Tell whether this is the call to stop."""
        call = self.call
        return (
            not self.reached
            and (worker.run_id, request.method, done) == (self.run_id, call.method, call.done)
            and call.leg in (None, worker.leg)
            and re.search(call.path, request.path) is not None
            and re.search(call.body, body.decode()) is not None
        )


@dataclass(frozen=True)
class Worker:
    """The process of a task, as it introduced itself to Airflow."""

    run_id: str
    leg: int
    pid: int
    hostname: str


class Turnstile:
    """A proxy for Airflow's Execution API, as a context manager.

    :param upstream: Airflow's URL; to be set before the first worker comes.
    """

    def __init__(self) -> None:
        self.upstream = ""
        self.url = ""
        self.workers: dict[str, Worker] = {}
        self._gates: list[Gate] = []
        self._legs = Counter[str]()
        self._thread = LoopThread("turnstile")
        self._session: aiohttp.ClientSession
        self._narrow = asyncio.Semaphore(AT_ONCE)
        self._runner: web.AppRunner
        self._door: Door

    def __enter__(self) -> Self:
        self._thread.start()
        self.url = self._thread.call(self._open())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for gate in self._gates:
            gate.open(cut=True)
        self._thread.call(self._close())
        self._thread.stop()

    def gate(self, run_id: str, call: Call) -> Gate:
        """Set up a gate."""
        gate = Gate(run_id, call)
        self._gates.append(gate)
        return gate

    def worker(self, run_id: str) -> Worker:
        """Give the latest worker of a run."""
        return [worker for worker in self.workers.values() if worker.run_id == run_id][-1]

    @contextmanager
    def closed(self) -> Iterator[None]:
        """Let no call pass meanwhile; those under way end first."""
        self._thread.call(self._shut(), PATIENCE + 30.0)
        try:
            yield
        finally:
            self._thread.call(self._reopen(AT_ONCE))

    async def _shut(self) -> None:
        """Take all places, or none if that takes too long."""
        taken = 0
        try:
            async with asyncio.timeout(PATIENCE):
                while taken < AT_ONCE:
                    await self._narrow.acquire()
                    taken += 1
        except TimeoutError:
            await self._reopen(taken)
            raise

    async def _reopen(self, places: int) -> None:
        for _ in range(places):
            self._narrow.release()

    async def _open(self) -> str:
        self._session = aiohttp.ClientSession()
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{path:.*}", self._pass)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        self._door = Door(self._runner, LOOPBACK, 0)
        await self._door.open()
        return f"http://{LOOPBACK}:{self._door.port}"

    async def _close(self) -> None:
        await self._door.leave()
        await self._runner.cleanup()
        await self._session.close()

    async def _pass(self, request: web.Request) -> web.Response:
        body = await request.read()
        if not await self._stop(request, body, done=False):
            return _cut(request)
        answer = await self._forward(request, body)
        if answer is None:
            return _cut(request)
        self._learn(request, body, answer)
        if not await self._stop(request, body, done=True):
            return _cut(request)
        return answer

    async def _stop(self, request: web.Request, body: bytes, *, done: bool) -> bool:
        """Hold a call at its gate, if it has one, and tell whether it goes on."""
        worker = self.workers.get(_task_instance(request))
        if worker is None:
            return not _gone(request)
        for gate in self._gates:
            if gate.matches(worker, request, body, done=done):
                gate.reached = True
                await self._hold(gate, worker, request)
                return not (gate.cutting or _gone(request))
        return not _gone(request)

    async def _hold(self, gate: Gate, worker: Worker, request: web.Request) -> None:
        """Wait; meanwhile the worker, which is well, cannot say so itself."""
        beating = asyncio.create_task(self._heartbeats(worker, request))
        # Neither the test's thread nor a dead client sets an event here.
        while not gate.is_open and not _gone(request):
            await asyncio.sleep(WATCH_EVERY)
        beating.cancel()

    async def _heartbeats(self, worker: Worker, request: web.Request) -> None:
        path = f"/execution/task-instances/{_task_instance(request)}/heartbeat"
        beat = {"hostname": worker.hostname, "pid": worker.pid}
        headers = _headers(request) | {"Content-Type": "application/json"}
        while True:
            await asyncio.sleep(HEARTBEAT_EVERY)
            try:
                await self._session.put(self.upstream + path, json=beat, headers=headers)
            except aiohttp.ClientError:  # the server is away: no heartbeats then
                continue

    async def _forward(self, request: web.Request, body: bytes) -> web.Response | None:
        """Give Airflow's answer, None if it does not come."""
        url = URL(self.upstream + request.raw_path, encoded=True)
        try:
            async with (
                self._narrow,
                self._session.request(
                    request.method, url, data=body, headers=_headers(request)
                ) as answer,
            ):
                headers = {
                    name: answer.headers[name] for name in PASSED_ON if name in answer.headers
                }
                return web.Response(status=answer.status, body=await answer.read(), headers=headers)
        except aiohttp.ClientError:
            return None

    def _learn(self, request: web.Request, body: bytes, answer: web.Response) -> None:
        """Note which process runs what, from its first call."""
        if not request.path.endswith("/run") or answer.status >= 300:
            return
        told, context = json.loads(body), json.loads(_bytes(answer))
        run_id = context["dag_run"]["run_id"]
        self._legs[run_id] += 1
        key = _task_instance(request)
        self.workers.pop(key, None)  # so that the latest is the last
        self.workers[key] = Worker(run_id, self._legs[run_id], told["pid"], told["hostname"])


def _bytes(answer: web.Response) -> bytes:
    assert isinstance(answer.body, bytes)
    return answer.body


def _headers(request: web.Request) -> dict[str, str]:
    dropped = {"host", "content-length", "accept-encoding", "connection"}
    return {name: value for name, value in request.headers.items() if name.lower() not in dropped}


def _gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


def _cut(request: web.Request) -> web.Response:
    """Cut the connection, as a server that is killed does; what is returned is never sent."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _task_instance(request: web.Request) -> str:
    """Read from the token whose it is; Airflow checks it."""
    token = request.headers.get("Authorization", "").partition(" ")[2]
    parts = token.split(".")
    if len(parts) != 3:
        return ""
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(parts[1] + "=="))
    return str(claims.get("sub", ""))
