"""The Airflow plugin. Every Airflow component loads this module, so its imports must be light."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowPlugin

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


class LazyApp:
    """Builds the provider's app on the first request, which only the API server receives.

    The other components load the plugin too, and Airflow 2.11 has no FastAPI.
    """

    def __init__(self) -> None:
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Build the app if needed and call it."""
        if self._app is None:
            from airflow_provider_buildpixel.plugins.app import build_app  # loads FastAPI

            self._app = build_app()
        await self._app(scope, receive, send)


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
        {"name": "BuildPixel", "url_prefix": "/buildpixel", "app": LazyApp()},
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
