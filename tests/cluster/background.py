"""A loop in a thread, for the duration of a ``with`` block."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, ClassVar, Self

if TYPE_CHECKING:
    from types import TracebackType


class BackgroundLoop:
    """Calls :meth:`step` again and again in a thread, with a pause before each call.

    An error ends the thread; :attr:`is_running` is then false.
    """

    name: ClassVar[str]
    pause: ClassVar[float]

    def __post_init__(self) -> None:
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=self.name)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._thread.join()

    @property
    def is_running(self) -> bool:
        """Whether the thread is running."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopped.wait(self.pause):
            self.step()

    def step(self) -> None:
        """Run one iteration."""
        raise NotImplementedError
