"""The faults in force, and which one applies to a request."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.sandbox.faults.catalog import ARTIFACT, KINDS, PARAMS, ROUTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(eq=False)
class Fault:
    """A fault that was ordered.

    :param times: how often it applies; None for no limit.
    :param until: when it ends, on the monotonic clock; None for no end.
    :param after: how many matching requests pass before it applies.
    :param hits: how often it has applied.
    """

    name: str
    route: str
    times: int | None
    until: float | None
    after: int
    params: dict[str, Any]
    on_remove: Callable[[Fault], None]
    number: int
    hits: int = 0
    matched: int = 0
    removed: threading.Event = field(default_factory=threading.Event)

    @property
    def layer(self) -> str:
        """Return the layer at which it applies."""
        return KINDS[self.name].layer

    @property
    def over(self) -> bool:
        """Whether it will not apply again."""
        used_up = self.times is not None and self.hits >= self.times
        expired = self.until is not None and time.monotonic() >= self.until
        return self.removed.is_set() or used_up or expired

    def remove(self) -> None:
        """End this fault."""
        self.on_remove(self)

    def matches(self, layer: str, route: str, token: str | None = None) -> bool:
        """Whether it is meant for this layer, route and, over HTTP, token."""
        if self.layer != layer:
            return False
        if layer == "http" and self.params.get("token", token) != token:
            return False
        return route == self.route or (self.route == "*" and (layer != "http" or route != ARTIFACT))


class FaultRegistry:
    """All faults that were ordered and not removed, the oldest first."""

    def __init__(self) -> None:
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
        """Order a fault, for a number of times, for some real seconds, or until it is removed.

        :raises ValueError: if the name, the route or a parameter does not exist.
        """
        if name not in KINDS:
            raise ValueError(f"unknown fault {name!r}; the faults are {', '.join(KINDS)}")
        if unknown := sorted(set(params) - PARAMS):
            raise ValueError(f"unknown parameters {', '.join(unknown)}")
        if (route or "*") not in ROUTES:
            raise ValueError(f"unknown route {route!r}; the routes are {', '.join(sorted(ROUTES))}")
        until = None if seconds is None else time.monotonic() + seconds
        number = next(self._numbers)
        fault = Fault(name, ROUTES[route or "*"], times, until, after, params, self.remove, number)
        with self._lock:
            self._faults.append(fault)
        self.on_change()
        return fault

    def apply(self, layer: str, route: str, token: str | None = None) -> Fault | None:
        """Return the fault that applies to a request or event, and count the hit."""
        with self._lock:
            for fault in self._in_force():
                if fault.matches(layer, route, token):
                    fault.matched += 1
                    if fault.matched > fault.after:
                        fault.hits += 1
                        return fault
        return None

    def revokes(self, secret: str, default: str) -> bool:
        """Whether a fault makes this token invalid; count the hit.

        :param default: the token that a fault without the parameter `token` is meant for.
        """
        for fault in self.active("revoked-token"):
            if fault.params.get("token", default) == secret:
                return self.apply("token", "*") is not None
        return False

    def active(self, *names: str) -> list[Fault]:
        """Return the faults with these names that are in force."""
        with self._lock:
            return [fault for fault in self._in_force() if fault.name in names]

    def remove(self, fault: Fault) -> None:
        """End one fault."""
        with self._lock:
            fault.removed.set()
            self._faults = [other for other in self._faults if other is not fault]
        self.on_change()

    def heal(self) -> None:
        """End all faults."""
        with self._lock:
            for fault in self._faults:
                fault.removed.set()
            self._faults.clear()
        self.on_change()

    def find(self, number: int) -> Fault:
        """Return a fault by its number."""
        with self._lock:
            return next(fault for fault in self._faults if fault.number == number)

    def _in_force(self) -> Iterator[Fault]:
        # Faults that are over stay in the list until they are removed, so that `heal` also ends the
        # responses that still hang because of them.
        return (fault for fault in self._faults if not fault.over)
