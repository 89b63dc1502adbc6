"""The blocking shell: requests for REST, python-socketio over websocket-client for the feed."""

from __future__ import annotations

import random
import ssl
import time
import zlib
from contextlib import closing
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import requests
from urllib3.exceptions import HTTPError, NewConnectionError, ReadTimeoutError
from urllib3.util import parse_url

from airflow_provider_buildpixel.api.errors import BuildPixelError, Unauthorized, Unreachable
from airflow_provider_buildpixel.api.http_messages import BodyReader, Reply, build_request, decode
from airflow_provider_buildpixel.api.paging import Pager
from airflow_provider_buildpixel.api.retry import Retries
from airflow_provider_buildpixel.api.sessions import ApiSession, InterruptibleAdapter, TimeLimit
from airflow_provider_buildpixel.api.text import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_buildpixel.api.endpoints import Call
    from airflow_provider_buildpixel.api.http_messages import HttpRequest
    from airflow_provider_buildpixel.api.model import Build, Page
    from airflow_provider_buildpixel.api.paging import ListScan
    from airflow_provider_buildpixel.api.settings import Settings


T = TypeVar("T")
CHUNK = 64 * 1024


class TokenAuth(requests.auth.AuthBase):
    """Sends the token to the configured origin and to no other, whatever URL is asked for."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header, if the request goes where the token belongs."""
        request.headers.pop("Authorization", None)
        if _origin(request.url) == _base_origin(self._settings.base_url):
            request.headers["Authorization"] = f"Bearer {self._settings.token}"
        return request


Origin = tuple[str | None, str | None, int | None]


def _origin(url: str | None) -> Origin:
    """Take scheme, host and port from a URL as requests has prepared it."""
    parts = parse_url(url or "")
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme or "")
    return parts.scheme, parts.host, port


@lru_cache(maxsize=8)
def _base_origin(base_url: str) -> Origin:
    """Give the origin of the base URL, spelt as requests spells it."""
    return _origin(requests.Request("GET", base_url).prepare().url)


def new_session(settings: Settings) -> requests.Session:
    """Make an authenticated session with the connection's TLS and proxy settings."""
    session = ApiSession()
    session.auth = TokenAuth(settings)
    session.headers["User-Agent"] = settings.user_agent
    session.verify = settings.verify
    if settings.proxy:
        session.proxies = {"http": settings.proxy, "https": settings.proxy}
        session.trust_env = False  # else the environment's proxy would win
    for scheme in ("http://", "https://"):
        session.mount(scheme, InterruptibleAdapter())
    return session


class Client:
    """Performs calls and follows builds, blocking.

    :param settings: where to and as whom.
    :param retries: how patiently ``perform`` repeats.
    :param reload_settings: looks the settings up again when the token was refused: it may be replaced.
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
        self.clock_offset = 0.0
        self._retries = retries or Retries()
        self._reload_settings = reload_settings
        self._sleep = sleep
        self.jitter = jitter
        self._session: requests.Session | None = None

    @property
    def session(self) -> requests.Session:
        """The session of all reads, opened on first use."""
        if self._session is None:
            self._session = new_session(self.settings)
        return self._session

    def close(self) -> None:
        """Give back the connections."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def server_now(self) -> float:
        """Give the server's clock in seconds since the epoch, as of its last answer."""
        return time.time() + self.clock_offset

    def age(self, build: Build) -> float:
        """Give the seconds since a build was created, on the server's clock; 0 if unknown."""
        if build.created_at is None:
            return 0.0
        return max(0.0, self.server_now() - build.created_at.timestamp())

    def perform(self, call: Call[T], again: Callable[[], None] = lambda: None) -> T:
        """Send a request, again where that is safe and helps, and give what it promises.

        :param again: is called after each pause; what it raises ends the call.
        """
        started, attempt = time.monotonic(), 0
        while True:
            try:
                return self.attempt(call)
            except BuildPixelError as error:
                if isinstance(error, Unauthorized) and self._refresh_token():
                    continue  # what was refused has not run
                elapsed = time.monotonic() - started
                pause = self._retries.pause(error, call, attempt, elapsed, self.jitter())
                if pause is None:
                    raise
            self._sleep(pause)
            again()
            attempt += 1

    def _refresh_token(self) -> bool:
        """Take new settings after a refused token; tell whether there are any."""
        settings = self.settings if self._reload_settings is None else self._reload_settings()
        if settings == self.settings:
            return False
        self.close()
        self.settings = settings
        return True

    def pages(self, call: Call[Page[T]]) -> Iterator[T]:
        """Give the members of a list, reading pages as they are wanted."""
        pager = Pager(call)
        while pager.call is not None:
            yield from pager.take_page(self.perform(pager.call))

    def scan(self, scan: ListScan) -> None:
        """Read the pages of a list that a scan asks for."""
        while scan.call is not None:
            scan.take_page(self.perform(scan.call))

    def attempt(self, call: Call[T]) -> T:
        """Send a request once."""
        request = build_request(self.settings, call)
        if call.repeatable:
            return decode(call, self._send(self.session, request))
        # On a pooled connection a close by the server would look like a lost answer.
        with closing(new_session(self.settings)) as session:
            return decode(call, self._send(session, request))

    def _send(self, session: requests.Session, request: HttpRequest) -> Reply:
        limit = TimeLimit(session, 2 * self.settings.request_timeout)  # to connect, and to answer
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
            if limit.passed:  # a head that was cut off looks like a whole one
                raise requests.ReadTimeout("the answer came too slowly")
        except (requests.RequestException, HTTPError, zlib.error) as error:
            slow = requests.ReadTimeout("the answer came too slowly")
            raise self._unreachable(request, slow if limit.passed else error) from None
        return reply

    def _reply(self, response: requests.Response) -> Reply:
        """Read the body, bounded in size and, as a whole, in time."""
        until = time.monotonic() + self.settings.request_timeout
        body = BodyReader(response.headers.get("Content-Encoding"))
        # Whatever has arrived, as waiting for a full chunk would wait beyond the limit.
        while chunk := response.raw.read1(CHUNK, decode_content=False):
            body.add(chunk)
            if time.monotonic() > until:
                raise requests.ReadTimeout("the answer came too slowly")
        headers = {name.lower(): value for name, value in response.headers.items()}
        reply = Reply(response.status_code, headers, body.whole(), time.time())
        if reply.server_time is not None:
            self.clock_offset = reply.server_time - reply.received_at
        return reply

    def _unreachable(self, request: HttpRequest, error: Exception) -> Unreachable:
        reason = getattr(error.args[0], "reason", None) if error.args else None
        if not isinstance(reason, Exception):
            reason = error
        return Unreachable(
            f"{request.method} {self.settings.origin}: no answer from BuildPixel: "
            f"{type(reason).__name__}: {shown(str(reason), 300)}",
            sent=not _was_not_sent(error, reason),
            timed_out=isinstance(error, requests.Timeout | ReadTimeoutError),
        )


def _was_not_sent(error: Exception, reason: Any) -> bool:
    """Tell that the request surely did not reach BuildPixel: no connection was made."""
    refused = isinstance(reason, NewConnectionError)
    # Other TLS errors may come after the request was sent.
    mistrusted = any(isinstance(one, ssl.SSLCertVerificationError) for one in reason.args)
    return refused or mistrusted or isinstance(error, requests.ConnectTimeout)
