"""Whose build is it: the record that a task leaves of its build, and the seal that proves it.

A build's page reads with the token of a connection for whoever may see the Dag of the task that
has the build. That the task has it says an XCom, and XComs can be written by people who may
neither edit that Dag's code nor the connection. So the task, which holds the token, seals the
record with it: nobody who has not got the token can tie another build, or another connection, to
a task that they may see.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from airflow_provider_buildpixel.api import fields

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_buildpixel.api.model import Build


RECORD_KEY = "buildpixel_build"
"""XCom with the record of the task's build."""

UNMAPPED = -1


@dataclass(frozen=True)
class TaskInstanceKey:
    """A task instance."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = UNMAPPED

    @classmethod
    def of(cls, ti: Any) -> TaskInstanceKey:
        """Name a task instance."""
        index = getattr(ti, "map_index", None)
        return cls(ti.dag_id, ti.run_id, ti.task_id, UNMAPPED if index is None else index)

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> TaskInstanceKey | None:
        """Read the query of an address; None if it names no task instance.

        Airflow leaves ``{MAP_INDEX}`` as it is for a task that is not mapped, and ``{TASK_ID}``
        where the page has none.
        """
        dag_id, run_id, task_id = (query.get(name, "") for name in ("dag_id", "run_id", "task_id"))
        if any(not name or name.startswith("{") for name in (dag_id, run_id, task_id)):
            return None
        return cls(dag_id, run_id, task_id, _map_index(query.get("map_index", "")))

    @property
    def query(self) -> str:
        """The query of an address that names it."""
        named = {"dag_id": self.dag_id, "run_id": self.run_id, "task_id": self.task_id}
        if self.map_index != UNMAPPED:
            named["map_index"] = str(self.map_index)
        return urlencode(named)


def _map_index(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else UNMAPPED


@dataclass(frozen=True)
class BuildRecord:
    """What a task says of its build.

    :param seal: proves that a holder of the connection's token said so.
    """

    conn_id: str
    build_id: str
    seal: str
    platform: str | None = None
    build_type: str | None = None
    branch: str | None = None
    commit: str | None = None

    @classmethod
    def made(cls, place: TaskInstanceKey, conn_id: str, build: Build, token: str) -> BuildRecord:
        """Record that this task has this build."""
        seal = _sign(place, conn_id, build.id, token).decode()
        revision = build.commit or build.changelist
        return cls(
            conn_id, build.id, seal, build.platform, build.build_type, build.branch, revision
        )

    @classmethod
    def from_json(cls, value: Any) -> BuildRecord | None:
        """Read an XCom; None if it is no record."""
        if not isinstance(value, dict):
            return None
        told = {name: fields.text(value.get(name)) for name in cls.__dataclass_fields__}
        conn_id, build_id, seal = (told.pop(name) for name in ("conn_id", "build_id", "seal"))
        if not (conn_id and build_id and seal):
            return None
        return cls(conn_id, build_id, seal, **told)

    def to_json(self) -> dict[str, str]:
        """Give it as plain JSON, without what is not known."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def proves(self, place: TaskInstanceKey, token: str) -> bool:
        """Tell whether a holder of the token made it for this task instance."""
        return hmac.compare_digest(
            _sign(place, self.conn_id, self.build_id, token), self.seal.encode(errors="replace")
        )

    def page(self, place: TaskInstanceKey) -> str:
        """Give the address of the build's page, relative to Airflow's own."""
        return page_address(self.conn_id, self.build_id, place)


def page_address(conn_id: str, build_id: str, place: TaskInstanceKey) -> str:
    """Give the address of a build's page; relative, so that it is right below a base path."""
    path = f"buildpixel/builds/{quote(conn_id, safe='')}/{quote(build_id, safe='')}"
    return f"{path}?{place.query}"


def _sign(place: TaskInstanceKey, conn_id: str, build_id: str, token: str) -> bytes:
    told = ["build page", *vars(place).values(), conn_id, build_id]
    body = json.dumps(told).encode()
    return hmac.new(token.encode(), body, hashlib.sha256).hexdigest().encode()
