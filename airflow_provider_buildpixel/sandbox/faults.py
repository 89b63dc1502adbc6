"""Trouble by name: what can be asked for, and which of it strikes now.

All durations of faults are in real seconds, since it is the client's patience that they try.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.sandbox.rest.endpoints import ENDPOINTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ARTIFACT = "GET artifact"
API_ROUTES = {endpoint.documented: endpoint.name for endpoint in ENDPOINTS} | {
    endpoint.name: endpoint.name for endpoint in ENDPOINTS
}
EVENT_ROUTES = ("build:status", "build:log", "join:build")
ROUTES = API_ROUTES | {route: route for route in (*EVENT_ROUTES, ARTIFACT, "*")}


@dataclass(frozen=True)
class Kind:
    """A kind of trouble: where it strikes, what it does, and what can be said about it."""

    place: str
    means: str
    params: tuple[str, ...] = ()


# place: http (an answer of the API, or of the artifact store if its route is named), store,
# listener, socket (a connection to the live channel), connect and join (what is asked over it),
# event (what is sent over it), webhook, token. Those over http can be meant for one `token` only.
KINDS = {
    "500": Kind("http", "500 with a proper error body"),
    "502-html": Kind("http", "502 with the HTML of a gateway"),
    "503-empty": Kind("http", "503 without a body"),
    "429": Kind(
        "http",
        "429; retry_after: seconds, or None for no header; date=True: an HTTP date",
        ("retry_after", "date"),
    ),
    "401": Kind("http", "401 invalid_token"),
    "403": Kind("http", "403 insufficient_scope"),
    "404": Kind("http", "404 not_found"),
    "refuse": Kind(
        "http", "any error answer; status, code, message", ("status", "code", "message")
    ),
    "reset": Kind("http", "the connection is reset before any answer, and nothing is done"),
    "close": Kind("http", "the connection is closed before any answer, and nothing is done"),
    "hang": Kind(
        "http", "no answer until `hold` seconds are over (then a reset), or until healed", ("hold",)
    ),
    "slow": Kind("http", "the answer comes `delay` seconds late", ("delay",)),
    "held": Kind(
        "http",
        "the answer waits until this is removed; done=True: it was carried out before, else it is "
        "carried out then, unless the client is gone",
        ("done", "token"),
    ),
    "lost-answer": Kind(
        "http",
        "the request is carried out, its answer lost; how: reset, close, timeout, 502",
        ("how", "hold"),
    ),
    "truncated-json": Kind(
        "http", "the answer stops in the middle; cut=True: so does its declared length", ("cut",)
    ),
    "mistyped-json": Kind(
        "http",
        "wrong types; shape: fields (each value), list, null, string, number, empty",
        ("shape",),
    ),
    "html-200": Kind("http", "200 with the HTML of a login page"),
    "empty-200": Kind("http", "200 without a body"),
    "redirect": Kind(
        "http",
        "a redirect to `location`, by default on the artifact store's origin",
        ("location", "status"),
    ),
    "stale": Kind("http", "the answer of the world `lag` sandbox seconds ago", ("lag",)),
    "endless-pages": Kind("http", "lists whose cursor leads to the same page again"),
    "artifact-breaks": Kind(
        "store", "the connection breaks after `at` bytes of an answer", ("at",)
    ),
    "artifact-stalls": Kind(
        "store", "nothing more comes after `at` bytes of an answer", ("at", "hold")
    ),
    "artifact-slow": Kind("store", "`rate` bytes in a second", ("rate",)),
    "artifact-ignores-range": Kind("store", "200 and the whole to a request for a range"),
    "artifact-wrong-range": Kind(
        "store", "206 with a range that begins `shift` bytes later", ("shift",)
    ),
    "artifact-corrupt": Kind("store", "the byte at `at` is wrong", ("at",)),
    "artifact-short": Kind(
        "store", "the answer, otherwise in order, lacks its last `by` bytes", ("by",)
    ),
    "artifact-expired": Kind("store", "403, as if the signed address had expired"),
    "artifact-gone": Kind("store", "404, as if the artifact had been removed"),
    "refuse-connections": Kind("listener", "the listening socket is closed, connections are cut"),
    "sockets-refused": Kind("socket", "`status` (default 403) to both transports", ("status",)),
    "sockets-blocked-polling-ok": Kind(
        "socket", "`status` (default 403) to websockets only", ("status",)
    ),
    "sockets-dropped": Kind(
        "socket", "each connection is cut `delay` seconds after it was made", ("delay",)
    ),
    "sockets-hang": Kind("socket", "101, then silence"),
    "sockets-closed": Kind("socket", "101, then a close frame"),
    "sockets-slow": Kind("connect", "the namespace is granted `delay` seconds late", ("delay",)),
    "joins-lost": Kind("join", "join:build has no effect and no answer"),
    "events-lost": Kind("event", "events are not sent"),
    "events-duplicated": Kind("event", "events are sent `copies` times (default 2)", ("copies",)),
    "events-late": Kind("event", "events are sent `delay` seconds late", ("delay",)),
    "events-malformed": Kind(
        "event", "events of odd `shape` (one of odd.SHAPES), or all shapes in turn", ("shape",)
    ),
    "webhooks-lost": Kind("webhook", "deliveries are not made"),
    "webhooks-duplicated": Kind(
        "webhook", "deliveries are made `copies` times (default 2)", ("copies",)
    ),
    "webhooks-late": Kind("webhook", "deliveries are made `delay` seconds late", ("delay",)),
    "webhooks-forged": Kind("webhook", "deliveries have a wrong signature"),
    "revoked-token": Kind(
        "token", "`token` (default: the member's) is refused while this lasts", ("token",)
    ),
}


# Any fault takes those of any other, so that one test can go through several.
PARAMS = frozenset(param for kind in KINDS.values() for param in kind.params)


@dataclass(eq=False)
class Fault:
    """A fault that was ordered; `hits` counts how often it struck."""

    name: str
    route: str
    times: int | None
    until: float | None
    after: int
    params: dict[str, Any]
    drop: Callable[[Fault], None]
    number: int
    hits: int = 0
    passed: int = 0
    removed: threading.Event = field(default_factory=threading.Event)

    @property
    def place(self) -> str:
        """Say where it strikes."""
        return KINDS[self.name].place

    @property
    def over(self) -> bool:
        """Say whether it will not strike again."""
        spent = self.times is not None and self.hits >= self.times
        late = self.until is not None and time.monotonic() >= self.until
        return self.removed.is_set() or spent or late

    def remove(self) -> None:
        """Put an end to it."""
        self.drop(self)

    def fits(self, place: str, route: str, token: str | None = None) -> bool:
        """Say whether it is meant for this route and, over HTTP, for this token."""
        if self.place != place:
            return False
        if place == "http" and self.params.get("token", token) != token:
            return False
        return route == self.route or (self.route == "*" and (place != "http" or route != ARTIFACT))


class Faults:
    """All faults in force, the oldest first."""

    def __init__(self) -> None:
        """Start with none."""
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._numbers = count(1)
        self.on_change: Callable[[], None] = lambda: None

    def add(
        self,
        name: str,
        route: str | None = None,
        times: int | None = None,
        seconds: float | None = None,
        after: int = 0,
        **params: Any,
    ) -> Fault:
        """Order a fault: so many times, for so many seconds, or until it is removed."""
        if name not in KINDS:
            raise ValueError(f"no fault is called {name!r}; there are {', '.join(KINDS)}")
        if unknown := sorted(set(params) - PARAMS):
            raise ValueError(f"no fault knows of {', '.join(unknown)}")
        if (route or "*") not in ROUTES:
            raise ValueError(f"no route is called {route!r}; there are {', '.join(sorted(ROUTES))}")
        until = None if seconds is None else time.monotonic() + seconds
        number = next(self._numbers)
        fault = Fault(name, ROUTES[route or "*"], times, until, after, params, self.drop, number)
        with self._lock:
            self._faults.append(fault)
        self.on_change()
        return fault

    def strike(self, place: str, route: str, token: str | None = None) -> Fault | None:
        """Return the fault that strikes this time, and count it."""
        with self._lock:
            for fault in self._current():
                if fault.fits(place, route, token):
                    fault.passed += 1
                    if fault.passed > fault.after:
                        fault.hits += 1
                        return fault
        return None

    def suspend(self, secret: str, usual: str) -> bool:
        """Say whether a token is refused this time, and count it."""
        for fault in self.active("revoked-token"):
            if fault.params.get("token", usual) == secret:
                return self.strike("token", "*") is not None
        return False

    def active(self, *names: str) -> list[Fault]:
        """Return the faults of these names that are in force."""
        with self._lock:
            return [fault for fault in self._current() if fault.name in names]

    def drop(self, fault: Fault) -> None:
        """Put an end to one fault."""
        with self._lock:
            fault.removed.set()
            self._faults = [other for other in self._faults if other is not fault]
        self.on_change()

    def heal(self) -> None:
        """Put an end to all faults."""
        with self._lock:
            for fault in self._faults:
                fault.removed.set()
            self._faults.clear()
        self.on_change()

    def find(self, number: int) -> Fault:
        """Return a fault by its number."""
        with self._lock:
            return next(fault for fault in self._faults if fault.number == number)

    def _current(self) -> Iterator[Fault]:
        # Those that are over stay in the list until they are healed: a hanging answer that was
        # ordered once is still hanging.
        return (fault for fault in self._faults if not fault.over)
