"""The asyncio shell's REST half: aiohttp performs calls."""

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
from airflow_provider_buildpixel.api.http_messages import BodyReader, Reply, build_request, decode
from airflow_provider_buildpixel.api.paging import Pager
from airflow_provider_buildpixel.api.retry import Retries
from airflow_provider_buildpixel.api.text import shown

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from airflow_provider_buildpixel.api.endpoints import Call
    from airflow_provider_buildpixel.api.http_messages import HttpRequest
    from airflow_provider_buildpixel.api.model import Page
    from airflow_provider_buildpixel.api.paging import ListScan
    from airflow_provider_buildpixel.api.settings import Settings


T = TypeVar("T")
MAX_CONNECTIONS = 8


@lru_cache(maxsize=8)
def _ca_bundle(path: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=path)


async def ssl_context(settings: Settings) -> ssl.SSLContext | bool:
    """Give what aiohttp wants for ``verify``; a bundle is read off the loop, once."""
    if isinstance(settings.verify, str):
        return await asyncio.to_thread(_ca_bundle, settings.verify)
    return settings.verify


def proxy_for(settings: Settings) -> str | None:
    """Give the connection's proxy, else the environment's, by the rules of the blocking shell.

    aiohttp's own way to the environment would take a .netrc along, and no websockets.
    """
    named = settings.proxy or select_proxy(
        settings.base_url, get_environ_proxies(settings.base_url, no_proxy=None)
    )
    return named if not named or "://" in named else f"http://{named}"


class RedirectedError(aiohttp.ClientError):
    """A server wants a request to go somewhere else."""


async def _refuse_redirect(
    session: aiohttp.ClientSession,
    context: object,
    redirect: aiohttp.TraceRequestRedirectParams,
) -> None:
    redirect.response.close()
    raise RedirectedError("redirected elsewhere, which is not followed")


def _no_redirects() -> aiohttp.TraceConfig:
    """Refuse redirects where a library would follow them: websockets have no option for it."""
    config = aiohttp.TraceConfig()
    config.on_request_redirect.append(_refuse_redirect)
    return config


class _BoundedResponse(aiohttp.ClientResponse):
    """An answer that a library reads: no more of it than of ours."""

    async def read(self) -> bytes:
        """Read the body.

        :raises ValueError: it broke off, or is too long, which the library takes to be the same.
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
    return body.whole()


async def new_session(
    settings: Settings,
    limit: int = MAX_CONNECTIONS,
    websocket: Callable[..., aiohttp.ClientWebSocketResponse] = aiohttp.ClientWebSocketResponse,
) -> aiohttp.ClientSession:
    """Make a session with the connection's TLS and proxy settings; it holds no token.

    It follows no redirect, not even that of a handshake: what the token is sent to is not for a
    server to choose. Nothing is unpacked by itself, as that would know no bounds.

    :param websocket: makes the websockets.
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
    """Performs calls on one event loop.

    :param settings: where to and as whom.
    :param retries: how patiently ``perform`` repeats.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        retries: Retries | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.settings = settings
        self.clock_offset = 0.0
        self._retries = retries or Retries()
        self._jitter = jitter
        self._session: aiohttp.ClientSession | None = None
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Open nothing yet: the first request does."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Give back the connections."""
        await self.close()

    async def close(self) -> None:
        """Give back the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def server_now(self) -> float:
        """Give the server's clock in seconds since the epoch, as of its last answer."""
        return time.time() + self.clock_offset

    async def perform(self, call: Call[T]) -> T:
        """Send a request, again where that is safe and helps, and give what it promises."""
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

    async def pages(self, call: Call[Page[T]]) -> AsyncIterator[T]:
        """Give the members of a list, reading pages as they are wanted."""
        pager = Pager(call)
        while pager.call is not None:
            for member in pager.take_page(await self.perform(pager.call)):
                yield member

    async def scan(self, scan: ListScan) -> None:
        """Read the pages of a list that a scan asks for."""
        while scan.call is not None:
            scan.take_page(await self.perform(scan.call))

    async def attempt(self, call: Call[T]) -> T:
        """Send a request once."""
        request = build_request(self.settings, call)
        if call.repeatable:
            return decode(call, await self._send(await self._reads(), request))
        # On a pooled connection a close by the server would look like a lost answer.
        async with await new_session(self.settings) as session:
            return decode(call, await self._send(session, request))

    async def _reads(self) -> aiohttp.ClientSession:
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
            f"{type(error).__name__}: {shown(str(error), 300)}",
            sent=not _was_not_sent(error),
            timed_out=isinstance(error, TimeoutError),
        )


def _was_not_sent(error: Any) -> bool:
    """Tell that the request surely did not reach BuildPixel: no connection was made."""
    return isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)


def create_detached_task(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start a task in a context of its own, and keep a reference to it until it is done.

    In the context of the caller Airflow would take what it logs for the log of one trigger.
    """
    task = asyncio.get_running_loop().create_task(work, context=contextvars.Context())
    _DETACHED_TASKS.add(task)
    task.add_done_callback(_DETACHED_TASKS.discard)
    return task


_DETACHED_TASKS: set[asyncio.Task[Any]] = set()
"""The loop itself holds only weak references to tasks."""
