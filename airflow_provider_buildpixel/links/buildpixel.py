"""The link from a task instance to the page of its build."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, TaskInstanceKey


LINK_KEY = "buildpixel_build_url"
"""XCom with the address of the build's page."""


class BuildPixelBuildLink(BaseOperatorLink):
    """Opens the build's page: that of the connection's ``build_url``, else the one inside Airflow.

    Below Airflow 3.1 there is none inside Airflow.
    """

    name = "BuildPixel build"

    @property
    def xcom_key(self) -> str:
        """The XCom that Airflow 3 shows: pushed right after the dispatch, so it is there early."""
        return LINK_KEY

    def get_link(
        self,
        operator: BaseOperator,  # Airflow's signature
        *,
        ti_key: TaskInstanceKey,
    ) -> str:
        """Give the address that the task has pushed; nothing of the operator lives that long."""
        found: Any = XCom.get_value(ti_key=ti_key, key=LINK_KEY)
        return found or ""
