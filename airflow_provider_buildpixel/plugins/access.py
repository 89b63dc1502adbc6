"""Who may see which build: the one module of the pages that uses Airflow's internals.

Anybody who is logged in can ask for any address, and what answers reads with the token of a
connection. So a build is shown in two cases only. Either a task has it, which a sealed record in
that task's XComs proves (see :mod:`airflow_provider_buildpixel.page.record`), and the viewer may
read the task logs of its Dag, where the same lines stand. Or the viewer may edit the connection,
and so could send its token anywhere. Everything else gets one and the same answer, whether there
is such a build or not.

The address of a build's page names the task instance. Without one, as typed by hand or linked from
a superseded build, the tasks that recorded the build are looked up, and one of a Dag that the
viewer may read is enough.
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

MAX_WAITED, MAX_RECENT = 50, 25
"""Builds in the list: those that tasks wait for, and those that tasks waited for last."""

MAX_TASKS = 50
"""Tasks with the same build that are looked at."""


@dataclass(frozen=True)
class TaskBuild:
    """What Airflow knows of a task instance and its build.

    :param operator: None if there is no such task instance.
    """

    record: BuildRecord | None = None
    operator: str | None = None
    over: bool = False


@dataclass(frozen=True)
class ListedBuild:
    """A record in the list of builds."""

    place: TaskInstanceKey
    record: BuildRecord
    state: str | None
    at: datetime
    ended_at: datetime | None


def may_read_logs(request: Request, user: Any, dag_id: str) -> bool:
    """Tell whether a viewer may read the task logs of a Dag."""
    allowed = requires_access_dag("GET", DagAccessEntity.TASK_LOGS, dag_id)
    try:
        allowed(request, user)
    except HTTPException:
        return False
    return True


def may_edit_connection(user: Any, conn_id: str) -> bool:
    """Tell whether a viewer may change a connection."""
    details = ConnectionDetails(conn_id=conn_id, team_name=Connection.get_team_name(conn_id))
    allowed: bool = get_auth_manager().is_authorized_connection(
        method="PUT", details=details, user=user
    )
    return allowed


def task_build(place: TaskInstanceKey) -> TaskBuild:
    """Give what a task instance says of its build."""
    instance = select(TaskInstance.operator, TaskInstance.state).where(
        *_at(TaskInstance, place),
    )
    told = select(XComModel.value).where(*_at(XComModel, place), XComModel.key == RECORD_KEY)
    with create_session() as session:
        found = session.execute(instance).first()
        value = session.scalar(told)
    if found is None:
        return TaskBuild()
    return TaskBuild(
        BuildRecord.from_json(value), found.operator or "", over=found.state in State.finished
    )


def tasks_with_build(build_id: str) -> list[tuple[TaskInstanceKey, BuildRecord]]:
    """Find the task instances that have a build, the latest first."""
    wanted = (
        select(XComModel)
        .where(
            XComModel.key == RECORD_KEY,
            cast(XComModel.value, String).contains(f'"{build_id}"', autoescape=True),
        )
        .order_by(XComModel.timestamp.desc())
        .limit(MAX_TASKS)
    )
    with create_session() as session:
        found = [
            (TaskInstanceKey.of(xcom), BuildRecord.from_json(xcom.value))
            for xcom in session.scalars(wanted)
        ]
    return [(place, record) for place, record in found if record and record.build_id == build_id]


def listed_builds(user: Any) -> tuple[list[ListedBuild], list[ListedBuild]]:
    """Give the builds that tasks wait for, and the latest others, of Dags the viewer may read."""
    dag_ids = get_auth_manager().get_authorized_dag_ids(user=user, method="GET")
    over = TaskInstance.state.in_(State.finished)
    waited = _listed(dag_ids, ~over | TaskInstance.state.is_(None), MAX_WAITED)
    return waited, _listed(dag_ids, over, MAX_RECENT)


def _listed(dag_ids: set[str], condition: Any, limit: int) -> list[ListedBuild]:
    names = ("dag_id", "run_id", "task_id", "map_index")
    same = and_(*(getattr(XComModel, name) == getattr(TaskInstance, name) for name in names))
    wanted = (
        select(
            *(getattr(XComModel, name) for name in names),
            XComModel.value,
            XComModel.timestamp,
            TaskInstance.state,
            TaskInstance.end_date,
        )
        .join(TaskInstance, same)
        .where(XComModel.key == RECORD_KEY, XComModel.dag_id.in_(dag_ids), condition)
        .order_by(XComModel.timestamp.desc())
        .limit(limit)
    )
    with create_session() as session:
        rows = session.execute(wanted).all()
    return [
        ListedBuild(TaskInstanceKey.of(row), record, row.state, row.timestamp, row.end_date)
        for row in rows
        if (record := BuildRecord.from_json(row.value))
    ]


def _at(model: Any, place: TaskInstanceKey) -> list[Any]:
    return [getattr(model, name) == value for name, value in vars(place).items()]
