"""One run of the demo's Dag, and the builds that its tasks dispatched."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from airflow_provider_buildpixel.sandbox.demo.build_progress import build_progress
from airflow_provider_buildpixel.sandbox.demo.screen import TaskProgress
from airflow_provider_buildpixel.sandbox.demo.slot_usage import read_segments, slot_usage
from airflow_provider_buildpixel.sandbox.demo.summary import SummaryRow

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox import Sandbox
    from airflow_provider_buildpixel.sandbox.demo.airflow import Airflow

ENDED = {"success", "failed"}
NOT_STARTED = {None, "none", "scheduled", "queued"}

# A worker reports the end of a segment up to min_heartbeat_interval after the task has ended.
REPORT_TIMEOUT = 15.0
PAUSE = 0.5

Key = tuple[str, int]


@dataclass
class ReleaseRun:
    """Follows a Dag run over Airflow's REST API, and its builds in the sandbox."""

    airflow: Airflow
    sandbox: Sandbox
    dag_id: str
    run_id: str
    _builds: dict[Key, str] = field(default_factory=dict)
    _ids: dict[Key, set[str]] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """Return the state of the Dag run."""
        return str(self.airflow.api.run(self.dag_id, self.run_id)["state"])

    def tasks(self) -> list[TaskProgress]:
        """Return the current progress of every task."""
        tasks = self.airflow.api.tasks(self.dag_id, self.run_id)
        return [self._task(task) for task in sorted(tasks, key=_start_order)]

    def _task(self, task: dict[str, Any]) -> TaskProgress:
        key = _key(task)
        self._ids.setdefault(key, set()).add(task["id"])
        if key not in self._builds and task["state"] not in NOT_STARTED:
            self._find_build(key, task)
        build_id = self._builds.get(key)
        build = build_progress(self.sandbox, build_id) if build_id is not None else None
        return TaskProgress(_name(task), task["state"] or "-", build)

    def _find_build(self, key: Key, task: dict[str, Any]) -> None:
        """Remember the build of a task, unless an earlier task dispatched it."""
        build_id = self.airflow.api.xcom(task, "build_id")
        if build_id is not None and build_id not in self._builds.values():
            self._builds[key] = build_id

    def failures(self) -> list[str]:
        """Return the end of the log of each failed task."""
        tasks = self.airflow.api.tasks(self.dag_id, self.run_id)
        return [self._failure(task) for task in tasks if task["state"] == "failed"]

    def downloads(self) -> list[str]:
        """Return one line for each artifact that a task downloaded."""
        tasks = sorted(self.airflow.api.tasks(self.dag_id, self.run_id), key=_start_order)
        results = [self.airflow.api.xcom(task) for task in tasks if task["task_id"] == "fetch"]
        return [
            f"downloaded {Path(one['path']).name}: {one['size_bytes'] / 1e6:.0f} MB, "
            f"MD5 {one['checksum_md5']} verified"
            for one in results
            if one
        ]

    def _failure(self, task: dict[str, Any]) -> str:
        log = self.airflow.api.log(task, task["try_number"])
        return f"{_name(task)} failed:\n" + "\n".join(log.splitlines()[-25:])

    def rows(self) -> list[SummaryRow]:
        """Return the rows of the table, once the last worker has reported, or after a timeout."""
        until = time.monotonic() + REPORT_TIMEOUT
        rows = self._rows()
        while not all(row.complete for row in rows) and time.monotonic() < until:
            time.sleep(PAUSE)
            rows = self._rows()
        return rows

    def _rows(self) -> list[SummaryRow]:
        starts = self._starts()
        segments = read_segments(self.airflow.home.log("scheduler"))
        return [
            SummaryRow(build, slot_usage(self._ids[key], starts[key], segments))
            for key, build_id in sorted(self._builds.items())
            if (build := build_progress(self.sandbox, build_id))
        ]

    def _starts(self) -> Counter[Key]:
        """Return how often each task instance was started, from Airflow's audit log."""
        query = {"dag_id": self.dag_id, "run_id": self.run_id, "event": "running", "limit": 100}
        logged = self.airflow.api.call("GET", f"/eventLogs?{urlencode(query)}")["event_logs"]
        return Counter(_key(entry) for entry in logged)


def _key(task: dict[str, Any]) -> Key:
    return task["task_id"], -1 if task["map_index"] is None else task["map_index"]


def _start_order(task: dict[str, Any]) -> tuple[bool, str, str, int]:
    """Sort started tasks first, in the order in which they started."""
    started_at = task["start_date"]
    return started_at is None, started_at or "", *_key(task)


def _name(task: dict[str, Any]) -> str:
    task_id, map_index = _key(task)
    label = task.get("rendered_map_index") or map_index
    return task_id if map_index < 0 else f"{task_id} [{label}]"
