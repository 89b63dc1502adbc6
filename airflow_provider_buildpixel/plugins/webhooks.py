"""Airflow's way to the provider's routes; every component loads it, so it imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowPlugin

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


class LazyApp:
    """Builds the provider's app on the first request, in the API server alone.

    The other components load the plugin too, and Airflow 2.11 has no FastAPI at all.
    """

    def __init__(self) -> None:
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if self._app is None:
            from airflow_provider_buildpixel.plugins.app import build_app  # loads FastAPI

            self._app = build_app()
        await self._app(scope, receive, send)


# Addresses are relative, to be right below a base path. One view that Airflow does not accept would
# take the whole plugin off its list. Of a task that is not mapped, {MAP_INDEX} stays as it is.
_TASK = "dag_id={DAG_ID}&run_id={RUN_ID}&task_id={TASK_ID}&map_index={MAP_INDEX}"
_ICON = "buildpixel/static/icon.svg"


class BuildPixelPlugin(AirflowPlugin):
    """Mounts the provider's routes below ``/buildpixel``, and shows its pages in Airflow's UI.

    Airflow 2.11 takes no notice of either, Airflow 3.0 none of the pages.
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
