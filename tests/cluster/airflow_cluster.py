"""An Airflow of many processes, with two of each kind that may run twice."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psycopg2

from airflow_provider_buildpixel.sandbox.demo.airflow import AirflowFailed
from airflow_provider_buildpixel.sandbox.demo.api import AirflowApi, AirflowRefused
from airflow_provider_buildpixel.sandbox.demo.home import LOOPBACK, USER, Home, free_ports
from airflow_provider_buildpixel.sandbox.demo.processes import Component, stop
from tests.cluster.hostname import NAME
from tests.cluster.services import Services

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

ROOT = Path(__file__).parents[2]
DAGS = Path(__file__).parent / "dags"

SLOTS = 8
"""Tasks that one worker runs at the same time."""

API_SERVER, SCHEDULER, PROCESSOR = "api-server", "scheduler", "dag-processor"
TRIGGERER, WORKER = "triggerer", "worker"
KINDS = (API_SERVER, SCHEDULER, PROCESSOR, TRIGGERER, WORKER)
DUPLICATED = {API_SERVER, TRIGGERER, WORKER}

COMMANDS: dict[str, tuple[str, ...]] = {
    API_SERVER: ("api-server",),
    SCHEDULER: ("scheduler", "--skip-serve-logs"),
    PROCESSOR: ("dag-processor",),
    TRIGGERER: ("triggerer", "--skip-serve-logs"),
    WORKER: ("celery", "worker", "--skip-serve-logs", "--without-mingle", "--without-gossip"),
}

# By default Airflow detects an ended process after half a minute to ten minutes: too late if a
# process is killed every few seconds.
SHORT_TIMEOUTS = {
    "SCHEDULER": {
        "TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
        "TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
        "SCHEDULER_HEALTH_CHECK_THRESHOLD": "20",
        "ORPHANED_TASKS_CHECK_INTERVAL": "10",
        "TASK_QUEUED_TIMEOUT": "180",
        "TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "10",
        "NUM_STUCK_IN_QUEUED_RETRIES": "50",
    },
    "TRIGGERER": {"TRIGGERER_HEALTH_CHECK_THRESHOLD": "20"},
    "CELERY_BROKER_TRANSPORT_OPTIONS": {"VISIBILITY_TIMEOUT": "120"},
    # Airflow's own default, with which very short deferrals can fail. The demo has another value.
    "WORKERS": {"MIN_HEARTBEAT_INTERVAL": "5"},
}

START_TIMEOUT = 240.0
STOP_TIMEOUT = 10.0
PAUSE = 0.5


@dataclass(frozen=True)
class Member:
    """One of Airflow's components.

    :param port: the port that responds when an API server is ready.
    """

    kind: str
    name: str
    component: Component
    port: int | None = None


@dataclass
class AirflowCluster:
    """PostgreSQL, Redis, HAProxy and all components of Airflow, as a context manager.

    :param environment: variables for every process, such as ``AIRFLOW_CONN_…``.
    :param keep: keep the folder with all logs.
    """

    environment: Mapping[str, str]
    keep: bool = False
    path: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="buildpixel-cluster-")))
    servers: list[int] = field(default_factory=lambda: free_ports(2))
    members: list[Member] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.services = Services(self.path, secrets.token_urlsafe(12), self.servers)
        ports = [self.services.ports[2], *free_ports(2)]
        self.home = Home(self.path / "airflow", DAGS, ports)
        self.api = AirflowApi(self.home.url, USER, self.home.password)
        self.shared = self.services.components()
        self._environment = self.home.environment(self._settings() | dict(self.environment))
        for kind in KINDS:
            for number in range(1 + (kind in DUPLICATED)):
                self.members.append(self._member(kind, number))

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:  # also Ctrl-C: no process may keep running
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _settings(self) -> dict[str, str]:
        conf = {
            "CORE": {
                "EXECUTOR": "CeleryExecutor",
                "PARALLELISM": "64",
                "HOSTNAME_CALLABLE": "tests.cluster.hostname.hostname",
            },
            "DATABASE": {"SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{self.services.database}"},
            "CELERY": {
                "BROKER_URL": self.services.broker,
                "RESULT_BACKEND": f"db+postgresql+psycopg2://{self.services.database}",
                "WORKER_CONCURRENCY": str(SLOTS),
            },
        }
        sections = [*conf.items(), *SHORT_TIMEOUTS.items()]
        settings = {f"AIRFLOW__{s}__{name}": v for s, all_ in sections for name, v in all_.items()}
        return settings | {"PYTHONPATH": str(ROOT), "C_FORCE_ROOT": "1"}

    def _member(self, kind: str, number: int) -> Member:
        name = f"{kind}-{number + 1}"
        environment, arguments = self._environment | {NAME: name}, COMMANDS[kind]
        port = self.servers[number] if kind == API_SERVER else None
        if port is not None:
            environment["AIRFLOW__API__PORT"] = str(port)
        if kind == WORKER:
            arguments = (*arguments, "--celery-hostname", f"{name}@{LOOPBACK}")
        command = (sys.executable, "-m", "airflow", *arguments)
        return Member(
            kind, name, Component(name, command, environment, self.path / f"{name}.log"), port
        )

    def start(self) -> None:
        """Start everything and wait until it is healthy."""
        self.path.chmod(0o711)  # lets PostgreSQL's user reach its folder only
        self.services.create_data()
        self.home.create()
        for component in self.shared:
            component.start()
        self.wait_until(self._database_responds, START_TIMEOUT, "PostgreSQL responds")
        self._migrate()
        for member in self.members:
            member.component.start()
        self.wait_until(self.is_healthy, START_TIMEOUT, "Airflow is healthy")

    def _database_responds(self) -> bool:
        try:
            psycopg2.connect(f"postgresql://{self.services.database}").close()
        except psycopg2.OperationalError:
            return False
        return True

    def _migrate(self) -> None:
        done = subprocess.run(
            (sys.executable, "-m", "airflow", "db", "migrate"),
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise AirflowFailed(f"Airflow cannot create its database:\n{done.stderr[-2000:]}")

    def stop(self) -> None:
        """End every process and remove the folder."""
        everything = [*(member.component for member in self.members), *self.shared]
        try:
            stop([member.component for member in self.members], STOP_TIMEOUT)
            stop(self.shared, STOP_TIMEOUT)
        finally:  # Ctrl-C while they end
            for component in everything:
                component.kill()
            if not self.keep:
                shutil.rmtree(self.path, ignore_errors=True)

    def is_healthy(self) -> bool:
        """Return whether every component is healthy, and the Dag has been parsed."""
        try:
            health = self.api.health()
            dags = self.api.call("GET", "/dags?limit=100")["dags"]
            for file, error in self.api.import_errors().items():
                raise AirflowFailed(f"Airflow cannot load {file}:\n{error}")
        except (OSError, AirflowRefused):  # the server is not ready
            return False
        return set(health.values()) == {"healthy"} and len(health) >= 4 and bool(dags)

    def wait_until(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait for a condition; fail immediately if a component ends."""
        until = time.monotonic() + seconds
        while not condition():
            for component in [*(member.component for member in self.members), *self.shared]:
                if component.failed:
                    raise AirflowFailed(f"{component.name} ended:\n{component.tail()}")
            if time.monotonic() > until:
                raise AirflowFailed(f"Not within {seconds:.0f} s: {what}.")
            time.sleep(PAUSE)
