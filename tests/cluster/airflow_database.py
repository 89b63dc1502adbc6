"""Reads Airflow's database directly."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psycopg2

from tests.cluster.verification import TaskResult

if TYPE_CHECKING:
    from collections.abc import Sequence

DAG, TASK = "cluster_load", "build"

NEWEST_JOB = "SELECT max(id) FROM job WHERE hostname = %s AND start_date >= %s"
STATES = "SELECT coalesce(state, 'none'), count(*) FROM task_instance WHERE task_id = %s GROUP BY 1"
RUNNING = "SELECT count(*) FROM task_instance WHERE state = 'running'"
OWNERS = "SELECT coalesce(triggerer_id, 0), count(*) FROM trigger GROUP BY 1"
TASKS = """
    SELECT run_id, map_index, state, try_number, extract(epoch FROM end_date)
    FROM task_instance WHERE dag_id = %s AND task_id = %s AND map_index >= 0
"""
RESULTS = """
    SELECT run_id, map_index, key, value
    FROM xcom WHERE task_id = %s AND key IN ('return_value', 'build_id')
"""
TRIES = "SELECT run_id, map_index, try_number FROM task_instance_history WHERE task_id = %s"
EVENTS = "SELECT event, count(*) FROM log WHERE task_id = %s GROUP BY 1 ORDER BY 1"
UNFINISHED_RUNS = "SELECT count(*) FROM dag_run WHERE state NOT IN ('success', 'failed')"


@dataclass(frozen=True)
class TaskCounts:
    """Airflow's tasks and waits at one moment.

    :param states: number of tasks by state.
    :param running: number of tasks that use a worker slot.
    :param owners: number of waits by the triggerer's job id; 0 for waits without a triggerer.
    """

    states: dict[str, int]
    running: int
    owners: dict[int, int]


class AirflowDatabase:
    """Airflow's database, through one connection that threads share."""

    def __init__(self, database: str) -> None:
        self._connection = psycopg2.connect(f"postgresql://{database}")
        self._connection.autocommit = True
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock, self._connection.cursor() as cursor:
            cursor.execute(query, values)
            return list(cursor.fetchall())

    def newest_job(self, hostname: str, since: float = 0.0) -> int | None:
        """Return the id of a process's latest job that started since an instant, or None."""
        job = self._rows(NEWEST_JOB, (hostname, datetime.fromtimestamp(since, UTC)))[0][0]
        return None if job is None else int(job)

    def task_counts(self) -> TaskCounts:
        """Count tasks and waits."""
        return TaskCounts(
            states=dict(self._rows(STATES, (TASK,))),
            running=self._rows(RUNNING)[0][0],
            owners=dict(self._rows(OWNERS)),
        )

    def unfinished_runs(self) -> int:
        """Return the number of runs that have not ended."""
        return int(self._rows(UNFINISHED_RUNS)[0][0])

    def task_results(self) -> list[TaskResult]:
        """Return the state of each task and what it pushed about its build."""
        results: dict[tuple[str, int], dict[str, Any]] = {}
        for run_id, index, key, value in self._rows(RESULTS, (TASK,)):
            results.setdefault((run_id, index), {})[key] = value
        return [
            _task_result(row, results.get((row[0], row[1]), {}))
            for row in self._rows(TASKS, (DAG, TASK))
        ]

    def earlier_tries(self) -> list[tuple[str, int, int]]:
        """Return run, map index and number of each try that was not the last."""
        return [(run, index, number) for run, index, number in self._rows(TRIES, (TASK,))]

    def events(self) -> dict[str, int]:
        """Return the number of events of the tasks in Airflow's audit log, by name."""
        return dict(self._rows(EVENTS, (TASK,)))


def _task_result(row: tuple[Any, ...], results: dict[str, Any]) -> TaskResult:
    run_id, index, state, tries, ended = row
    returned = results.get("return_value")
    returned = returned if isinstance(returned, dict) else {}
    return TaskResult(
        branch=f"{run_id}-{index}",
        state=state or "none",
        tries=tries,
        build_id=results.get("build_id"),
        result=returned.get("build_id"),
        status=returned.get("status"),
        ended_at=None if ended is None else float(ended),
    )
