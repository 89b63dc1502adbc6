"""Requests to the artifact store: without the API token, and without logging the signed URL."""

from __future__ import annotations

import http.client
import logging
import re
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import requests
from urllib3.exceptions import HTTPError

from airflow_provider_buildpixel.api.sessions import InterruptibleAdapter
from airflow_provider_buildpixel.api.text import KIB, redact, safe_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_provider_buildpixel.api.settings import Settings
    from airflow_provider_buildpixel.downloads.http_range import RangeRequest
    from airflow_provider_buildpixel.downloads.throughput import StallDetector


CHUNK = 128 * KIB
CONNECTION_ERRORS = (OSError, http.client.HTTPException, HTTPError)
"""What a broken connection raises; errors of requests are OSErrors."""

ENDED_EARLY = "the connection ended early"
MAX_BUFFER_AGE = 0.25
"""Seconds after which a buffer is passed on even if it is not full."""


def error_reason(error: BaseException) -> str:
    """Return what failed, without the URL that libraries like to put into their messages."""
    inner = error.args[0] if error.args else None
    cause = getattr(inner, "reason", None) or error
    return f"{type(cause).__name__}: {safe_text(str(cause), 200)}"


def _remove_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Remove the header that requests sets from ``.netrc`` or the URL."""
    request.headers.pop("Authorization", None)
    return request


class _StoreSession(requests.Session):
    """Follows redirects, but never with an ``Authorization`` header."""

    def rebuild_auth(
        self, prepared_request: requests.PreparedRequest, response: requests.Response
    ) -> None:
        """Remove the header where requests would look one up."""
        _remove_auth(prepared_request)
        before, after = response.request.url or "", prepared_request.url or ""
        if before.startswith("https:") and not after.startswith("https:"):
            raise requests.exceptions.InvalidURL("the store redirects from https to http")


class ArtifactStore:
    """An HTTP session with the store: it uses signed URLs, and never has a token.

    :param settings: their TLS and proxy settings apply here too.
    :param read_timeout: seconds without a byte after which a connection counts as broken.
    """

    def __init__(self, settings: Settings, read_timeout: float) -> None:
        self._timeout = (settings.request_timeout, read_timeout)
        self._session = _StoreSession()
        self._session.auth = _remove_auth
        self._session.headers["User-Agent"] = settings.user_agent
        self._session.verify = settings.verify
        if settings.proxy:
            self._session.proxies = {"http": settings.proxy, "https": settings.proxy}
            self._session.trust_env = False  # else the environment's proxy would override it
        self._adapter = InterruptibleAdapter()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, self._adapter)

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

    def interrupt(self) -> None:
        """Break all connections, which ends blocked reads; safe in a signal handler."""
        self._adapter.interrupt()

    def open(self, url: str, request: RangeRequest) -> StoreResponse:
        """Request bytes of the file.

        :raises OSError: no response came.
        """
        headers: Mapping[str, Any] = request.headers
        return StoreResponse(
            self._session.get(url, headers=headers, timeout=self._timeout, stream=True)
        )


class StoreResponse:
    """A response, whose body is read into given buffers as it is stored: nothing is decoded."""

    def __init__(self, response: requests.Response) -> None:
        self._response = response
        self._body: Any = getattr(response.raw, "_fp", None)
        self._remaining: int | None = None
        reader = getattr(self._body, "fp", None)
        # http.client's own reader: nothing else reads into a given buffer without a copy, and
        # returns what has arrived instead of waiting until the buffer is full.
        direct = isinstance(self._body, http.client.HTTPResponse) and not self._body.chunked
        self._reader = reader if direct else None

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._response.status_code

    @property
    def headers(self) -> dict[str, str]:
        """The headers, with names in lower case."""
        return {name.lower(): value for name, value in self._response.headers.items()}

    def limit(self, length: int | None) -> None:
        """Set the most bytes to read; None reads to the end."""
        self._remaining = length

    def _read_into(self, view: memoryview) -> int:
        """Read what has arrived, at least one byte; return the count, 0 at the end."""
        if self._remaining is not None:
            view = view[: self._remaining]
        if len(view) == 0:
            return 0
        count = self._reader.readinto1(view) if self._reader else self._read_copy(view)
        if self._remaining is not None:
            self._remaining -= count
        return count

    def _read_copy(self, view: memoryview) -> int:
        data = self._response.raw.read(len(view))
        view[: len(data)] = data
        return len(data)

    def read_available(self, view: memoryview) -> tuple[int, str | None]:
        """Read until the buffer is full or old; return the byte count, and the failure if any."""
        started_at, filled = time.monotonic(), 0
        try:
            while filled < len(view):
                count = self._read_into(view[filled:])
                if count == 0:
                    return filled, ENDED_EARLY
                filled += count
                if time.monotonic() - started_at > MAX_BUFFER_AGE:
                    break
        except CONNECTION_ERRORS as error:
            return filled, error_reason(error)
        return filled, None

    def fill(self, view: memoryview, stall_detector: StallDetector) -> bool:
        """Read until the buffer is full, and keep the connection; return False on a failure."""
        offset = 0
        while offset < len(view):
            started_at = time.monotonic()
            part = view[offset : offset + CHUNK]
            count = self._body.readinto(part) if self._reader else self._read_copy(part)
            waited = time.monotonic() - started_at
            if count == 0 or stall_detector.is_stalled_after(count, waited):
                return False
            offset += count
        self._response.raw.release_conn()
        return True

    def close(self) -> None:
        """Close the connection, without reading the rest."""
        self._response.close()


_REQUEST_TARGET = re.compile(r'("[A-Z]+ )\S+')
"""Matches the target of a request in urllib3's messages; its path may hold the signature too."""


def _redact_record(record: logging.LogRecord) -> bool:
    record.msg, record.args = redact(_REQUEST_TARGET.sub(r"\1***", record.getMessage())), ()
    return True


@contextmanager
def redact_url_logs() -> Iterator[None]:
    """Remove signatures from urllib3's debug messages, which contain every URL."""
    log = logging.getLogger("urllib3.connectionpool")
    redaction = partial(_redact_record)  # an object of its own for each concurrent download
    log.addFilter(redaction)
    try:
        yield
    finally:
        log.removeFilter(redaction)
