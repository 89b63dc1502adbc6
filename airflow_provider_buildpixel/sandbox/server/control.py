"""The control routes: the methods and properties of `Sandbox` for other processes.

POST /_sandbox/<command> with the arguments as a JSON object, GET /_sandbox/<view>.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

from aiohttp import web

from airflow_provider_buildpixel.sandbox.faults.catalog import KINDS
from airflow_provider_buildpixel.sandbox.faults.registry import Fault
from airflow_provider_buildpixel.sandbox.variants import Variants
from airflow_provider_buildpixel.sandbox.world.clock import iso

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.sandbox.live.webhooks import WebhookDelivery
    from airflow_provider_buildpixel.sandbox.request_log import LoggedRequest
    from airflow_provider_buildpixel.sandbox.world.world import World

PREFIX = "/_sandbox/"

# Methods of Sandbox; each takes its arguments by name.
COMMANDS = frozenset(
    {
        "plan",
        "push",
        "add_builds",
        "update_setting",
        "set_status",
        "log",
        "fault",
        "heal",
        "heal_one",
        "advance",
        "drop_sockets",
        "forget_requests",
        "kick_sockets",
        "issue_token",
        "revoke",
        "webhook",
        "remove_artifact",
        "set_minutes",
        "set_accessible",
    }
)


class Controlled(Protocol):
    """What the views show of a sandbox; see `Sandbox`, which also has the commands as methods."""

    world: World

    @property
    def url(self) -> str:
        """Return the base URL of the API."""

    @property
    def store_url(self) -> str:
        """Return the origin of the artifact store."""

    @property
    def sockets(self) -> int:
        """Return the number of Socket.IO connections."""

    @property
    def requests(self) -> list[LoggedRequest]:
        """Return all requests so far."""

    @property
    def projects(self) -> list[dict[str, Any]]:
        """Return the projects as the API lists them."""

    @property
    def deliveries(self) -> list[WebhookDelivery]:
        """Return all attempts to deliver webhooks so far."""

    def settings(self, project: str) -> list[dict[str, Any]]:
        """Return the build settings of a project."""

    def builds(self) -> list[dict[str, Any]]:
        """Return all builds."""

    def now(self) -> float:
        """Return the sandbox time."""


def _state(sandbox: Controlled) -> dict[str, Any]:
    return {
        "url": sandbox.url,
        "storeUrl": sandbox.store_url,
        "now": iso(sandbox.now()),
        "speed": sandbox.world.clock.speed,
        "sockets": sandbox.sockets,
        "builds": len(sandbox.world.builds),
        "variants": asdict(sandbox.world.variants),
    }


def _requests(sandbox: Controlled) -> list[dict[str, Any]]:
    # Without headers and bodies, because they contain tokens.
    return [
        {"method": r.method, "path": r.path, "status": r.status, "at": r.at, "route": r.route}
        for r in sandbox.requests
    ]


VIEWS: dict[str, Callable[[Controlled], Any]] = {
    "state": _state,
    "requests": _requests,
    "builds": lambda sandbox: sandbox.builds(),
    "projects": lambda sandbox: sandbox.projects,
    "kinds": lambda _: {name: kind.description for name, kind in KINDS.items()},
    "variants": lambda _: {
        name: {"means": meaning, "values": Variants.points()[name]}
        for name, meaning in Variants.meanings().items()
    },
    "settings": lambda sandbox: {
        project["name"]: sandbox.settings(project["id"]) for project in sandbox.projects
    },
    "deliveries": lambda sandbox: [
        {"type": d.type, "buildId": d.build_id, "attempt": d.attempt, "status": d.status}
        for d in sandbox.deliveries
    ],
}


class ControlRoutes:
    """The control routes of one sandbox."""

    def __init__(self, sandbox: Controlled) -> None:
        self._sandbox = sandbox

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of all views and commands."""
        return [web.get(PREFIX + "{view}", self._view), web.post(PREFIX + "{command}", self._run)]

    async def _view(self, request: web.Request) -> web.Response:
        view = VIEWS.get(request.match_info["view"])
        if view is None:
            return _error(404, f"unknown view; the views are {', '.join(VIEWS)}")
        return web.json_response(await asyncio.to_thread(view, self._sandbox))

    async def _run(self, request: web.Request) -> web.Response:
        command = request.match_info["command"]
        if command not in COMMANDS:
            return _error(404, f"unknown command; the commands are {', '.join(sorted(COMMANDS))}")
        # A web page of another origin cannot send this content type without a preflight request.
        if request.content_type != "application/json":
            return _error(415, "arguments must be application/json")
        try:
            arguments = await request.json()
            # In a thread, because methods of the sandbox wait for this event loop.
            result = await asyncio.to_thread(getattr(self._sandbox, command), **arguments)
        except (ValueError, TypeError, LookupError) as error:
            return _error(400, str(error))
        return web.json_response(_json_result(result))


def _json_result(result: Any) -> Any:
    if isinstance(result, Fault):
        return {"number": result.number}
    return result if isinstance(result, str | int | float | list | None) else {"ok": True}


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": "control", "message": message}, status=status)
