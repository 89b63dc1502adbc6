"""Runs greenlets on a heap of simulated instants, and replaces the clock of the provider."""

from __future__ import annotations

import heapq
import pkgutil
import random
import time
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from itertools import count
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent, greenlet  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

START = 1_750_000_000.0
"""The instant at which every schedule begins, in seconds since the epoch."""


class Killed(BaseException):
    """The process of an actor is gone: no code of the provider runs after this."""


class Actor(greenlet):  # type: ignore[misc]  # it has no types
    """A thread of simulated time; once it was killed, it never runs again.

    ``wake_up`` is the number of the entry of the heap that wakes it.
    """

    is_killed = False
    wake_up = -1
    pause: Callable[[float], None]
    """Lets time pass for the task of the actor."""

    def kill(self) -> None:
        """End the actor where it waits."""
        self.is_killed = True
        if not self.dead and self.gr_frame is not None:
            self.throw(Killed)


class Hub:
    """The heap of what happens next; it runs in the greenlet that calls :meth:`run`."""

    def __init__(self) -> None:
        self.now = START
        self.steps = 0
        self._heap: list[tuple[float, int, Callable[[], object] | Actor]] = []
        self._order = count()
        self._main = getcurrent()

    def call_at(self, instant: float, action: Callable[[], object]) -> None:
        """Call a function at an instant."""
        heapq.heappush(self._heap, (max(instant, self.now), next(self._order), action))

    def spawn(self, run: Callable[[], object]) -> Actor:
        """Return a new actor, which starts at this instant."""
        actor = Actor(run, self._main)
        self._wake_at(self.now, actor)
        return actor

    def _wake_at(self, instant: float, actor: Actor) -> None:
        actor.wake_up = next(self._order)
        heapq.heappush(self._heap, (instant, actor.wake_up, actor))

    def sleep(self, seconds: float) -> None:
        """Let the current actor wait."""
        actor = getcurrent()
        assert isinstance(actor, Actor), "only actors can wait"
        if actor.is_killed:
            raise Killed
        self._wake_at(self.now + max(0.0, seconds), actor)
        self._main.switch()

    def run(self, until: float, max_steps: int) -> bool:
        """Run until nothing is left to do; return False if an actor goes on for too long."""
        while self._heap:
            instant, number, what = heapq.heappop(self._heap)
            if instant > until or self.steps > max_steps:
                return False
            self.now = instant
            if not isinstance(what, Actor):
                what()
            elif what.wake_up == number and not what.is_killed:
                self.steps += 1
                what.switch()
        return True

    def end(self) -> None:
        """Kill all actors that are left."""
        for _, _, what in self._heap:
            if isinstance(what, Actor):
                what.kill()


class SimulatedTime:
    """Stands in for the module ``time``; all of its clocks are that of the current hub."""

    hub: Hub

    def time(self) -> float:
        """Return the seconds since the epoch."""
        return self.hub.now

    def monotonic(self) -> float:
        """Return the same: only differences of it count."""
        return self.hub.now

    def sleep(self, seconds: float) -> None:
        """Let the current actor wait."""
        self.hub.sleep(seconds)


CLOCK = SimulatedTime()
RANDOM = random.Random(0)  # noqa: S311  # a seeded simulation
WRITE_TIMES = (0.02, 0.1, 1.5)
"""Seconds that a use of a Variable takes."""


class Variables:
    """Stands in for Airflow's Variables, which all tasks of a simulation share."""

    def __init__(self) -> None:
        self.stored: dict[str, str] | None = {}
        """None if tasks may not use Variables."""

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value."""
        return self._use().get(key, default)

    def set(self, key: str, value: str, **_: str) -> None:
        """Store a value; the last one wins."""
        self._use()[key] = value
        getcurrent().pause(0.02)

    def delete(self, key: str) -> None:
        """Delete a value."""
        self._use().pop(key, None)
        getcurrent().pause(0.02)

    def _use(self) -> dict[str, str]:
        if self.stored is None:
            raise ImportError("this process has no supervisor")
        getcurrent().pause(RANDOM.choice(WRITE_TIMES))
        return self.stored


VARIABLES = Variables()


class NoEvents:
    """Stands in for the channel of a blocking wait that only polls."""

    def __init__(self, *_: object, enabled: bool) -> None:
        assert not enabled, "a simulated task polls"

    def get(self, seconds: float) -> None:
        """Wait; no event comes."""
        CLOCK.sleep(seconds)

    def close(self) -> None:
        """Do nothing."""


FOLDERS = ("api", "builds", "hooks", "operators", "page", "tasks", "triggers", "waits")


@cache
def _modules() -> list[ModuleType]:
    """Return the modules that a task uses, also those that functions import."""
    package = "airflow_provider_buildpixel"
    folders = [import_module(f"{package}.{folder}") for folder in FOLDERS]
    names = [
        f"{folder.__name__}.{module.name}"
        for folder in folders
        for module in pkgutil.iter_modules(folder.__path__)
    ]
    return list(map(import_module, names))


def _replacements() -> Iterator[tuple[ModuleType, str, Any]]:
    for module in _modules():
        for name, original, stand_in in (("time", time, CLOCK), ("random", random, RANDOM)):
            if getattr(module, name, None) is original:
                yield module, name, stand_in
        if module.__name__ == "airflow_provider_buildpixel.waits.blocking":
            yield module, "BlockingChannel", NoEvents
        if hasattr(module, "Variable"):
            yield module, "Variable", VARIABLES


@contextmanager
def simulated_time() -> Iterator[None]:
    """Give the loaded modules of the provider the simulated clock and seeded random numbers."""
    replaced = [(*found, getattr(found[0], found[1])) for found in _replacements()]
    for module, name, stand_in, _ in replaced:
        setattr(module, name, stand_in)
    try:
        yield
    finally:
        for module, name, _, original in replaced:
            setattr(module, name, original)
