"""The control routes: what the Python face can do, for other processes.

POST /_sandbox/<verb> with the arguments as a JSON object, GET /_sandbox/<view>.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from aiohttp import web

from airflow_provider_buildpixel.sandbox.clock import iso
from airflow_provider_buildpixel.sandbox.faults import KINDS, Fault
from airflow_provider_buildpixel.sandbox.variants import Variants

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.sandbox.sandbox import Sandbox

PREFIX = "/_sandbox/"

# The verbs are methods of Sandbox; each takes its arguments by name.
VERBS = frozenset(
    {
        "plan",
        "push",
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


def _state(sandbox: Sandbox) -> dict[str, Any]:
    return {
        "url": sandbox.url,
        "storeUrl": sandbox.store_url,
        "now": iso(sandbox.now()),
        "speed": sandbox.world.clock.speed,
        "sockets": sandbox.sockets,
        "builds": len(sandbox.world.builds),
        "variants": asdict(sandbox.world.variants),
    }


def _requests(sandbox: Sandbox) -> list[dict[str, Any]]:
    # Without headers and bodies: tokens are nobody else's business.
    return [
        {"method": r.method, "path": r.path, "status": r.status, "at": r.at, "route": r.route}
        for r in sandbox.requests
    ]


VIEWS: dict[str, Callable[[Sandbox], Any]] = {
    "state": _state,
    "requests": _requests,
    "builds": lambda sandbox: sandbox.builds(),
    "projects": lambda sandbox: sandbox.projects,
    "kinds": lambda _: {name: kind.means for name, kind in KINDS.items()},
    "variants": lambda _: {
        name: {"means": means, "values": Variants.points()[name]}
        for name, means in Variants.meanings().items()
    },
    "settings": lambda sandbox: {
        project["name"]: sandbox.settings(project["id"]) for project in sandbox.projects
    },
    "deliveries": lambda sandbox: [
        {"type": d.type, "buildId": d.build_id, "attempt": d.attempt, "status": d.status}
        for d in sandbox.deliveries
    ],
}


class Control:
    """The control routes of one sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        """Take the sandbox to control."""
        self._sandbox = sandbox

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of an application."""
        return [web.get(PREFIX + "{view}", self._view), web.post(PREFIX + "{verb}", self._verb)]

    async def _view(self, request: web.Request) -> web.Response:
        view = VIEWS.get(request.match_info["view"])
        if view is None:
            return _problem(404, f"there are {', '.join(VIEWS)}")
        return web.json_response(await asyncio.to_thread(view, self._sandbox))

    async def _verb(self, request: web.Request) -> web.Response:
        verb = request.match_info["verb"]
        if verb not in VERBS:
            return _problem(404, f"there are {', '.join(sorted(VERBS))}")
        # A page in a browser cannot send this type here unasked.
        if request.content_type != "application/json":
            return _problem(415, "arguments are application/json")
        try:
            arguments = await request.json()
            # In a thread, since the face waits for this very loop.
            result = await asyncio.to_thread(getattr(self._sandbox, verb), **arguments)
        except (ValueError, TypeError, LookupError) as error:
            return _problem(400, str(error))
        return web.json_response(_plain(result))


def _plain(result: Any) -> Any:
    if isinstance(result, Fault):
        return {"number": result.number}
    return result if isinstance(result, str | int | float | None) else {"ok": True}


def _problem(status: int, message: str) -> web.Response:
    return web.json_response({"error": "control", "message": message}, status=status)
