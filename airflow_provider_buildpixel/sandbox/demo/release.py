"""One run of the demo's Dag, and the builds that its tasks dispatched."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from airflow_provider_buildpixel.sandbox.demo import slots
from airflow_provider_buildpixel.sandbox.demo.course import course
from airflow_provider_buildpixel.sandbox.demo.screen import Sight
from airflow_provider_buildpixel.sandbox.demo.summary import Row

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox import Sandbox
    from airflow_provider_buildpixel.sandbox.demo.airflow import Airflow

ENDED = {"success", "failed"}
UNSTARTED = {None, "none", "scheduled", "queued"}

# A worker reports the end of its stay up to min_heartbeat_interval after the task has ended.
ACCOUNTS = 15.0
PAUSE = 0.5

Key = tuple[str, int]


@dataclass
class Release:
    """Follows a Dag run over Airflow's REST API, and its builds in the sandbox."""

    airflow: Airflow
    sandbox: Sandbox
    dag_id: str
    run_id: str
    _builds: dict[Key, str] = field(default_factory=dict)
    _ids: dict[Key, set[str]] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """The state of the Dag run."""
        return str(self.airflow.api.run(self.dag_id, self.run_id)["state"])

    def sights(self) -> list[Sight]:
        """Return how every task stands now."""
        tasks = self.airflow.api.tasks(self.dag_id, self.run_id)
        return [self._sight(task) for task in sorted(tasks, key=_age)]

    def _sight(self, task: dict[str, Any]) -> Sight:
        key = _key(task)
        self._ids.setdefault(key, set()).add(task["id"])
        if key not in self._builds and task["state"] not in UNSTARTED:
            self._find_build(key, task)
        build_id = self._builds.get(key)
        going = course(self.sandbox, build_id) if build_id is not None else None
        return Sight(_name(task), task["state"] or "-", going)

    def _find_build(self, key: Key, task: dict[str, Any]) -> None:
        """Note the build that a task has dispatched; one that waits for it too comes later."""
        build_id = self.airflow.api.xcom(task, "build_id")
        if build_id is not None and build_id not in self._builds.values():
            self._builds[key] = build_id

    def failures(self) -> list[str]:
        """Return the end of the log of each failed task."""
        tasks = self.airflow.api.tasks(self.dag_id, self.run_id)
        return [self._failure(task) for task in tasks if task["state"] == "failed"]

    def fetched(self) -> list[str]:
        """Return what the tasks that download say of the artifacts."""
        tasks = sorted(self.airflow.api.tasks(self.dag_id, self.run_id), key=_age)
        found = [self.airflow.api.xcom(task) for task in tasks if task["task_id"] == "fetch"]
        return [
            f"fetched {Path(one['path']).name}: {one['size_bytes'] / 1e6:.0f} MB, "
            f"MD5 {one['checksum_md5']} verified"
            for one in found
            if one
        ]

    def _failure(self, task: dict[str, Any]) -> str:
        log = self.airflow.api.log(task, task["try_number"])
        return f"{_name(task)} failed:\n" + "\n".join(log.splitlines()[-25:])

    def rows(self) -> list[Row]:
        """Return the table's rows, as soon as the last worker has given its account."""
        until = time.monotonic() + ACCOUNTS
        rows = self._rows()
        while not all(row.obtained for row in rows) and time.monotonic() < until:
            time.sleep(PAUSE)
            rows = self._rows()
        return rows

    def _rows(self) -> list[Row]:
        starts = self._starts()
        known = slots.segments(self.airflow.home.log("scheduler"))
        return [
            Row(known_course, slots.held(self._ids[key], starts[key], known))
            for key, build_id in sorted(self._builds.items())
            if (known_course := course(self.sandbox, build_id))
        ]

    def _starts(self) -> Counter[Key]:
        """Count in Airflow's audit log how often each task instance began to run."""
        query = {"dag_id": self.dag_id, "run_id": self.run_id, "event": "running", "limit": 100}
        logged = self.airflow.api.call("GET", f"/eventLogs?{urlencode(query)}")["event_logs"]
        return Counter(_key(entry) for entry in logged)


def _key(task: dict[str, Any]) -> Key:
    return task["task_id"], -1 if task["map_index"] is None else task["map_index"]


def _age(task: dict[str, Any]) -> tuple[bool, str, str, int]:
    """Sort the started ones first, in the order in which they started."""
    began = task["start_date"]
    return began is None, began or "", *_key(task)


def _name(task: dict[str, Any]) -> str:
    task_id, map_index = _key(task)
    label = task.get("rendered_map_index") or map_index
    return task_id if map_index < 0 else f"{task_id} [{label}]"
