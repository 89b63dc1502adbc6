"""A proxy between Airflow's workers and its API server, with breakpoints for calls.

A test can pause a worker between any two of its steps, without a change to the tested code.
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

from airflow_provider_buildpixel.sandbox.server.listener import Listener
from airflow_provider_buildpixel.sandbox.server.loop_thread import LoopThread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

LOOPBACK = "127.0.0.1"
CHECK_INTERVAL = 0.05
HEARTBEAT_INTERVAL = 5.0
TIMEOUT = 120.0
MAX_CONCURRENT_CALLS = 4
"""Calls that Airflow handles at the same time: SQLite has one writer, the others wait."""

FORWARDED_HEADERS = ("Content-Type", "Refreshed-API-Token", "airflow-api-version")


@dataclass(frozen=True)
class CallPattern:
    """Which call to pause.

    :param process_number: which start of the task's process makes the call, from 1; None for any.
    :param done: pause it after Airflow has handled it; else before Airflow receives it.
    """

    method: str
    path: str
    body: str = ""
    process_number: int | None = None
    done: bool = False


@dataclass(eq=False)
class Breakpoint:
    """Pauses the first matching call of one Dag run until it is released."""

    run_id: str
    call: CallPattern
    reached: bool = False
    cut: bool = False
    _released: threading.Event = field(default_factory=threading.Event)

    def release(self, *, cut: bool = False) -> None:
        """Let the call continue, or cut its connection."""
        self.cut = cut
        self._released.set()

    @property
    def is_released(self) -> bool:
        """Whether the call may continue."""
        return self._released.is_set()

    def matches(self, worker: Worker, request: web.Request, body: bytes, *, done: bool) -> bool:
        """Return whether this is the call to pause."""
        call = self.call
        return (
            not self.reached
            and (worker.run_id, request.method, done) == (self.run_id, call.method, call.done)
            and call.process_number in (None, worker.process_number)
            and re.search(call.path, request.path) is not None
            and re.search(call.body, body.decode()) is not None
        )


@dataclass(frozen=True)
class Worker:
    """The process of a task, as it registered with Airflow."""

    run_id: str
    process_number: int
    pid: int
    hostname: str


class ExecutionApiProxy:
    """A proxy for Airflow's Execution API, as a context manager.

    :param upstream: Airflow's URL; set it before the first worker starts.
    """

    def __init__(self) -> None:
        self.upstream = ""
        self.url = ""
        self.workers: dict[str, Worker] = {}
        self._breakpoints: list[Breakpoint] = []
        self._process_numbers = Counter[str]()
        self._thread = LoopThread("execution-api-proxy")
        self._session: aiohttp.ClientSession
        self._concurrent_calls = asyncio.Semaphore(MAX_CONCURRENT_CALLS)
        self._runner: web.AppRunner
        self._listener: Listener

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
        for breakpoint_ in self._breakpoints:
            breakpoint_.release(cut=True)
        self._thread.call(self._close())
        self._thread.stop()

    def add_breakpoint(self, run_id: str, call: CallPattern) -> Breakpoint:
        """Pause the first matching call of a Dag run."""
        breakpoint_ = Breakpoint(run_id, call)
        self._breakpoints.append(breakpoint_)
        return breakpoint_

    def worker(self, run_id: str) -> Worker:
        """Return the latest worker of a run."""
        return [worker for worker in self.workers.values() if worker.run_id == run_id][-1]

    @contextmanager
    def blocked(self) -> Iterator[None]:
        """Wait for calls in progress, and block new ones for the duration of the ``with`` block."""
        self._thread.call(self._acquire_all(), TIMEOUT + 30.0)
        try:
            yield
        finally:
            self._thread.call(self._release(MAX_CONCURRENT_CALLS))

    async def _acquire_all(self) -> None:
        """Acquire every slot, or none on a timeout."""
        acquired = 0
        try:
            async with asyncio.timeout(TIMEOUT):
                while acquired < MAX_CONCURRENT_CALLS:
                    await self._concurrent_calls.acquire()
                    acquired += 1
        except TimeoutError:
            await self._release(acquired)
            raise

    async def _release(self, count: int) -> None:
        for _ in range(count):
            self._concurrent_calls.release()

    async def _open(self) -> str:
        self._session = aiohttp.ClientSession()
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        self._listener = Listener(self._runner, LOOPBACK, 0)
        await self._listener.open()
        return f"http://{LOOPBACK}:{self._listener.port}"

    async def _close(self) -> None:
        await self._listener.release_port()
        await self._runner.cleanup()
        await self._session.close()

    async def _handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        if not await self._pause(request, body, done=False):
            return _abort(request)
        response = await self._forward(request, body)
        if response is None:
            return _abort(request)
        self._record_worker(request, body, response)
        if not await self._pause(request, body, done=True):
            return _abort(request)
        return response

    async def _pause(self, request: web.Request, body: bytes, *, done: bool) -> bool:
        """Pause a call at its breakpoint, if it has one; return whether it continues."""
        worker = self.workers.get(_task_instance(request))
        if worker is None:
            return not _is_disconnected(request)
        for breakpoint_ in self._breakpoints:
            if breakpoint_.matches(worker, request, body, done=done):
                breakpoint_.reached = True
                await self._hold(breakpoint_, worker, request)
                return not (breakpoint_.cut or _is_disconnected(request))
        return not _is_disconnected(request)

    async def _hold(self, breakpoint_: Breakpoint, worker: Worker, request: web.Request) -> None:
        """Wait for the release, and send the heartbeats that the paused worker cannot send."""
        heartbeats = asyncio.create_task(self._send_heartbeats(worker, request))
        # Neither the thread of the test nor a disconnected client sets an event in this loop.
        while not breakpoint_.is_released and not _is_disconnected(request):  # noqa: ASYNC110
            await asyncio.sleep(CHECK_INTERVAL)
        heartbeats.cancel()

    async def _send_heartbeats(self, worker: Worker, request: web.Request) -> None:
        path = f"/execution/task-instances/{_task_instance(request)}/heartbeat"
        beat = {"hostname": worker.hostname, "pid": worker.pid}
        headers = _headers(request) | {"Content-Type": "application/json"}
        while True:
            await asyncio.sleep(HEARTBEAT_INTERVAL)
            try:
                await self._session.put(self.upstream + path, json=beat, headers=headers)
            except aiohttp.ClientError:  # the server is down: it takes no heartbeats
                continue

    async def _forward(self, request: web.Request, body: bytes) -> web.Response | None:
        """Return Airflow's response, None without one."""
        url = URL(self.upstream + request.raw_path, encoded=True)
        try:
            async with (
                self._concurrent_calls,
                self._session.request(
                    request.method, url, data=body, headers=_headers(request)
                ) as response,
            ):
                headers = {
                    name: response.headers[name]
                    for name in FORWARDED_HEADERS
                    if name in response.headers
                }
                return web.Response(
                    status=response.status, body=await response.read(), headers=headers
                )
        except aiohttp.ClientError:
            return None

    def _record_worker(self, request: web.Request, body: bytes, response: web.Response) -> None:
        """Record which process runs which task, from its first call."""
        if not request.path.endswith("/run") or response.status >= 300:
            return
        reported, context = json.loads(body), json.loads(_body(response))
        run_id = context["dag_run"]["run_id"]
        self._process_numbers[run_id] += 1
        key = _task_instance(request)
        self.workers.pop(key, None)  # the latest must be the last
        self.workers[key] = Worker(
            run_id, self._process_numbers[run_id], reported["pid"], reported["hostname"]
        )


def _body(response: web.Response) -> bytes:
    assert isinstance(response.body, bytes)
    return response.body


def _headers(request: web.Request) -> dict[str, str]:
    dropped = {"host", "content-length", "accept-encoding", "connection"}
    return {name: value for name, value in request.headers.items() if name.lower() not in dropped}


def _is_disconnected(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


def _abort(request: web.Request) -> web.Response:
    """Cut the connection, as a killed server does; the returned response is never sent."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _task_instance(request: web.Request) -> str:
    """Return the id of the task instance in the token, which Airflow verifies."""
    token = request.headers.get("Authorization", "").partition(" ")[2]
    parts = token.split(".")
    if len(parts) != 3:
        return ""
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(parts[1] + "=="))
    return str(claims.get("sub", ""))
