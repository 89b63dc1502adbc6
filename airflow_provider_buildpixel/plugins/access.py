"""Who may see which build. The one module of the pages that uses Airflow's internals.

Every user who is logged in can request any URL, and the pages read BuildPixel with the token of a
connection. So a build is shown in two cases only:

- A task has the build, which a signed record in the task's XComs proves (see
  :mod:`airflow_provider_buildpixel.page.record`), and the viewer may read the task logs of its
  Dag, which contain the same lines.
- The viewer may edit the connection, and so could send its token to any host.

All other requests get the same answer, whether the build exists or not.

The URL of a build's page names the task instance. A URL without one, typed by hand or linked from
a superseded build, is checked against all tasks that recorded the build; one task in a Dag that
the viewer may read is enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import (
    ConnectionDetails,
    DagAccessEntity,
)
from airflow.api_fastapi.core_api.security import get_user, requires_access_dag
from airflow.models.connection import Connection
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from airflow.utils.state import State
from fastapi import HTTPException
from sqlalchemy import String, and_, cast, select

import airflow_provider_buildpixel.exceptions  # noqa: F401  # adds Airflow's base classes
from airflow_provider_buildpixel.page.record import RECORD_KEY, BuildRecord, TaskInstanceKey

if TYPE_CHECKING:
    from datetime import datetime

    from fastapi import Request


__all__ = [
    "ListedBuild",
    "TaskBuild",
    "get_user",
    "listed_builds",
    "may_edit_connection",
    "may_read_logs",
    "task_build",
    "tasks_with_build",
]

MAX_WAITING, MAX_RECENT = 50, 25
"""Builds in the list: those that tasks wait for, and those of tasks that ended last."""

MAX_TASKS = 50
"""Tasks with the same build that are checked."""


@dataclass(frozen=True)
class TaskBuild:
    """A task instance and its build.

    :param record: the task's build record; None if it has none.
    :param operator: the class name of its operator; None if there is no such task instance.
    :param has_ended: whether the task instance is in a final state.
    """

    record: BuildRecord | None = None
    operator: str | None = None
    has_ended: bool = False


@dataclass(frozen=True)
class ListedBuild:
    """A build in the list of builds, with the state of its task instance."""

    ti_key: TaskInstanceKey
    record: BuildRecord
    state: str | None
    recorded_at: datetime
    ended_at: datetime | None


def may_read_logs(request: Request, user: Any, dag_id: str) -> bool:
    """Return whether a viewer may read the task logs of a Dag."""
    check_access = requires_access_dag("GET", DagAccessEntity.TASK_LOGS, dag_id)
    try:
        check_access(request, user)
    except HTTPException:
        return False
    return True


def may_edit_connection(user: Any, conn_id: str) -> bool:
    """Return whether a viewer may edit a connection."""
    details = ConnectionDetails(conn_id=conn_id, team_name=Connection.get_team_name(conn_id))
    is_allowed: bool = get_auth_manager().is_authorized_connection(
        method="PUT", details=details, user=user
    )
    return is_allowed


def task_build(ti_key: TaskInstanceKey) -> TaskBuild:
    """Return a task instance's build record and state."""
    instance = select(TaskInstance.operator, TaskInstance.state).where(
        *_same_task_instance(TaskInstance, ti_key),
    )
    xcom = select(XComModel.value).where(
        *_same_task_instance(XComModel, ti_key), XComModel.key == RECORD_KEY
    )
    with create_session() as session:
        row = session.execute(instance).first()
        value = session.scalar(xcom)
    if row is None:
        return TaskBuild()
    return TaskBuild(
        BuildRecord.from_json(value), row.operator or "", has_ended=row.state in State.finished
    )


def tasks_with_build(build_id: str) -> list[tuple[TaskInstanceKey, BuildRecord]]:
    """Return the task instances that recorded a build, and their records, latest first."""
    query = (
        select(XComModel)
        .where(
            XComModel.key == RECORD_KEY,
            cast(XComModel.value, String).contains(f'"{build_id}"', autoescape=True),
        )
        .order_by(XComModel.timestamp.desc())
        .limit(MAX_TASKS)
    )
    with create_session() as session:
        records = [
            (TaskInstanceKey.from_task_instance(xcom), BuildRecord.from_json(xcom.value))
            for xcom in session.scalars(query)
        ]
    return [
        (ti_key, record) for ti_key, record in records if record and record.build_id == build_id
    ]


def listed_builds(user: Any) -> tuple[list[ListedBuild], list[ListedBuild]]:
    """Return builds that tasks wait for, and recent others, in Dags that the viewer may read."""
    dag_ids = get_auth_manager().get_authorized_dag_ids(user=user, method="GET")
    has_ended = TaskInstance.state.in_(State.finished)
    waiting = _select_builds(dag_ids, ~has_ended | TaskInstance.state.is_(None), MAX_WAITING)
    return waiting, _select_builds(dag_ids, has_ended, MAX_RECENT)


def _select_builds(dag_ids: set[str], condition: Any, limit: int) -> list[ListedBuild]:
    names = ("dag_id", "run_id", "task_id", "map_index")
    is_same_task = and_(
        *(getattr(XComModel, name) == getattr(TaskInstance, name) for name in names)
    )
    query = (
        select(
            *(getattr(XComModel, name) for name in names),
            XComModel.value,
            XComModel.timestamp,
            TaskInstance.state,
            TaskInstance.end_date,
        )
        .join(TaskInstance, is_same_task)
        .where(XComModel.key == RECORD_KEY, XComModel.dag_id.in_(dag_ids), condition)
        .order_by(XComModel.timestamp.desc())
        .limit(limit)
    )
    with create_session() as session:
        rows = session.execute(query).all()
    return [
        ListedBuild(
            TaskInstanceKey.from_task_instance(row), record, row.state, row.timestamp, row.end_date
        )
        for row in rows
        if (record := BuildRecord.from_json(row.value))
    ]


def _same_task_instance(model: Any, ti_key: TaskInstanceKey) -> list[Any]:
    return [getattr(model, name) == value for name, value in vars(ti_key).items()]
