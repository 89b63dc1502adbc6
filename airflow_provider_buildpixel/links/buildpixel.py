"""The link from a task instance to the page of its build."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, TaskInstanceKey


LINK_KEY = "buildpixel_build_url"
"""XCom key of the URL of the build's page."""


class BuildPixelBuildLink(BaseOperatorLink):
    """Link to the build's page: by the connection's ``build_url``, else the page inside Airflow.

    The page inside Airflow requires Airflow 3.1.
    """

    name = "BuildPixel build"

    @property
    def xcom_key(self) -> str:
        """The XCom that Airflow 3 reads the URL from; it is pushed right after the dispatch."""
        return LINK_KEY

    def get_link(
        self,
        operator: BaseOperator,  # noqa: ARG002  # Airflow's signature
        *,
        ti_key: TaskInstanceKey,
    ) -> str:
        """Return the URL that the task pushed, empty if there is none yet."""
        url: Any = XCom.get_value(ti_key=ti_key, key=LINK_KEY)
        return url or ""
