"""Airflow's components as processes, stopped together with their child processes."""

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

STOP_TIMEOUT = 10.0
PAUSE = 0.05


@dataclass
class Component:
    """One long-running process, and all processes in its POSIX session.

    A session and not a process group, because Airflow puts each task into a new group.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def pid(self) -> int | None:
        """Return the id of the running process."""
        return self._process.pid if self._process and self.alive else None

    @property
    def alive(self) -> bool:
        """Whether the process has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def failed(self) -> bool:
        """Whether the process was started and ended without `kill` or `stop`."""
        return self._process is not None and self._process.poll() is not None

    def start(self) -> None:
        """Start or restart the process; its output is appended to its log."""
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
        """Kill all processes of the session with SIGKILL."""
        if self._process is None:
            return
        _kill(_session(self._process.pid))
        self._process.wait()
        self._process = None

    def stop(self, seconds: float = STOP_TIMEOUT) -> None:
        """Terminate the process, and kill its session after a timeout."""
        stop([self], seconds)

    def terminate(self) -> None:
        """Send SIGTERM."""
        if self._process is not None and self.alive:
            self._process.send_signal(signal.SIGTERM)

    def tail(self, lines: int = 20) -> str:
        """Return the end of the log."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def stop(components: Iterable[Component], seconds: float = STOP_TIMEOUT) -> None:
    """Terminate all components at the same time, and kill their sessions after a timeout."""
    stopped = list(components)
    for component in stopped:
        component.terminate()
    until = time.monotonic() + seconds
    while any(component.alive for component in stopped) and time.monotonic() < until:
        time.sleep(PAUSE)
    for component in stopped:
        component.kill()


def _session(leader: int) -> list[int]:
    """Return the ids of the processes in a session, which may exist after its leader."""
    return [pid for pid in psutil.pids() if _session_of(pid) == leader]


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:  # the process has ended, or belongs to another user
        return None


def _kill(pids: Iterable[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:  # the process has ended
            continue
