"""An auth manager in which some users may read only some Dags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

if TYPE_CHECKING:
    from airflow.api_fastapi.auth.managers.models.resource_details import DagDetails

MAY_READ = {"alice": {"ours"}, "bob": {"theirs"}}

ALICE = SimpleAuthManagerUser(username="alice", role="viewer")
BOB = SimpleAuthManagerUser(username="bob", role="viewer")
OPERATOR = SimpleAuthManagerUser(username="olga", role="op")


class PerDagAuthManager(SimpleAuthManager):
    """Airflow's simple auth manager, with a list of readable Dags for some users."""

    def is_authorized_dag(
        self, *, user: SimpleAuthManagerUser, details: DagDetails | None = None, **kwargs: Any
    ) -> bool:
        """Return whether a user may access a Dag."""
        readable = MAY_READ.get(user.username)
        if readable is not None and details is not None and details.id not in readable:
            return False
        return super().is_authorized_dag(user=user, details=details, **kwargs)
