"""What Airflow's database says, read past Airflow."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psycopg2

from tests.cluster.judging import Told

if TYPE_CHECKING:
    from collections.abc import Sequence

DAG, TASK = "cluster_load", "build"

NEWEST_JOB = "SELECT max(id) FROM job WHERE hostname = %s AND start_date >= %s"
STATES = "SELECT coalesce(state, 'none'), count(*) FROM task_instance WHERE task_id = %s GROUP BY 1"
HELD = "SELECT count(*) FROM task_instance WHERE state = 'running'"
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
HELD_UP = "SELECT count(*) FROM dag_run WHERE state NOT IN ('success', 'failed')"


@dataclass(frozen=True)
class Look:
    """How Airflow stood at one moment.

    :param states: how many tasks are in which state.
    :param held: tasks that hold a worker's slot.
    :param owners: how many waits each triggerer's job has; 0 for none.
    """

    states: dict[str, int]
    held: int
    owners: dict[int, int]


class Books:
    """Airflow's database, through one connection of several threads."""

    def __init__(self, database: str) -> None:
        self._connection = psycopg2.connect(f"postgresql://{database}")
        self._connection.autocommit = True
        self._lock = threading.Lock()

    def close(self) -> None:
        """Let go of it."""
        self._connection.close()

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock, self._connection.cursor() as cursor:
            cursor.execute(query, values)
            return list(cursor.fetchall())

    def newest_job(self, hostname: str, since: float = 0.0) -> int | None:
        """Give the id under which a process last registered, if it did since an instant."""
        found = self._rows(NEWEST_JOB, (hostname, datetime.fromtimestamp(since, UTC)))[0][0]
        return None if found is None else int(found)

    def look(self) -> Look:
        """Look at tasks and waits."""
        return Look(
            states=dict(self._rows(STATES, (TASK,))),
            held=self._rows(HELD)[0][0],
            owners=dict(self._rows(OWNERS)),
        )

    def unfinished_runs(self) -> int:
        """Count the runs that have not ended."""
        return int(self._rows(HELD_UP)[0][0])

    def told(self) -> list[Told]:
        """Give what each task said of its build."""
        results: dict[tuple[str, int], dict[str, Any]] = {}
        for run_id, index, key, value in self._rows(RESULTS, (TASK,)):
            results.setdefault((run_id, index), {})[key] = value
        return [
            _told(row, results.get((row[0], row[1]), {})) for row in self._rows(TASKS, (DAG, TASK))
        ]

    def retried(self) -> list[tuple[str, int, int]]:
        """Give run, index and number of each try that was not the last."""
        return [(run, index, number) for run, index, number in self._rows(TRIES, (TASK,))]

    def events(self) -> dict[str, int]:
        """Count what Airflow's audit log has of the tasks."""
        return dict(self._rows(EVENTS, (TASK,)))


def _told(row: tuple[Any, ...], results: dict[str, Any]) -> Told:
    run_id, index, state, tries, ended = row
    facts = results.get("return_value")
    facts = facts if isinstance(facts, dict) else {}
    return Told(
        branch=f"{run_id}-{index}",
        state=state or "none",
        tries=tries,
        build_id=results.get("build_id"),
        result=facts.get("build_id"),
        status=facts.get("status"),
        ended_at=None if ended is None else float(ended),
    )
