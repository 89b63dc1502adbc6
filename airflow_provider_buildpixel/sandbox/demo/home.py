"""AIRFLOW_HOME of the demo: its directory, ports and settings."""

from __future__ import annotations

import base64
import json
import os
import random
import secrets
import socket
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LOOPBACK = "127.0.0.1"
USER = "admin"
PORT_RANGE = (20_000, 32_000)


def free_ports(count: int) -> list[int]:
    """Return distinct ports on which no process listens.

    They are outside the system's ephemeral range, so that no other process gets them in the seconds
    before the server listens, or during a restart.
    """
    with ExitStack() as stack:
        ports: list[int] = []
        for port in random.sample(range(*PORT_RANGE), 100 * count):
            probe = stack.enter_context(socket.socket())
            with suppress(OSError):  # the port is in use
                probe.bind((LOOPBACK, port))
                ports.append(port)
            if len(ports) == count:
                break
        return ports


def _secret() -> str:
    return secrets.token_urlsafe(32)


@dataclass(frozen=True)
class Home:
    """Airflow's home directory, and the ports and secrets that its processes share."""

    path: Path
    dags: Path
    ports: list[int] = field(default_factory=lambda: free_ports(3))
    password: str = field(default_factory=lambda: secrets.token_urlsafe(9))
    jwt_secret: str = field(default_factory=_secret)
    fernet_key: str = field(
        default_factory=lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    )

    @property
    def url(self) -> str:
        """Return the URL of the UI and the REST API."""
        return f"http://{LOOPBACK}:{self.ports[0]}"

    @property
    def passwords(self) -> Path:
        """Return the file from which SimpleAuthManager reads passwords."""
        return self.path / "passwords.json"

    def create(self) -> None:
        """Create the directory and the password file."""
        self.path.mkdir(mode=0o700)
        self.passwords.write_text(json.dumps({USER: self.password}))
        self.passwords.chmod(0o600)

    def log(self, name: str) -> Path:
        """Return the log file of one component."""
        return self.path / f"{name}.log"

    def environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of every component: the caller's without its Airflow settings."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW")}
        return inherited | {"AIRFLOW_HOME": str(self.path)} | self._settings() | dict(extra)

    def _settings(self) -> dict[str, str]:
        return {
            f"AIRFLOW__{section}__{option}": value
            for section, options in self._options().items()
            for option, value in options.items()
        }

    def _options(self) -> dict[str, dict[str, str]]:
        port, worker_logs, trigger_logs = map(str, self.ports)
        return {
            "CORE": self._core(),
            # On a busy machine, a process waits for its turn for longer than SQLite's 5 seconds.
            "DATABASE": {"SQL_ALCHEMY_CONN": f"sqlite:///{self.path / 'airflow.db'}?timeout=60"},
            "API": {
                "HOST": LOOPBACK,
                "PORT": port,
                "BASE_URL": self.url,
                "WORKERS": "1",
                "SECRET_KEY": self.jwt_secret,
            },
            "API_AUTH": {"JWT_SECRET": self.jwt_secret},
            "DAG_PROCESSOR": {"PARSING_PROCESSES": "1"},
            "LOGGING": {
                "WORKER_LOG_SERVER_PORT": worker_logs,
                "TRIGGER_LOG_SERVER_PORT": trigger_logs,
            },
            "USAGE_DATA_COLLECTION": {"ENABLED": "False"},
            # With the default of 5, a worker notices up to 5 s late that its task has ended. That
            # keeps the slot in use, and with LocalExecutor the late report can fail a task that was
            # deferred for 2 to 6 s.
            "WORKERS": {"MIN_HEARTBEAT_INTERVAL": "1"},
        }

    def _core(self) -> dict[str, str]:
        return {
            "DAGS_FOLDER": str(self.dags),
            "DAGS_ARE_PAUSED_AT_CREATION": "False",
            "EXECUTOR": "LocalExecutor",
            "EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "FERNET_KEY": self.fernet_key,
            "LOAD_EXAMPLES": "False",
            "PARALLELISM": "4",
            "SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
            "SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.passwords),
            "TEST_CONNECTION": "Enabled",
        }
