"""What was asked of the sandbox."""

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
NO_ANSWER = 0
MOST = 200_000


@dataclass(frozen=True)
class Request:
    """A request as it came; `status` is 0 as long as, or if ever, it has no answer."""

    method: str
    path: str
    query: Mapping[str, str]
    status: int
    at: float
    headers: Mapping[str, str]
    route: str
    body: bytes = b""


def recorded(request: web.Request, route: str, body: bytes = b"") -> Request:
    """Return what is noted of a request."""
    return Request(
        method=request.method,
        path=request.path,
        query=dict(request.query),
        status=NO_ANSWER,
        at=time.monotonic(),
        headers=request.headers.copy(),
        route=route,
        body=body,
    )


class Records:
    """All requests, in order of arrival; of very many the newest."""

    def __init__(self) -> None:
        """Start empty."""
        self._requests: dict[int, Request] = {}
        self._places = count()
        self._lock = threading.Lock()

    def open(self, request: Request) -> int:
        """Note a request and return its place."""
        with self._lock:
            place = next(self._places)
            self._requests[place] = request
            self._requests.pop(place - MOST, None)
            return place

    def close(self, place: int, status: int) -> None:
        """Note the status of its answer."""
        with self._lock:
            if place in self._requests:
                self._requests[place] = replace(self._requests[place], status=status)

    def forget(self) -> None:
        """Forget all; a request under way is not noted any more."""
        with self._lock:
            self._requests.clear()

    def all(self) -> list[Request]:
        """Return what came so far."""
        with self._lock:
            return list(self._requests.values())
