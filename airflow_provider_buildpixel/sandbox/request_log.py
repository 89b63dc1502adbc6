"""The log of all requests to the sandbox."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

SOCKETS = "sockets"
NO_RESPONSE = 0
MAX_REQUESTS = 200_000


@dataclass(frozen=True)
class LoggedRequest:
    """A request as it was received; `status` is 0 until it has a response, or if it never has."""

    method: str
    path: str
    query: Mapping[str, str]
    status: int
    at: float
    headers: Mapping[str, str]
    route: str
    body: bytes = b""


def logged_request(request: web.Request, route: str, body: bytes = b"") -> LoggedRequest:
    """Return the log entry of a request that has no response yet."""
    return LoggedRequest(
        method=request.method,
        path=request.path,
        query=dict(request.query),
        status=NO_RESPONSE,
        at=time.monotonic(),
        headers=request.headers.copy(),
        route=route,
        body=body,
    )


class RequestLog:
    """The newest requests, in order of arrival."""

    def __init__(self) -> None:
        self._requests: dict[int, LoggedRequest] = {}
        self._numbers = count()
        self._lock = threading.Lock()

    def add(self, request: LoggedRequest) -> int:
        """Add a request and return its number."""
        with self._lock:
            number = next(self._numbers)
            self._requests[number] = request
            self._requests.pop(number - MAX_REQUESTS, None)
            return number

    def set_status(self, number: int, status: int) -> None:
        """Set the status of the response to a request."""
        with self._lock:
            if number in self._requests:
                self._requests[number] = replace(self._requests[number], status=status)

    def clear(self) -> None:
        """Remove all requests; those in progress are not added later."""
        with self._lock:
            self._requests.clear()

    def all(self) -> list[LoggedRequest]:
        """Return the requests so far."""
        with self._lock:
            return list(self._requests.values())
