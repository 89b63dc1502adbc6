"""Routes of the build pages: the tab of a task instance, a build's page, and the list of builds.

The pages themselves are static files, the same for all users and without data of a build. Their
scripts request the routes below ``data/``, each of which checks the user's permissions.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from typing import TYPE_CHECKING, Annotated, Any, cast
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request  # noqa: TC002  # FastAPI reads annotations
from fastapi.exception_handlers import http_exception_handler
from fastapi.responses import JSONResponse, RedirectResponse, Response

from airflow_provider_buildpixel.api.text import sanitize
from airflow_provider_buildpixel.exceptions import BuildPixelError, NotFound
from airflow_provider_buildpixel.page import build_page, history
from airflow_provider_buildpixel.page.record import TaskInstanceKey
from airflow_provider_buildpixel.plugins import access

if TYPE_CHECKING:
    from fastapi import HTTPException

    from airflow_provider_buildpixel.api.settings import Settings
    from airflow_provider_buildpixel.page.record import BuildRecord
    from airflow_provider_buildpixel.plugins.access import ListedBuild
    from airflow_provider_buildpixel.plugins.build_reader import PageReader


FILES = {
    "page.css": "text/css",
    "theme.js": "text/javascript",
    "common.js": "text/javascript",
    "log.js": "text/javascript",
    "charts.js": "text/javascript",
    "build.js": "text/javascript",
    "builds.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}

NOT_ALLOWED = "This build does not exist, or you may not read the Dag that it belongs to."
UNKNOWN_TASK = "The URL does not name a task instance."
LIST_REFRESH = 5.0
"""Seconds between the requests of the list."""

MAX_STATUS_READS = 25
"""Builds in the list whose status is read from BuildPixel."""

Viewer = Annotated[Any, Depends(access.get_user)]


@dataclass(frozen=True)
class AllowedBuild:
    """A build that the viewer may see."""

    conn_id: str
    build_id: str
    settings: Settings


def build_router(reader: PageReader) -> APIRouter:
    """Return the routes; each first identifies the user."""
    router = APIRouter(dependencies=[Depends(access.get_user)])
    data = PageData(reader)
    router.add_api_route("/static/{name}", static, methods=["GET"])
    router.add_api_route("/task", task_html, methods=["GET"])
    router.add_api_route("/builds", list_html, methods=["GET"])
    router.add_api_route("/builds/{conn_id}/{build_id}", build_html, methods=["GET"])
    router.add_api_route("/data/task", data.task, methods=["GET"])
    router.add_api_route("/data/builds", data.builds, methods=["GET"])
    router.add_api_route("/data/builds/{conn_id}/{build_id}", data.build, methods=["GET"])
    router.add_api_route("/data/task", data.task_artifact, methods=["POST"])
    router.add_api_route("/data/builds/{conn_id}/{build_id}", data.artifact, methods=["POST"])
    return router


async def log_in_first(request: Request, error: Exception) -> Response:
    """Redirect a user who is not logged in to Airflow's login, and from there back to this URL.

    A request of a script gets the same error as from Airflow's own routes.
    """
    if "text/html" not in request.headers.get("accept", ""):
        return await http_exception_handler(request, cast("HTTPException", error))
    base_path = str(request.scope.get("root_path", "")).removesuffix("/buildpixel")
    next_url = urlencode({"next": request.url.path + ("?" + request.url.query).rstrip("?")})
    return RedirectResponse(f"{base_path}/api/v2/auth/login?{next_url}", 303)


def static(name: str) -> Response:
    """Return one of the static files of the pages."""
    if name not in FILES:
        return Response(status_code=404)
    return Response(_file(name), media_type=FILES[name])


def task_html() -> Response:
    """Return the page of a task instance's build."""
    return _html_page("build", root="")


def list_html() -> Response:
    """Return the page with the list of builds."""
    return _html_page("builds", root="")


def build_html() -> Response:
    """Return the page of a build."""
    return _html_page("build", root="../../")


def _html_page(script: str, root: str) -> Response:
    """Return the HTML page with a script. Its URLs are relative, to work below a base path."""
    text = _file("page.html").replace("{script}", script).replace("{root}", root)
    return Response(text, media_type="text/html")


def _file(name: str) -> str:
    return resources.files(__package__).joinpath("static", name).read_text(encoding="utf-8")


class PageData:
    """The data routes of the pages.

    :param reader: reads BuildPixel.
    """

    def __init__(self, reader: PageReader) -> None:
        self._reader = reader

    async def task(self, request: Request, user: Viewer) -> Response:
        """Return the build of the task instance that the URL query names."""
        allowed = await self._find_task_build(request, user)
        return allowed if isinstance(allowed, Response) else await self._build_response(allowed)

    async def build(
        self,
        request: Request,
        conn_id: str,
        build_id: str,
        user: Viewer,
    ) -> Response:
        """Return a build by connection and build id."""
        allowed = await self._find_build(request, user, conn_id, build_id)
        return allowed if isinstance(allowed, Response) else await self._build_response(allowed)

    async def task_artifact(self, request: Request, user: Viewer) -> Response:
        """Return a new signed URL of the artifact of a task instance's build."""
        allowed = await self._find_task_build(request, user)
        return allowed if isinstance(allowed, Response) else await self._artifact_response(allowed)

    async def artifact(
        self,
        request: Request,
        conn_id: str,
        build_id: str,
        user: Viewer,
    ) -> Response:
        """Return a new signed URL of a build's artifact."""
        allowed = await self._find_build(request, user, conn_id, build_id)
        return allowed if isinstance(allowed, Response) else await self._artifact_response(allowed)

    async def builds(self, user: Viewer) -> Response:
        """Return the builds that tasks wait for, and recent others."""
        waiting, recent = await self._reader.run_in_thread(access.listed_builds, user)
        now = datetime.now(UTC)
        rows = await asyncio.gather(
            *(
                self._waiting_row(listed, now, read_status=index < MAX_STATUS_READS)
                for index, listed in enumerate(waiting)
            )
        )
        return JSONResponse(
            {
                "waiting": rows,
                "recent": [_row(listed, now) for listed in recent],
                "refresh_after": LIST_REFRESH,
            }
        )

    async def _waiting_row(
        self, listed: ListedBuild, now: datetime, *, read_status: bool
    ) -> dict[str, Any]:
        """Return the row of a build that a task waits for, with its status if it can be read."""
        row, record = _row(listed, now), listed.record
        settings = await self._reader.get_settings(record.conn_id) if read_status else None
        if settings is None or not record.is_valid_for(listed.ti_key, settings.token):
            return row
        try:
            build = await self._reader.get_build(record.conn_id, settings, record.build_id)
        except BuildPixelError:
            return row  # the task's log has the error; the list does without the status
        return row | {"status": sanitize(build.status, 40), "tone": history.tone(build.status)}

    async def _find_task_build(self, request: Request, user: Any) -> AllowedBuild | Response:
        """Return the build of the task instance that the URL query names, or why not."""
        ti_key = TaskInstanceKey.from_query(request.query_params)
        if ti_key is None:
            return _refusal(UNKNOWN_TASK)
        run_in_thread = self._reader.run_in_thread
        if not await run_in_thread(access.may_read_logs, request, user, ti_key.dag_id):
            return _refusal(NOT_ALLOWED)
        task_build = await run_in_thread(access.task_build, ti_key)
        record = task_build.record
        if record is None:
            return JSONResponse(
                build_page.no_build(task_build.operator, has_ended=task_build.has_ended)
            )
        settings = await self._reader.get_settings(record.conn_id)
        if settings is None:
            return JSONResponse(
                build_page.not_shown(record.conn_id, build_page.CONNECTION_UNUSABLE)
            )
        is_valid = record.is_valid_for(ti_key, settings.token)
        if is_valid or await self._may_edit(user, record.conn_id):
            return AllowedBuild(record.conn_id, record.build_id, settings)
        return JSONResponse(build_page.not_shown(record.conn_id, build_page.SIGNATURE_OUTDATED))

    async def _find_build(
        self, request: Request, user: Any, conn_id: str, build_id: str
    ) -> AllowedBuild | Response:
        """Return a build by connection and build id, or a refusal."""
        settings = await self._reader.get_settings(conn_id)
        if settings is not None and (
            await self._may_read_task(request, user, conn_id, build_id, settings.token)
            or await self._may_edit(user, conn_id)
        ):
            return AllowedBuild(conn_id, build_id, settings)
        return _refusal(NOT_ALLOWED)

    async def _may_read_task(
        self, request: Request, user: Any, conn_id: str, build_id: str, token: str
    ) -> bool:
        """Return whether a task with this build is in a Dag that the viewer may read."""
        run_in_thread = self._reader.run_in_thread
        ti_key = TaskInstanceKey.from_query(request.query_params)
        candidates: list[tuple[TaskInstanceKey, BuildRecord]]
        if ti_key is not None:
            record = (await run_in_thread(access.task_build, ti_key)).record
            candidates = [(ti_key, record)] if record else []
        else:
            candidates = await run_in_thread(access.tasks_with_build, build_id)
        for holder, record in candidates:
            is_same = (record.conn_id, record.build_id) == (conn_id, build_id)
            if (
                is_same
                and record.is_valid_for(holder, token)
                and await run_in_thread(access.may_read_logs, request, user, holder.dag_id)
            ):
                return True
        return False

    async def _may_edit(self, user: Any, conn_id: str) -> bool:
        return await self._reader.run_in_thread(access.may_edit_connection, user, conn_id)

    async def _build_response(self, allowed: AllowedBuild) -> Response:
        """Return a build with the builds around it."""
        source = (allowed.conn_id, allowed.settings)
        try:
            build = await self._reader.get_build(*source, allowed.build_id)
        except BuildPixelError as error:
            return JSONResponse(build_page.read_error(error))
        previous, newer = await asyncio.gather(
            self._reader.get_recent_builds(*source, build),
            self._reader.get_newer_build(*source, build),
        )
        data = build_page.page_data(
            build,
            self._reader.server_time(allowed.conn_id),
            previous=previous,
            newer=newer,
            dashboard_url=allowed.settings.build_page_url(build.id, build.project_id),
        )
        return JSONResponse(data | {"connection": sanitize(allowed.conn_id, 250)})

    async def _artifact_response(self, allowed: AllowedBuild) -> Response:
        """Return a signed URL. It is a secret and appears only in this response body."""
        try:
            artifact = await self._reader.get_artifact(
                allowed.conn_id, allowed.settings, allowed.build_id
            )
        except NotFound:
            message = "There is no artifact: it was never made, or it was removed by retention."
            return JSONResponse({"message": message}, 404)
        except BuildPixelError as error:
            return JSONResponse(build_page.read_error(error), 502)
        return JSONResponse({"url": artifact.url})


def _row(listed: ListedBuild, now: datetime) -> dict[str, Any]:
    seconds = ((listed.ended_at or now) - listed.recorded_at).total_seconds()
    return build_page.list_row(listed.ti_key, listed.record, listed.state, max(0.0, seconds))


def _refusal(message: str) -> Response:
    return JSONResponse({"kind": "unavailable", "message": message, "refresh_after": None}, 404)
