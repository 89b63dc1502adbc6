"""Airflow's components as processes: started, stopped and killed with all that they started."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

STOPPING = 10.0
PAUSE = 0.05


@dataclass
class Component:
    """One long-running process, and everything in the session that it leads.

    A session and not a process group: Airflow puts each task into a group of its own.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def pid(self) -> int | None:
        """The id of the running process."""
        return self._process.pid if self._process and self.alive else None

    @property
    def alive(self) -> bool:
        """Whether the process has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def failed(self) -> bool:
        """Whether the process was started and has ended, which nobody asked it to."""
        return self._process is not None and self._process.poll() is not None

    def start(self) -> None:
        """Start the process, once more if it ran before; its output is appended to its log."""
        self.kill()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill(self) -> None:
        """Kill the whole session as ``kill -9`` does: nothing in it gets to clean up."""
        if self._process is None:
            return
        _kill(_session(self._process.pid))
        self._process.wait()
        self._process = None

    def stop(self, seconds: float = STOPPING) -> None:
        """Ask the process to end, wait for it, and kill what is left."""
        stop([self], seconds)

    def ask_to_end(self) -> None:
        """Send SIGTERM, as a service manager does."""
        if self._process is not None and self.alive:
            self._process.send_signal(signal.SIGTERM)

    def tail(self, lines: int = 20) -> str:
        """Return the end of the log."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def stop(components: Iterable[Component], seconds: float = STOPPING) -> None:
    """Ask all to end at once, give them the same time, and kill what is left of any."""
    asked = list(components)
    for component in asked:
        component.ask_to_end()
    until = time.monotonic() + seconds
    while any(component.alive for component in asked) and time.monotonic() < until:
        time.sleep(PAUSE)
    for component in asked:
        component.kill()


def _session(leader: int) -> list[int]:
    """Return the ids of the processes of one session; it outlives its leader."""
    return [pid for pid in psutil.pids() if _session_of(pid) == leader]


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:  # it has just ended, or belongs to somebody else
        return None


def _kill(pids: Iterable[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:  # it has just ended
            continue
