"""The build record that a task stores as an XCom, and the signature that proves it.

The page of a build reads BuildPixel with a connection's token, for everyone who may see the Dag
of the task that has the build. An XCom says which task has which build, and some users may write
XComs without being able to change the Dag's code or the connection. So the task, which has the
token, signs its record with the token: without the token it is impossible to tie another build,
or another connection, to a task.
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
"""Key of the XCom with the build record."""

UNMAPPED = -1
"""The map index of a task that is not mapped."""


@dataclass(frozen=True)
class TaskInstanceKey:
    """Identifies a task instance, without its try number."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = UNMAPPED

    @classmethod
    def from_task_instance(cls, ti: Any) -> TaskInstanceKey:
        """Return the key of a task instance, or of a row with the same attributes."""
        index = getattr(ti, "map_index", None)
        return cls(ti.dag_id, ti.run_id, ti.task_id, UNMAPPED if index is None else index)

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> TaskInstanceKey | None:
        """Return the key that a URL query names; None if an id is missing.

        Airflow leaves the placeholder ``{MAP_INDEX}`` unreplaced if the task is not mapped, and
        ``{TASK_ID}`` if the page has no task.
        """
        dag_id, run_id, task_id = (query.get(name, "") for name in ("dag_id", "run_id", "task_id"))
        if any(not name or name.startswith("{") for name in (dag_id, run_id, task_id)):
            return None
        return cls(dag_id, run_id, task_id, _map_index(query.get("map_index", "")))

    @property
    def url_query(self) -> str:
        """The URL query that names the task instance."""
        params = {"dag_id": self.dag_id, "run_id": self.run_id, "task_id": self.task_id}
        if self.map_index != UNMAPPED:
            params["map_index"] = str(self.map_index)
        return urlencode(params)


def _map_index(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else UNMAPPED


@dataclass(frozen=True)
class BuildRecord:
    """The build of a task.

    :param signature: proves that the record was made with the connection's token.
    """

    conn_id: str
    build_id: str
    signature: str
    platform: str | None = None
    build_type: str | None = None
    branch: str | None = None
    commit: str | None = None

    @classmethod
    def create(cls, ti_key: TaskInstanceKey, conn_id: str, build: Build, token: str) -> BuildRecord:
        """Return the signed record of a task instance's build."""
        signature = _sign(ti_key, conn_id, build.id, token).decode()
        revision = build.commit or build.changelist
        return cls(
            conn_id, build.id, signature, build.platform, build.build_type, build.branch, revision
        )

    @classmethod
    def from_json(cls, value: Any) -> BuildRecord | None:
        """Return the record that an XCom holds; None if it holds something else."""
        if not isinstance(value, dict):
            return None
        values = {name: fields.text(value.get(name)) for name in cls.__dataclass_fields__}
        required = ("conn_id", "build_id", "signature")
        conn_id, build_id, signature = (values.pop(name) for name in required)
        if not (conn_id and build_id and signature):
            return None
        return cls(conn_id, build_id, signature, **values)

    def to_json(self) -> dict[str, str]:
        """Return the record as plain JSON, without unknown values."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def is_valid_for(self, ti_key: TaskInstanceKey, token: str) -> bool:
        """Return whether the record was signed with the token for this task instance."""
        return hmac.compare_digest(
            _sign(ti_key, self.conn_id, self.build_id, token),
            self.signature.encode(errors="replace"),
        )

    def page_url(self, ti_key: TaskInstanceKey) -> str:
        """Return the URL of the build's page; relative, so that it works below a base path."""
        path = f"buildpixel/builds/{quote(self.conn_id, safe='')}/{quote(self.build_id, safe='')}"
        return f"{path}?{ti_key.url_query}"


def _sign(ti_key: TaskInstanceKey, conn_id: str, build_id: str, token: str) -> bytes:
    signed = ["build page", *vars(ti_key).values(), conn_id, build_id]
    body = json.dumps(signed).encode()
    return hmac.new(token.encode(), body, hashlib.sha256).hexdigest().encode()
