"""Requests to the artifact store: without the token, and without a trace of the signed URL."""

from __future__ import annotations

import http.client
import logging
import re
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import requests
from urllib3.exceptions import HTTPError

from airflow_provider_buildpixel.api.sessions import InterruptibleAdapter
from airflow_provider_buildpixel.api.text import KIB, redacted, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_provider_buildpixel.api.settings import Settings
    from airflow_provider_buildpixel.downloads.http_range import RangeRequest
    from airflow_provider_buildpixel.downloads.throughput import StallDetector


CHUNK = 128 * KIB
CONNECTION_ERRORS = (OSError, http.client.HTTPException, HTTPError)
"""What a connection raises that broke; requests' errors are OSErrors."""


def error_reason(error: BaseException) -> str:
    """Say what broke, without the URL that libraries like to put into their messages."""
    inner = error.args[0] if error.args else None
    cause = getattr(inner, "reason", None) or error
    return f"{type(cause).__name__}: {shown(str(cause), 200)}"


def _remove_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keep requests from asking ``.netrc``, or the URL, for a password."""
    request.headers.pop("Authorization", None)
    return request


class _StoreSession(requests.Session):
    """Follows redirects, and never with an ``Authorization`` header."""

    def rebuild_auth(
        self, prepared_request: requests.PreparedRequest, response: requests.Response
    ) -> None:
        """Take the header away where requests would look one up."""
        _remove_auth(prepared_request)
        before, after = response.request.url or "", prepared_request.url or ""
        if before.startswith("https:") and not after.startswith("https:"):
            raise requests.exceptions.InvalidURL("the store redirects from https to http")


class ArtifactStore:
    """A session with the store, which knows signed URLs and no tokens.

    :param settings: whose TLS and proxy settings hold here too.
    :param patience: seconds without a byte after which a connection counts as broken.
    """

    def __init__(self, settings: Settings, patience: float) -> None:
        self._timeout = (settings.request_timeout, patience)
        self._session = _StoreSession()
        self._session.auth = _remove_auth
        self._session.headers["User-Agent"] = settings.user_agent
        self._session.verify = settings.verify
        if settings.proxy:
            self._session.proxies = {"http": settings.proxy, "https": settings.proxy}
            self._session.trust_env = False  # else the environment's proxy would win
        self._adapter = InterruptibleAdapter()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, self._adapter)

    def close(self) -> None:
        """Give back the connections."""
        self._session.close()

    def interrupt(self) -> None:
        """Break all connections, and so wake who waits for one; safe in a signal handler."""
        self._adapter.interrupt()

    def open(self, url: str, wish: RangeRequest) -> StoreResponse:
        """Ask for bytes of the file.

        :raises OSError: no answer came.
        """
        headers: Mapping[str, Any] = wish.headers
        return StoreResponse(
            self._session.get(url, headers=headers, timeout=self._timeout, stream=True)
        )


class StoreResponse:
    """An answer, whose body is read into buffers of ours, as it is stored: nothing is decoded."""

    def __init__(self, response: requests.Response) -> None:
        self._response = response
        self._body: Any = getattr(response.raw, "_fp", None)
        self._left: int | None = None
        reader = getattr(self._body, "fp", None)
        # http.client's own reader: nothing else reads into a buffer of ours without a copy, and
        # gives what has come instead of waiting until the buffer is full.
        plain = isinstance(self._body, http.client.HTTPResponse) and not self._body.chunked
        self._reader = reader if plain else None

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._response.status_code

    @property
    def headers(self) -> dict[str, str]:
        """The headers, with names in lower case."""
        return {name.lower(): value for name, value in self._response.headers.items()}

    def expect(self, length: int | None) -> None:
        """Read so many bytes at most; None reads to the end."""
        self._left = length

    def read_into(self, view: memoryview) -> int:
        """Read what has come, at least a byte; 0 is the end."""
        if self._left is not None:
            view = view[: self._left]
        if len(view) == 0:
            return 0
        count = self._reader.readinto1(view) if self._reader else self._copied(view)
        if self._left is not None:
            self._left -= count
        return count

    def _copied(self, view: memoryview) -> int:
        data = self._response.raw.read(len(view))
        view[: len(data)] = data
        return len(data)

    def fill(self, view: memoryview, pace: StallDetector) -> bool:
        """Read until the buffer is full, and keep the connection; False where it goes wrong."""
        at = 0
        while at < len(view):
            began = time.monotonic()
            part = view[at : at + CHUNK]
            count = self._body.readinto(part) if self._reader else self._copied(part)
            if count == 0 or pace.too_slow(count, time.monotonic() - began):
                return False
            at += count
        self._response.raw.release_conn()
        return True

    def close(self) -> None:
        """Close the connection: what is still on its way is not wanted."""
        self._response.close()


_TARGET = re.compile(r'("[A-Z]+ )\S+')
"""What urllib3 says of a request: its whole target, whose path can be the signature, too."""


class _UrlRedaction(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redacted(_TARGET.sub(r"\1***", record.getMessage())), ()
        return True


@contextmanager
def redact_url_logs() -> Iterator[None]:
    """Keep signatures out of urllib3's debug messages, which name every URL."""
    log, redaction = logging.getLogger("urllib3.connectionpool"), _UrlRedaction()
    log.addFilter(redaction)
    try:
        yield
    finally:
        log.removeFilter(redaction)
