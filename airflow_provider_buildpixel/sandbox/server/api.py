"""The REST API over HTTP: authentication, roles, bodies, errors, faults, and the request log."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import TYPE_CHECKING, Any

from aiohttp import web

from airflow_provider_buildpixel.sandbox.faults.http_faults import (
    GATEWAY_PAGE,
    error_response,
    respond_with_fault,
)
from airflow_provider_buildpixel.sandbox.request_log import NO_RESPONSE, logged_request
from airflow_provider_buildpixel.sandbox.rest.endpoints import ENDPOINTS
from airflow_provider_buildpixel.sandbox.rest.messages import ApiRequest, ApiResponse
from airflow_provider_buildpixel.sandbox.world.errors import ApiError, invalid, not_found

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from airflow_provider_buildpixel.sandbox.faults.registry import FaultRegistry
    from airflow_provider_buildpixel.sandbox.request_log import RequestLog
    from airflow_provider_buildpixel.sandbox.rest.endpoints import Endpoint
    from airflow_provider_buildpixel.sandbox.world.world import World


class RestApi:
    """The documented endpoints as routes of an application."""

    def __init__(self, world: World, faults: FaultRegistry, log: RequestLog) -> None:
        self._world = world
        self._faults = faults
        self._log = log

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of all endpoints, and one for every unknown path."""
        routes = [
            web.route(endpoint.method, endpoint.path, partial(self._serve, endpoint))
            for endpoint in ENDPOINTS
        ]
        return [*routes, web.route("*", "/{path:.*}", self._unknown)]

    async def _unknown(self, request: web.Request) -> web.StreamResponse:
        number = self._log.add(logged_request(request, "unknown", await request.read()))
        response = self.render(error_response(not_found("route")))
        self._log.set_status(number, response.status)
        return response

    async def _serve(self, endpoint: Endpoint, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        number = self._log.add(logged_request(request, endpoint.name, body))
        execute = partial(self._execute, endpoint, request, body)
        response = await self._respond(endpoint.name, request, execute)
        self._log.set_status(number, response.status if _is_connected(request) else NO_RESPONSE)
        return response

    async def _respond(
        self, route: str, request: web.Request, execute: Callable[[float], Awaitable[ApiResponse]]
    ) -> web.StreamResponse:
        async def respond() -> web.StreamResponse:
            return self.render(await execute(0.0))

        fault = self._faults.apply("http", route, bearer_token(request))
        return await respond_with_fault(fault, request, execute, self.render, respond, self._world)

    async def _execute(
        self, endpoint: Endpoint, request: web.Request, body: bytes, lag: float = 0.0
    ) -> ApiResponse:
        try:
            api_request = self._api_request(endpoint, request, body, lag)
            if endpoint.in_thread:
                return await asyncio.to_thread(endpoint.handler, self._world, api_request)
            with self._world.lock:
                return self._finished(endpoint, endpoint.handler(self._world, api_request))
        except ApiError as error:
            return error_response(error)

    def _finished(self, endpoint: Endpoint, response: ApiResponse) -> ApiResponse:
        if endpoint.method == "PATCH" and self._world.variants.patch_answer == "nothing":
            return ApiResponse(204)
        return response

    def _api_request(
        self, endpoint: Endpoint, request: web.Request, body: bytes, lag: float
    ) -> ApiRequest:
        token = self._world.authenticate(bearer_token(request))
        if token.role not in endpoint.roles:
            raise ApiError(403, "insufficient_scope", f"A {token.role} may not do this.")
        fields = _parsed(body) if endpoint.method in {"POST", "PATCH"} else {}
        at = self._world.now() - lag
        return ApiRequest(token, request.match_info, request.query, fields, at)

    def render(self, response: ApiResponse) -> web.Response:
        """Return the HTTP response for the response of an endpoint."""
        if response.status >= web.HTTPBadRequest.status_code:
            return self._render_error(response)
        if response.body is None:
            return web.Response(status=response.status)
        return web.json_response(response.body, status=response.status)

    def _render_error(self, response: ApiResponse) -> web.Response:
        code, message = response.body["error"], response.body["message"]
        request_id = f"req_{self._world.new_id()}"
        match self._world.variants.error_body:
            case "html":
                page = GATEWAY_PAGE.replace("502 Bad Gateway", f"{response.status}")
                return web.Response(status=response.status, text=page, content_type="text/html")
            case "empty":
                return web.Response(status=response.status)
            case "code-only":
                body: dict[str, Any] = {"error": code}
            case "nested":
                body = {"error": {"code": code, "message": message}, "requestId": request_id}
            case "no-request-id":
                body = {"error": code, "message": message}
            case _:
                body = {"error": code, "message": message, "requestId": request_id}
        return web.json_response(body, status=response.status)


def bearer_token(request: web.Request) -> str | None:
    """Return the bearer token of a request."""
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


def _is_connected(request: web.Request) -> bool:
    return request.transport is not None and not request.transport.is_closing()
