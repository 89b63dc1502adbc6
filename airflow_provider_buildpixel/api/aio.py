"""The asyncio REST client, based on aiohttp."""

from __future__ import annotations

import asyncio
import contextvars
import random
import ssl
import time
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self, TypeVar

import aiohttp
from requests.utils import get_environ_proxies, select_proxy
from yarl import URL

from airflow_provider_buildpixel.api.errors import (
    BuildPixelError,
    UnexpectedAnswer,
    Unreachable,
)
from airflow_provider_buildpixel.api.http_messages import (
    BodyReader,
    Reply,
    build_request,
    clock_tolerance,
    decode,
)
from airflow_provider_buildpixel.api.paging import Pager
from airflow_provider_buildpixel.api.retry import Retries
from airflow_provider_buildpixel.api.sessions import UnreadableRows
from airflow_provider_buildpixel.api.text import safe_text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

    from airflow_provider_buildpixel.api.endpoints import Call, Page
    from airflow_provider_buildpixel.api.http_messages import HttpRequest
    from airflow_provider_buildpixel.api.paging import Steps
    from airflow_provider_buildpixel.api.settings import Settings


T = TypeVar("T")
MAX_CONNECTIONS = 8


@lru_cache(maxsize=8)
def _ca_bundle(path: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=path)


async def ssl_context(settings: Settings) -> ssl.SSLContext | bool:
    """Return aiohttp's ``ssl`` argument; a CA bundle is loaded in a thread, and cached."""
    if isinstance(settings.verify, str):
        return await asyncio.to_thread(_ca_bundle, settings.verify)
    return settings.verify


def proxy_for(settings: Settings) -> str | None:
    """Return the proxy URL of the connection, or of the environment by the rules of requests.

    aiohttp's ``trust_env`` would also use a .netrc file, and does not apply to websockets.
    """
    proxy = settings.proxy or select_proxy(
        settings.base_url, get_environ_proxies(settings.base_url, no_proxy=None)
    )
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


class RedirectedError(aiohttp.ClientError):
    """A server redirected a request."""


async def _refuse_redirect(
    session: aiohttp.ClientSession,  # noqa: ARG001  # the signature of aiohttp
    context: object,  # noqa: ARG001
    redirect: aiohttp.TraceRequestRedirectParams,
) -> None:
    redirect.response.close()
    raise RedirectedError("redirected to another address, which is not followed")


def _no_redirects() -> aiohttp.TraceConfig:
    """Return a trace that rejects redirects: websocket handshakes have no option for it."""
    config = aiohttp.TraceConfig()
    config.on_request_redirect.append(_refuse_redirect)
    return config


class _BoundedResponse(aiohttp.ClientResponse):
    """A response with a size limit, for the responses that the Socket.IO library reads."""

    async def read(self) -> bytes:
        """Return the body.

        :raises ValueError: it is incomplete or too long; the library handles both alike.
        """
        if self._body is None:
            try:
                self._body = await _read_bounded(self)
            except (UnexpectedAnswer, zlib.error, aiohttp.ClientError, TimeoutError) as error:
                self.close()
                raise ValueError(str(error)) from None
        return self._body


async def _read_bounded(response: aiohttp.ClientResponse) -> bytes:
    body = BodyReader(response.headers.get("Content-Encoding"))
    async for chunk in response.content.iter_any():
        body.add(chunk)
    return body.content()


async def new_session(
    settings: Settings,
    limit: int = MAX_CONNECTIONS,
    websocket: Callable[..., aiohttp.ClientWebSocketResponse] = aiohttp.ClientWebSocketResponse,
) -> aiohttp.ClientSession:
    """Return a session with the connection's TLS and proxy settings, without the token.

    It follows no redirect, including that of a websocket handshake: a server must not choose where
    the token is sent. It does not decompress responses: aiohttp would do so without a size limit.

    :param limit: maximum number of connections.
    :param websocket: class of the websockets.
    """
    connector = aiohttp.TCPConnector(limit=limit, ssl=await ssl_context(settings))
    return aiohttp.ClientSession(
        connector=connector,
        proxy=proxy_for(settings),
        ws_response_class=websocket,  # type: ignore[arg-type]  # it is only called
        timeout=aiohttp.ClientTimeout(total=settings.request_timeout),
        cookie_jar=aiohttp.DummyCookieJar(),
        response_class=_BoundedResponse,
        auto_decompress=False,
        skip_auto_headers=["Accept-Encoding"],
        trace_configs=[_no_redirects()],
    )


class AsyncClient:
    """Performs REST calls on one event loop.

    :param settings: the parsed connection.
    :param retries: the retry policy of ``perform``.
    :param jitter: returns a random number between 0 and 1.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        retries: Retries | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.settings = settings
        self.clock_offset: float | None = None
        self._retries = retries or Retries()
        self._jitter = jitter
        self._unreadable_rows = UnreadableRows()
        self._session: aiohttp.ClientSession | None = None
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Return the client; the first request opens a session."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the HTTP connections."""
        await self.close()

    async def close(self) -> None:
        """Close the HTTP connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def server_now(self) -> float:
        """Return the server's time in seconds since the epoch, estimated from its last response."""
        return time.time() + (self.clock_offset or 0.0)

    @property
    def clock_tolerance(self) -> float:
        """The seconds by which :meth:`server_now` may be wrong."""
        return clock_tolerance(self.clock_offset)

    async def perform(self, call: Call[T]) -> T:
        """Send a request, repeat it by the retry policy, and return the parsed response."""
        started, attempt = time.monotonic(), 0
        while True:
            try:
                return await self.attempt(call)
            except BuildPixelError as error:
                elapsed = time.monotonic() - started
                pause = self._retries.pause(error, call, attempt, elapsed, self._jitter())
                if pause is None:
                    raise
            await asyncio.sleep(pause)
            attempt += 1

    async def iter_items(self, call: Call[Page[T]]) -> AsyncIterator[T]:
        """Yield the items of a list; each page is requested when it is needed."""
        pager = Pager(call)
        while pager.call is not None:
            for item in pager.take_page(await self.perform(pager.call)):
                yield item

    async def run(
        self, steps: Steps[T], perform: Callable[[Call[Any]], Awaitable[Any]] | None = None
    ) -> T:
        """Perform the calls of some steps, and return their value.

        :param perform: performs one call; by default the method of this client, with retries.
        """
        perform = perform or self.perform
        try:
            call = next(steps)
            while True:
                try:
                    answer = await perform(call)
                except BuildPixelError as error:
                    call = steps.throw(error)
                else:
                    call = steps.send(answer)
        except StopIteration as stop:
            result: T = stop.value
            return result

    async def attempt(self, call: Call[T]) -> T:
        """Send a request once, without retries, and return the parsed response."""
        request = build_request(self.settings, call)
        if call.repeatable:
            answer = decode(call, await self._send(await self._get_session(), request))
            self._unreadable_rows.log(call, answer)
            return answer
        # On a pooled connection, a close by the server would look like a lost response.
        async with await new_session(self.settings) as session:
            return decode(call, await self._send(session, request))

    async def _get_session(self) -> aiohttp.ClientSession:
        async with self._opening:
            if self._session is None:
                self._session = await new_session(self.settings)
            return self._session

    async def _send(self, session: aiohttp.ClientSession, request: HttpRequest) -> Reply:
        try:
            async with session.request(
                request.method,
                URL(request.url, encoded=True),
                headers=request.headers,
                data=request.body,
                allow_redirects=False,
            ) as response:
                return await self._reply(response)
        except (aiohttp.ClientError, OSError, zlib.error) as error:  # TimeoutError is an OSError
            raise self._unreachable(request, error) from None

    async def _reply(self, response: aiohttp.ClientResponse) -> Reply:
        body = await _read_bounded(response)
        headers = {name.lower(): value for name, value in response.headers.items()}
        reply = Reply(response.status, headers, body, time.time())
        if reply.server_time is not None:
            self.clock_offset = reply.server_time - reply.received_at
        return reply

    def _unreachable(self, request: HttpRequest, error: Exception) -> Unreachable:
        return Unreachable(
            f"{request.method} {self.settings.origin}: no answer from BuildPixel: "
            f"{type(error).__name__}: {safe_text(str(error), 300)}",
            sent=not _was_not_sent(error),
            timed_out=isinstance(error, TimeoutError),
        )


def _was_not_sent(error: Any) -> bool:
    """Whether the request was certainly not sent, because no connection was established."""
    return isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)


def create_detached_task(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start a task with an empty context, and keep a reference to it until it is done.

    In the caller's context, Airflow would write its log lines to the log of one trigger.
    """
    task = asyncio.get_running_loop().create_task(work, context=contextvars.Context())
    _DETACHED_TASKS.add(task)
    task.add_done_callback(_DETACHED_TASKS.discard)
    return task


_DETACHED_TASKS: set[asyncio.Task[Any]] = set()
"""References to running tasks; the event loop holds only weak ones."""
