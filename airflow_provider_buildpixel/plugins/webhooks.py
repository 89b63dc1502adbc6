"""The Airflow plugin. Every Airflow component loads this module, so its imports must be light."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowPlugin

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


@cache
def _app() -> ASGIApp:
    from airflow_provider_buildpixel.plugins.app import build_app  # loads FastAPI

    return build_app()


async def lazy_app(scope: Scope, receive: Receive, send: Send) -> None:
    """Call the provider's app; the first request builds it, which only the API server receives.

    The other components load the plugin too, and Airflow 2.11 has no FastAPI.
    """
    await _app()(scope, receive, send)


# URLs are relative, so that they work below a base path. A single view that Airflow rejects would
# remove the whole plugin from its list. {MAP_INDEX} is not replaced if the task is not mapped.
_TASK = "dag_id={DAG_ID}&run_id={RUN_ID}&task_id={TASK_ID}&map_index={MAP_INDEX}"
_ICON = "buildpixel/static/icon.svg"


class BuildPixelPlugin(AirflowPlugin):
    """Mounts the provider's routes below ``/buildpixel`` and adds its pages to Airflow's UI.

    Airflow 2.11 ignores both; Airflow 3.0 ignores the pages.
    """

    name = "buildpixel"
    fastapi_apps: list[Any] = [
        {"name": "BuildPixel", "url_prefix": "/buildpixel", "app": lazy_app},
    ]
    external_views: list[Any] = [
        {
            "name": "BuildPixel",
            "href": f"buildpixel/task?{_TASK}",
            "destination": "task_instance",
            "url_route": "buildpixel",
            "icon": _ICON,
        },
        {
            "name": "BuildPixel builds",
            "href": "buildpixel/builds",
            "destination": "nav",
            "category": "browse",
            "url_route": "buildpixel-builds",
            "icon": _ICON,
        },
    ]
