"""A real Airflow on this machine, for the duration of a ``with`` block."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from airflow_provider_buildpixel.sandbox.demo.api import AirflowApi
from airflow_provider_buildpixel.sandbox.demo.home import USER, Home
from airflow_provider_buildpixel.sandbox.demo.processes import Component, stop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

COMMANDS: dict[str, tuple[str, ...]] = {
    # The slowest to start is the first.
    "api-server": ("api-server",),
    "dag-processor": ("dag-processor",),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}

HEALTHY = {"metadatabase", "scheduler", "triggerer", "dag_processor"}

# The scheduler's log has a line with the time for which a worker was busy with a task.
EXTRA_SETTINGS = {"scheduler": {"AIRFLOW__LOGGING__JSON_LOGS": "True"}}

START_TIMEOUT = 120.0
STOP_TIMEOUT = 5.0
PAUSE = 0.5


class AirflowFailed(Exception):
    """Airflow did not start, a component ended unexpectedly, or a Dag file does not load."""


class Airflow:
    """Scheduler, triggerer, Dag processor and API server, on SQLite, in a new home directory.

    :param dags: the Dag folder.
    :param environment: variables for every process, such as ``AIRFLOW_CONN_…``; they win.
    :param keep: do not remove the home directory with its logs at the end.
    """

    def __init__(
        self, dags: Path, environment: Mapping[str, str] | None = None, *, keep: bool = False
    ) -> None:
        name = f"buildpixel-airflow-{secrets.token_hex(4)}"
        self.home = Home(Path(tempfile.gettempdir()) / name, dags)
        self.keep = keep
        self.url, self.user, self.password = self.home.url, USER, self.home.password
        self.api = AirflowApi(self.url, self.user, self.password)
        self._environment = self.home.environment(environment or {})
        self.components = {name: self._component(name) for name in COMMANDS}

    def _component(self, name: str) -> Component:
        command = (sys.executable, "-m", "airflow", *COMMANDS[name])
        environment = self._environment | EXTRA_SETTINGS.get(name, {})
        return Component(name, command, environment, self.home.log(name))

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:  # including Ctrl-C: no process may be left
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

    def start(self) -> None:
        """Create the database, start every component and wait until all of them are healthy."""
        self.home.create()
        self._migrate()
        for component in self.components.values():
            component.start()
        self.wait_until(self.healthy, START_TIMEOUT, "Airflow is healthy")

    def _migrate(self) -> None:
        with self.home.log("migrate").open("wb") as log:
            result = subprocess.run(
                (sys.executable, "-m", "airflow", "db", "migrate"),
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if result.returncode:
            output = self.home.log("migrate").read_text(errors="replace")
            raise AirflowFailed(f"Airflow cannot create its database:\n{output[-2000:]}")

    def stop(self) -> None:
        """End every process and remove the home directory."""
        try:
            stop(self.components.values(), STOP_TIMEOUT)
        finally:  # also after Ctrl-C while they end
            for component in self.components.values():
                component.kill()
            if not self.keep:
                shutil.rmtree(self.home.path, ignore_errors=True)

    def healthy(self) -> bool:
        """Whether every component reports that it is healthy."""
        try:
            health = self.api.health()
        except OSError:  # the server does not listen yet
            return False
        return {name for name, status in health.items() if status == "healthy"} >= HEALTHY

    def wait_for_dags(self, dag_ids: Iterable[str], seconds: float = 60.0) -> None:
        """Wait until Airflow has loaded these Dags.

        :raises AirflowFailed: after a timeout, or at once if a Dag file does not load.
        """
        expected = set(dag_ids)
        what = f"the Dags {sorted(expected)} are loaded"
        self.wait_until(lambda: expected <= set(self._dags()), seconds, what)

    def _dags(self) -> list[str]:
        for file, error in self.api.import_errors().items():
            raise AirflowFailed(f"Airflow cannot load {file}:\n{error}")
        return [dag["dag_id"] for dag in self.api.call("GET", "/dags?limit=100")["dags"]]

    def wait_until(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait for a condition.

        :raises AirflowFailed: after a timeout, or at once if a component ends.
        """
        until = time.monotonic() + seconds
        while not condition():
            self.check()
            if time.monotonic() > until:
                raise AirflowFailed(f"Timed out after {seconds:.0f} s: {what}.")
            time.sleep(PAUSE)

    def check(self) -> None:
        """Raise if a component ended unexpectedly, with the end of its log."""
        for component in self.components.values():
            if component.failed:
                raise AirflowFailed(f"{component.name} ended:\n{component.tail()}")
