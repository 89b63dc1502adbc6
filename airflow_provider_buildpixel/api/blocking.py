"""The blocking REST client, based on requests."""

from __future__ import annotations

import random
import ssl
import time
import zlib
from contextlib import closing
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, TypeVar

import requests
from urllib3.exceptions import HTTPError, NewConnectionError, ReadTimeoutError
from urllib3.util import parse_url

from airflow_provider_buildpixel.api.errors import (
    BuildPixelError,
    Unauthorized,
    Unreachable,
)
from airflow_provider_buildpixel.api.http_messages import (
    BodyReader,
    Reply,
    build_request,
    clock_tolerance,
    decode,
)
from airflow_provider_buildpixel.api.paging import Pager, run_steps
from airflow_provider_buildpixel.api.retry import Retries
from airflow_provider_buildpixel.api.sessions import (
    ApiSession,
    InterruptibleAdapter,
    TimeLimit,
    UnreadableRows,
)
from airflow_provider_buildpixel.api.text import safe_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_buildpixel.api.endpoints import Call, Page
    from airflow_provider_buildpixel.api.http_messages import HttpRequest
    from airflow_provider_buildpixel.api.model import Build
    from airflow_provider_buildpixel.api.paging import Steps
    from airflow_provider_buildpixel.api.settings import Settings


T = TypeVar("T")
CHUNK = 64 * 1024
TOO_SLOW = "the response took too long"


def _add_token(settings: Settings, request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Set the ``Authorization`` header for the configured origin, and remove it for others."""
    request.headers.pop("Authorization", None)
    if _origin(request.url) == _base_origin(settings.base_url):
        request.headers["Authorization"] = f"Bearer {settings.token}"
    return request


Origin = tuple[str | None, str | None, int | None]


def _origin(url: str | None) -> Origin:
    """Return scheme, host and port of a URL that requests has prepared."""
    parts = parse_url(url or "")
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme or "")
    return parts.scheme, parts.host, port


@lru_cache(maxsize=8)
def _base_origin(base_url: str) -> Origin:
    """Return the origin of the base URL in the spelling of requests."""
    return _origin(requests.Request("GET", base_url).prepare().url)


def new_session(settings: Settings) -> requests.Session:
    """Return an authenticated session with the connection's TLS and proxy settings."""
    session = ApiSession()
    session.auth = partial(_add_token, settings)
    session.headers["User-Agent"] = settings.user_agent
    session.verify = settings.verify
    if settings.proxy:
        session.proxies = {"http": settings.proxy, "https": settings.proxy}
        session.trust_env = False  # otherwise the environment's proxy has priority
    for scheme in ("http://", "https://"):
        session.mount(scheme, InterruptibleAdapter())
    return session


class Client:
    """Performs REST calls, blocking.

    :param settings: the parsed connection.
    :param retries: the retry policy of ``perform``.
    :param reload_settings: returns the current settings; called when the token was rejected, which
        may have been replaced in the connection.
    :param sleep: blocks for a number of seconds.
    :param jitter: returns a random number between 0 and 1.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        retries: Retries | None = None,
        reload_settings: Callable[[], Settings] | None = None,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.settings = settings
        self.clock_offset: float | None = None
        self._retries = retries or Retries()
        self._reload_settings = reload_settings
        self._sleep = sleep
        self.jitter = jitter
        self._unreadable_rows = UnreadableRows()
        self._session: requests.Session | None = None

    @property
    def session(self) -> requests.Session:
        """The session of all reads, created on first use."""
        if self._session is None:
            self._session = new_session(self.settings)
        return self._session

    def close(self) -> None:
        """Close the HTTP connections."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def server_now(self) -> float:
        """Return the server's time in seconds since the epoch, estimated from its last response."""
        return time.time() + (self.clock_offset or 0.0)

    @property
    def clock_tolerance(self) -> float:
        """The seconds by which :meth:`server_now` may be wrong."""
        return clock_tolerance(self.clock_offset)

    def age(self, build: Build) -> float:
        """Return the seconds since a build was created, by the server's clock; 0 if unknown."""
        if build.created_at is None:
            return 0.0
        return max(0.0, self.server_now() - build.created_at.timestamp())

    def perform(self, call: Call[T], retries: Retries | None = None) -> T:
        """Send a request, repeat it by the retry policy, and return the parsed response.

        :param retries: the retry policy, if not that of the client.
        """
        retries = retries or self._retries
        started, attempt = time.monotonic(), 0
        while True:
            try:
                return self.attempt(call)
            except BuildPixelError as error:
                if isinstance(error, Unauthorized) and self._refresh_token():
                    continue  # a rejected request has not run
                elapsed = time.monotonic() - started
                pause = retries.pause(error, call, attempt, elapsed, self.jitter())
                if pause is None:
                    raise
            self._sleep(pause)
            attempt += 1

    def _refresh_token(self) -> bool:
        """Reload the settings after a rejected token; return whether they have changed."""
        settings = self.settings if self._reload_settings is None else self._reload_settings()
        if settings == self.settings:
            return False
        self.close()
        self.settings = settings
        return True

    def iter_items(self, call: Call[Page[T]]) -> Iterator[T]:
        """Yield the items of a list; each page is requested when it is needed."""
        pager = Pager(call)
        while pager.call is not None:
            yield from pager.take_page(self.perform(pager.call))

    def run(self, steps: Steps[T]) -> T:
        """Perform the calls of some steps, and return their value."""
        return run_steps(steps, self.perform)

    def attempt(self, call: Call[T]) -> T:
        """Send a request once, without retries, and return the parsed response."""
        request = build_request(self.settings, call)
        if call.repeatable:
            answer = decode(call, self._send(self.session, request))
            self._unreadable_rows.log(call, answer)
            return answer
        # On a pooled connection, a close by the server would look like a lost response.
        with closing(new_session(self.settings)) as session:
            return decode(call, self._send(session, request))

    def _send(self, session: requests.Session, request: HttpRequest) -> Reply:
        limit = TimeLimit(session, 2 * self.settings.request_timeout)  # connecting and responding
        try:
            with (
                limit,
                session.request(
                    request.method,
                    request.url,
                    headers=request.headers,
                    data=request.body,
                    timeout=self.settings.request_timeout,
                    allow_redirects=False,
                    stream=True,
                ) as response,
            ):
                reply = self._reply(response)
            if limit.expired:  # http.client accepts truncated headers as complete
                raise requests.ReadTimeout(TOO_SLOW)
        except (requests.RequestException, HTTPError, zlib.error) as error:
            cause = requests.ReadTimeout(TOO_SLOW) if limit.expired else error
            raise self._unreachable(request, cause) from None
        return reply

    def _reply(self, response: requests.Response) -> Reply:
        """Read the body, with limits for its size and for the total time."""
        deadline = time.monotonic() + self.settings.request_timeout
        body = BodyReader(response.headers.get("Content-Encoding"))
        # read1 returns what has arrived; read would wait for a full chunk, beyond the deadline.
        while chunk := response.raw.read1(CHUNK, decode_content=False):
            body.add(chunk)
            if time.monotonic() > deadline:
                raise requests.ReadTimeout(TOO_SLOW)
        headers = {name.lower(): value for name, value in response.headers.items()}
        reply = Reply(response.status_code, headers, body.content(), time.time())
        if reply.server_time is not None:
            self.clock_offset = reply.server_time - reply.received_at
        return reply

    def _unreachable(self, request: HttpRequest, error: Exception) -> Unreachable:
        reason = getattr(error.args[0], "reason", None) if error.args else None
        if not isinstance(reason, Exception):
            reason = error
        return Unreachable(
            f"{request.method} {self.settings.origin}: no answer from BuildPixel: "
            f"{type(reason).__name__}: {safe_text(str(reason), 300)}",
            sent=not _was_not_sent(error, reason),
            timed_out=isinstance(error, requests.Timeout | ReadTimeoutError),
        )


def _was_not_sent(error: Exception, reason: Any) -> bool:
    """Whether the request was certainly not sent, because no connection was established."""
    refused = isinstance(reason, NewConnectionError)
    # Other TLS errors may occur after the request was sent.
    untrusted = any(isinstance(arg, ssl.SSLCertVerificationError) for arg in reason.args)
    return refused or untrusted or isinstance(error, requests.ConnectTimeout)
