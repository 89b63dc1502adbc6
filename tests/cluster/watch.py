"""Looks at both sides every two seconds, for as long as a ``with`` block lasts."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

    from airflow_provider_buildpixel.sandbox import Sandbox
    from tests.cluster.books import Books, Look

EVERY = 2.0
LIVE = {"pending", "running"}


@dataclass(frozen=True)
class Sample:
    """How things stood at one moment, in seconds since the epoch.

    :param live: builds that have not ended.
    :param sockets: connections to BuildPixel's live channel.
    """

    at: float
    phase: str
    look: Look
    live: int
    sockets: int

    @property
    def waiting(self) -> int:
        """Count the tasks that wait in a triggerer."""
        return self.look.states.get("deferred", 0)


@dataclass
class Watch:
    """Takes samples in a thread of its own."""

    books: Books
    sandbox: Sandbox
    phase: str = ""
    samples: list[Sample] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watch")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether its thread goes on."""
        return self._thread.is_alive()

    def _watch(self) -> None:
        while not self._over.wait(EVERY):
            live = sum(build["status"] in LIVE for build in self.sandbox.builds())
            look = self.books.look()
            self.samples.append(Sample(time.time(), self.phase, look, live, self.sandbox.sockets))
