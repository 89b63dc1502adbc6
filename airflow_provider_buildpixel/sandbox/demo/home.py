"""Where and how the demo's Airflow lives: a directory, free ports and settings of its own."""

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
NOT_GIVEN_OUT = (20_000, 32_000)


def free_ports(count: int) -> list[int]:
    """Return ports that nothing listens on, held together, so that they differ.

    They are none of those that the system gives to whoever asks for any: some seconds pass until
    they are listened on, and again after each restart.
    """
    with ExitStack() as held:
        ports: list[int] = []
        for port in random.sample(range(*NOT_GIVEN_OUT), 100 * count):
            each = held.enter_context(socket.socket())
            with suppress(OSError):  # it is taken
                each.bind((LOOPBACK, port))
                ports.append(port)
            if len(ports) == count:
                break
        return ports


def _secret() -> str:
    return secrets.token_urlsafe(32)


@dataclass(frozen=True)
class Home:
    """Airflow's home directory and what its processes share."""

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
        """Where the UI and the REST API are."""
        return f"http://{LOOPBACK}:{self.ports[0]}"

    @property
    def passwords(self) -> Path:
        """The file in which SimpleAuthManager looks passwords up."""
        return self.path / "passwords.json"

    def furnish(self) -> None:
        """Create what must exist before the first process starts."""
        self.path.mkdir(mode=0o700)
        self.passwords.write_text(json.dumps({USER: self.password}))
        self.passwords.chmod(0o600)

    def log(self, name: str) -> Path:
        """Return the file that takes the output of one component."""
        return self.path / f"{name}.log"

    def environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of every component: the caller's, without its Airflow settings."""
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
            "DATABASE": {"SQL_ALCHEMY_CONN": f"sqlite:///{self.path / 'airflow.db'}"},
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
            # At the default of 5 a worker looks up to 5 s late whether its task has ended. That
            # holds the slot, and with LocalExecutor the late report can fail a task that was
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
