"""The pages of builds: the tab of a task instance, a build's own page, the list, and their data.

A page is the same few files for everybody and holds nothing of a build; its script asks the routes
below ``data/``, each of which decides anew who is asking.
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

from airflow_provider_buildpixel.api.text import plain
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

NOT_ALLOWED = "There is no such build here, or none of a Dag that you may read."
UNKNOWN_TASK = "The address names no task instance."
READS_AT_ONCE = 25
"""Builds whose status the list asks BuildPixel for."""

Viewer = Annotated[Any, Depends(access.get_user)]


@dataclass(frozen=True)
class AllowedBuild:
    """A build that the viewer may see."""

    conn_id: str
    build_id: str
    settings: Settings


def build_router(reader: PageReader) -> APIRouter:
    """Make the routes; each asks first who is there."""
    router = APIRouter(dependencies=[Depends(access.get_user)])
    pages = Pages(reader)
    router.add_api_route("/static/{name}", static, methods=["GET"])
    router.add_api_route("/task", task_html, methods=["GET"])
    router.add_api_route("/builds", list_html, methods=["GET"])
    router.add_api_route("/builds/{conn_id}/{build_id}", build_html, methods=["GET"])
    router.add_api_route("/data/task", pages.task, methods=["GET"])
    router.add_api_route("/data/builds", pages.builds, methods=["GET"])
    router.add_api_route("/data/builds/{conn_id}/{build_id}", pages.build, methods=["GET"])
    router.add_api_route("/data/task", pages.task_artifact, methods=["POST"])
    router.add_api_route("/data/builds/{conn_id}/{build_id}", pages.artifact, methods=["POST"])
    return router


async def log_in_first(request: Request, error: Exception) -> Response:
    """Send a person who is not logged in, or not any more, to Airflow's login and back here.

    What a script asks for is refused as Airflow's own routes do it.
    """
    if "text/html" not in request.headers.get("accept", ""):
        return await http_exception_handler(request, cast("HTTPException", error))
    airflow = str(request.scope.get("root_path", "")).removesuffix("/buildpixel")
    back = urlencode({"next": request.url.path + ("?" + request.url.query).rstrip("?")})
    return RedirectResponse(f"{airflow}/api/v2/auth/login?{back}", 303)


def static(name: str) -> Response:
    """Give one of the files of the pages."""
    if name not in FILES:
        return Response(status_code=404)
    return Response(_file(name), media_type=FILES[name])


def task_html() -> Response:
    """Give the page of a task instance's build."""
    return _html_page("build", root="")


def list_html() -> Response:
    """Give the page with the list of builds."""
    return _html_page("builds", root="")


def build_html() -> Response:
    """Give the page of a build."""
    return _html_page("build", root="../../")


def _html_page(script: str, root: str) -> Response:
    """Give the one page with a script; addresses in it are relative, to be right below a path."""
    text = _file("page.html").replace("{script}", script).replace("{root}", root)
    return Response(text, media_type="text/html")


def _file(name: str) -> str:
    return resources.files(__package__).joinpath("static", name).read_text(encoding="utf-8")


class Pages:
    """The data behind the pages.

    :param reader: reads BuildPixel.
    """

    def __init__(self, reader: PageReader) -> None:
        self._reader = reader

    async def task(self, request: Request, user: Viewer) -> Response:
        """Tell of the build of the task instance that the query names."""
        found = await self._of_task(request, user)
        return found if isinstance(found, Response) else await self._shown(found)

    async def build(
        self,
        request: Request,
        conn_id: str,
        build_id: str,
        user: Viewer,
    ) -> Response:
        """Tell of a build."""
        found = await self._allowed(request, user, conn_id, build_id)
        return found if isinstance(found, Response) else await self._shown(found)

    async def task_artifact(self, request: Request, user: Viewer) -> Response:
        """Make a signed URL of the artifact of a task instance's build."""
        found = await self._of_task(request, user)
        return found if isinstance(found, Response) else await self._signed(found)

    async def artifact(
        self,
        request: Request,
        conn_id: str,
        build_id: str,
        user: Viewer,
    ) -> Response:
        """Make a signed URL of a build's artifact."""
        found = await self._allowed(request, user, conn_id, build_id)
        return found if isinstance(found, Response) else await self._signed(found)

    async def builds(self, user: Viewer) -> Response:
        """List the builds that tasks wait for, and the latest others."""
        waited, recent = await self._reader.in_thread(access.listed_builds, user)
        now = datetime.now(UTC)
        rows = await asyncio.gather(
            *(self._waited(kept, now, read=n < READS_AT_ONCE) for n, kept in enumerate(waited))
        )
        return JSONResponse(
            {"waited": rows, "recent": [_row(kept, now) for kept in recent], "again": 5.0}
        )

    async def _waited(self, kept: ListedBuild, now: datetime, *, read: bool) -> dict[str, Any]:
        """Tell of a build that a task waits for, with its status if it can be had."""
        row = _row(kept, now)
        settings = await self._reader.settings(kept.record.conn_id) if read else None
        if settings is None or not kept.record.proves(kept.place, settings.token):
            return row
        try:
            build = await self._reader.build(kept.record.conn_id, settings, kept.record.build_id)
        except BuildPixelError:
            return row  # the task's log tells of the trouble; the list goes on without it
        return row | {"status": plain(build.status, 40), "tone": history.tone(build.status)}

    async def _of_task(self, request: Request, user: Any) -> AllowedBuild | Response:
        """Find the build of the task instance that the query names."""
        place = TaskInstanceKey.from_query(request.query_params)
        if place is None:
            return _refusal(UNKNOWN_TASK)
        if not await self._reader.in_thread(access.may_read_logs, request, user, place.dag_id):
            return _refusal(NOT_ALLOWED)
        held = await self._reader.in_thread(access.task_build, place)
        if held.record is None:
            return JSONResponse(build_page.no_build(held.operator, over=held.over))
        conn_id, build_id = held.record.conn_id, held.record.build_id
        settings = await self._reader.settings(conn_id)
        if settings is None:
            return JSONResponse(build_page.not_shown(conn_id, build_page.CONNECTION_UNUSABLE))
        if held.record.proves(place, settings.token) or await self._edits(user, conn_id):
            return AllowedBuild(conn_id, build_id, settings)
        return JSONResponse(build_page.not_shown(conn_id, build_page.TOKEN_REPLACED))

    async def _allowed(
        self, request: Request, user: Any, conn_id: str, build_id: str
    ) -> AllowedBuild | Response:
        """Find a build by connection and id."""
        settings = await self._reader.settings(conn_id)
        if settings is not None and (
            await self._has_task(request, user, conn_id, build_id, settings.token)
            or await self._edits(user, conn_id)
        ):
            return AllowedBuild(conn_id, build_id, settings)
        return _refusal(NOT_ALLOWED)

    async def _has_task(
        self, request: Request, user: Any, conn_id: str, build_id: str, token: str
    ) -> bool:
        """Tell whether a task that the viewer may read has the build."""
        place = TaskInstanceKey.from_query(request.query_params)
        if place is not None:
            record = (await self._reader.in_thread(access.task_build, place)).record
            found: list[tuple[TaskInstanceKey, BuildRecord]] = [(place, record)] if record else []
        else:
            found = await self._reader.in_thread(access.tasks_with_build, build_id)
        for holder, record in found:
            same = (record.conn_id, record.build_id) == (conn_id, build_id)
            if same and record.proves(holder, token):
                reads = self._reader.in_thread(access.may_read_logs, request, user, holder.dag_id)
                if await reads:
                    return True
        return False

    async def _edits(self, user: Any, conn_id: str) -> bool:
        return await self._reader.in_thread(access.may_edit_connection, user, conn_id)

    async def _shown(self, found: AllowedBuild) -> Response:
        """Read a build, and what stands around it."""
        where = (found.conn_id, found.settings)
        try:
            build = await self._reader.build(*where, found.build_id)
        except BuildPixelError as error:
            return JSONResponse(build_page.read_error(error))
        previous, newer = await asyncio.gather(
            self._reader.previous(*where, build), self._reader.newer(*where, build)
        )
        shown = build_page.page_data(
            build,
            self._reader.now(found.conn_id),
            previous=previous,
            newer=newer,
            dashboard=found.settings.build_page(build.id, build.project_id),
        )
        return JSONResponse(shown | {"connection": plain(found.conn_id, 250)})

    async def _signed(self, found: AllowedBuild) -> Response:
        """Make a signed URL; it is a secret, and only in the body of this one answer."""
        try:
            artifact = await self._reader.artifact(found.conn_id, found.settings, found.build_id)
        except NotFound:
            gone = "There is no artifact: it was never made, or retention has removed it."
            return JSONResponse({"message": gone}, 404)
        except BuildPixelError as error:
            return JSONResponse(build_page.read_error(error), 502)
        return JSONResponse({"url": artifact.url})


def _row(kept: ListedBuild, now: datetime) -> dict[str, Any]:
    seconds = ((kept.ended_at or now) - kept.at).total_seconds()
    return build_page.list_row(kept.place, kept.record, kept.state, max(0.0, seconds))


def _refusal(message: str) -> Response:
    return JSONResponse({"kind": "none", "message": message, "again": None}, 404)
