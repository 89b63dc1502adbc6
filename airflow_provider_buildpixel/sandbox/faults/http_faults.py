"""What each fault does to an HTTP response, one small function per fault."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from aiohttp import web

from airflow_provider_buildpixel.sandbox.faults.malformed import mistyped_body
from airflow_provider_buildpixel.sandbox.rest.messages import ApiResponse
from airflow_provider_buildpixel.sandbox.world.clock import http_date
from airflow_provider_buildpixel.sandbox.world.errors import ApiError

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox.faults.registry import Fault
    from airflow_provider_buildpixel.sandbox.world.world import World

GATEWAY_PAGE = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
LOGIN_PAGE = "<!doctype html><html><body><form>Sign in to continue</form></body></html>"
_CHECK_INTERVAL = 0.05


async def respond_with_fault(
    fault: Fault | None,
    request: web.Request,
    execute: Callable[[float], Awaitable[ApiResponse]],
    render: Callable[[ApiResponse], web.Response],
    respond: Callable[[], Awaitable[web.StreamResponse]],
    world: World,
) -> web.StreamResponse:
    """Return the response to a request, changed by the fault if there is one.

    :param execute: carries out the request as of so many sandbox seconds ago.
    :param render: converts what `execute` returned to an HTTP response.
    :param respond: carries out the request and returns the normal response.
    """
    if fault is None:
        return await respond()
    faulted = FaultedRequest(request, fault, execute, render, respond, world)
    return await HTTP_FAULTS[fault.name](faulted)


@dataclass(frozen=True)
class FaultedRequest:
    """A request to which a fault applies, with the parameters of `respond_with_fault`."""

    request: web.Request
    fault: Fault
    execute: Callable[[float], Awaitable[ApiResponse]]
    render: Callable[[ApiResponse], web.Response]
    respond: Callable[[], Awaitable[web.StreamResponse]]
    world: World

    def param(self, name: str, *, default: Any) -> Any:
        """Return a parameter of the fault."""
        return self.fault.params.get(name, default)

    def error(self, status: int, code: str, message: str) -> web.Response:
        """Return an error response."""
        return self.render(error_response(ApiError(status, code, message)))


FaultHandler = Callable[[FaultedRequest], Awaitable[web.StreamResponse]]


def error_response(error: ApiError) -> ApiResponse:
    """Return the response for an error; rendering adds the request id."""
    return ApiResponse(error.status, {"error": error.code, "message": str(error)})


def close_connection(request: web.Request, *, reset: bool = True) -> web.Response:
    """Close or reset the connection; the returned response is never sent."""
    transport = request.transport
    if transport is None:
        return web.Response()
    if reset and (raw := transport.get_extra_info("socket")) is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort() if reset else transport.close()
    return web.Response()


async def wait_for_removal(request: web.Request, fault: Fault, seconds: float | None) -> None:
    """Wait until the time is over, the fault is removed, or the client has disconnected."""
    end = None if seconds is None else time.monotonic() + seconds
    while not fault.removed.is_set() and (end is None or time.monotonic() < end):
        if request.transport is None or request.transport.is_closing():
            return
        await asyncio.sleep(_CHECK_INTERVAL)


async def _server_error(faulted: FaultedRequest) -> web.Response:
    return faulted.error(500, "internal_error", "Something went wrong on our side.")


async def _bad_gateway(_: FaultedRequest) -> web.Response:
    return web.Response(status=502, text=GATEWAY_PAGE, content_type="text/html")


async def _unavailable(_: FaultedRequest) -> web.Response:
    return web.Response(status=503)


async def _rate_limited(faulted: FaultedRequest) -> web.Response:
    response = faulted.error(429, "rate_limited", "Too many requests.")
    retry_after = faulted.param("retry_after", default=1)
    if retry_after is not None:
        as_date = faulted.param("date", default=False)
        # The same clock as that of the header Date.
        date = http_date(faulted.world.clock.now() + retry_after)
        response.headers["Retry-After"] = date if as_date else str(retry_after)
    return response


async def _unauthorized(faulted: FaultedRequest) -> web.Response:
    return faulted.error(401, "invalid_token", "The token is missing, malformed or revoked.")


async def _forbidden(faulted: FaultedRequest) -> web.Response:
    return faulted.error(403, "insufficient_scope", "The token lacks the permission.")


async def _not_found(faulted: FaultedRequest) -> web.Response:
    return faulted.error(404, "not_found", "No such thing.")


async def _custom_error(faulted: FaultedRequest) -> web.Response:
    status = faulted.param("status", default=400)
    code = faulted.param("code", default="validation_failed")
    return faulted.error(status, code, faulted.param("message", default="Refused."))


async def _reset(faulted: FaultedRequest) -> web.Response:
    return close_connection(faulted.request)


async def _close(faulted: FaultedRequest) -> web.Response:
    return close_connection(faulted.request, reset=False)


async def _hang(faulted: FaultedRequest) -> web.Response:
    await wait_for_removal(faulted.request, faulted.fault, faulted.param("hold", default=None))
    return close_connection(faulted.request)


async def _slow(faulted: FaultedRequest) -> web.StreamResponse:
    await asyncio.sleep(faulted.param("delay", default=2.0))
    return await faulted.respond()


async def _held(faulted: FaultedRequest) -> web.StreamResponse:
    done = faulted.param("done", default=False)
    response = await faulted.execute(0.0) if done else None
    await wait_for_removal(faulted.request, faulted.fault, None)
    if faulted.request.transport is None or faulted.request.transport.is_closing():
        return close_connection(faulted.request)
    return faulted.render(response) if response else await faulted.respond()


async def _lost_answer(faulted: FaultedRequest) -> web.StreamResponse:
    await faulted.execute(0.0)
    ways = {"reset": _reset, "close": _close, "timeout": _hang, "502": _bad_gateway}
    return await ways[faulted.param("how", default="reset")](faulted)


async def _truncated(faulted: FaultedRequest) -> web.StreamResponse:
    body = json.dumps((await faulted.execute(0.0)).body).encode()
    half = body[: len(body) // 2]
    if faulted.param("cut", default=False):
        return web.Response(body=half, content_type="application/json")
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.content_length = len(body)
    await response.prepare(faulted.request)
    await response.write(half)
    close_connection(faulted.request, reset=False)
    return response


async def _mistyped(faulted: FaultedRequest) -> web.Response:
    response = await faulted.execute(0.0)
    body = mistyped_body(response.body, faulted.param("shape", default="fields"))
    return web.json_response(body, status=response.status)


async def _login_page(_: FaultedRequest) -> web.Response:
    return web.Response(text=LOGIN_PAGE, content_type="text/html")


async def _empty(_: FaultedRequest) -> web.Response:
    return web.Response()


async def _redirect(faulted: FaultedRequest) -> web.Response:
    location = faulted.param("location", default=f"{faulted.world.signer.origin}/elsewhere")
    return web.Response(status=faulted.param("status", default=302), headers={"Location": location})


async def _stale(faulted: FaultedRequest) -> web.Response:
    return faulted.render(await faulted.execute(faulted.param("lag", default=10.0)))


async def _endless_pages(faulted: FaultedRequest) -> web.Response:
    response = await faulted.execute(0.0)
    if isinstance(response.body, dict) and "nextCursor" in response.body:
        cursor = faulted.request.query.get("cursor") or response.body["nextCursor"] or "Y3Vyc29yOg"
        response = replace(response, body={**response.body, "nextCursor": cursor})
    return faulted.render(response)


HTTP_FAULTS: dict[str, FaultHandler] = {
    "500": _server_error,
    "502-html": _bad_gateway,
    "503-empty": _unavailable,
    "429": _rate_limited,
    "401": _unauthorized,
    "403": _forbidden,
    "404": _not_found,
    "refuse": _custom_error,
    "reset": _reset,
    "close": _close,
    "hang": _hang,
    "slow": _slow,
    "held": _held,
    "lost-answer": _lost_answer,
    "truncated-json": _truncated,
    "mistyped-json": _mistyped,
    "html-200": _login_page,
    "empty-200": _empty,
    "redirect": _redirect,
    "stale": _stale,
    "endless-pages": _endless_pages,
}
