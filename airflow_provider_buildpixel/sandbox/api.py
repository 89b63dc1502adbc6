"""The API over HTTP: authentication, roles, bodies, error answers, faults, records."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import TYPE_CHECKING, Any

from aiohttp import web

from airflow_provider_buildpixel.sandbox.answers import Answer, Ask, Refusal, invalid, not_found
from airflow_provider_buildpixel.sandbox.records import recorded
from airflow_provider_buildpixel.sandbox.rest.endpoints import ENDPOINTS
from airflow_provider_buildpixel.sandbox.trouble import GATEWAY_PAGE, disturbed, refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from airflow_provider_buildpixel.sandbox.faults import Faults
    from airflow_provider_buildpixel.sandbox.records import Records
    from airflow_provider_buildpixel.sandbox.rest.endpoints import Endpoint
    from airflow_provider_buildpixel.sandbox.world import World


class Api:
    """The documented endpoints over a world."""

    def __init__(self, world: World, faults: Faults, records: Records) -> None:
        """Take what there is, what may go wrong, and where to note what came."""
        self._world = world
        self._faults = faults
        self._records = records

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of an application; what is none of them is answered too."""
        routes = [
            web.route(endpoint.method, endpoint.path, partial(self._serve, endpoint))
            for endpoint in ENDPOINTS
        ]
        return [*routes, web.route("*", "/{path:.*}", self._unknown)]

    async def _unknown(self, request: web.Request) -> web.StreamResponse:
        place = self._records.open(recorded(request, "unknown", await request.read()))
        answer = self.render(refused(not_found("route")))
        self._records.close(place, answer.status)
        return answer

    async def _serve(self, endpoint: Endpoint, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        place = self._records.open(recorded(request, endpoint.name, body))
        carry_out = partial(self._answer, endpoint, request, body)
        response = await self._respond(endpoint.name, request, carry_out)
        self._records.close(place, response.status if _reached(request) else 0)
        return response

    async def _respond(
        self, route: str, request: web.Request, carry_out: Callable[[float], Awaitable[Answer]]
    ) -> web.StreamResponse:
        async def proceed() -> web.StreamResponse:
            return self.render(await carry_out(0.0))

        fault = self._faults.strike("http", route, bearer(request))
        return await disturbed(fault, request, carry_out, self.render, proceed, self._world)

    async def _answer(
        self, endpoint: Endpoint, request: web.Request, body: bytes, lag: float = 0.0
    ) -> Answer:
        try:
            ask = self._ask(endpoint, request, body, lag)
            if endpoint.aside:
                return await asyncio.to_thread(endpoint.answer, self._world, ask)
            with self._world.lock:
                return self._finished(endpoint, endpoint.answer(self._world, ask))
        except Refusal as refusal:
            return refused(refusal)

    def _finished(self, endpoint: Endpoint, answer: Answer) -> Answer:
        if endpoint.method == "PATCH" and self._world.variants.patch_answer == "nothing":
            return Answer(204)
        return answer

    def _ask(self, endpoint: Endpoint, request: web.Request, body: bytes, lag: float) -> Ask:
        token = self._world.authenticate(bearer(request))
        if token.role not in endpoint.roles:
            raise Refusal(403, "insufficient_scope", f"A {token.role} may not do this.")
        fields = _parsed(body) if endpoint.method in {"POST", "PATCH"} else {}
        at = self._world.now() - lag
        return Ask(token, request.match_info, request.query, fields, at)

    def render(self, answer: Answer) -> web.Response:
        """Return an answer as it goes over the wire."""
        if answer.status >= web.HTTPBadRequest.status_code:
            return self._render_error(answer)
        if answer.body is None:
            return web.Response(status=answer.status)
        return web.json_response(answer.body, status=answer.status)

    def _render_error(self, answer: Answer) -> web.Response:
        code, message = answer.body["error"], answer.body["message"]
        request_id = f"req_{self._world.new_id()}"
        match self._world.variants.error_body:
            case "html":
                page = GATEWAY_PAGE.replace("502 Bad Gateway", f"{answer.status}")
                return web.Response(status=answer.status, text=page, content_type="text/html")
            case "empty":
                return web.Response(status=answer.status)
            case "code-only":
                body: dict[str, Any] = {"error": code}
            case "nested":
                body = {"error": {"code": code, "message": message}, "requestId": request_id}
            case "no-request-id":
                body = {"error": code, "message": message}
            case _:
                body = {"error": code, "message": message, "requestId": request_id}
        return web.json_response(body, status=answer.status)


def bearer(request: web.Request) -> str | None:
    """Return the token of a request."""
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    return secret if scheme.lower() == "bearer" else None


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body)
    except ValueError as error:
        raise invalid("The body is not JSON.") from error
    if not isinstance(parsed, dict):
        raise invalid("The body is not an object.")
    return parsed


def _reached(request: web.Request) -> bool:
    return request.transport is not None and not request.transport.is_closing()
