"""Faults of answers over HTTP, one small function each."""

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

from airflow_provider_buildpixel.sandbox.answers import Answer, Refusal
from airflow_provider_buildpixel.sandbox.clock import http_date
from airflow_provider_buildpixel.sandbox.odd import mistyped

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox.faults import Fault
    from airflow_provider_buildpixel.sandbox.world import World

GATEWAY_PAGE = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
LOGIN_PAGE = "<!doctype html><html><body><form>Sign in to continue</form></body></html>"
_WATCH_EVERY = 0.05


async def disturbed(
    fault: Fault | None,
    request: web.Request,
    carry_out: Callable[[float], Awaitable[Answer]],
    render: Callable[[Answer], web.Response],
    proceed: Callable[[], Awaitable[web.StreamResponse]],
    world: World,
) -> web.StreamResponse:
    """Answer a request as the fault has it, if there is one."""
    if fault is None:
        return await proceed()
    exchange = Exchange(request, fault, carry_out, render, proceed, world)
    return await TROUBLE[fault.name](exchange)


@dataclass(frozen=True)
class Exchange:
    """A request that a fault struck, and the means to answer it all the same."""

    request: web.Request
    fault: Fault
    carry_out: Callable[[float], Awaitable[Answer]]
    render: Callable[[Answer], web.Response]
    proceed: Callable[[], Awaitable[web.StreamResponse]]
    world: World

    def param(self, name: str, *, default: Any) -> Any:
        """Return a parameter of the fault."""
        return self.fault.params.get(name, default)

    def refuse(self, status: int, code: str, message: str) -> web.Response:
        """Return an error answer."""
        return self.render(refused(Refusal(status, code, message)))


Trouble = Callable[[Exchange], Awaitable[web.StreamResponse]]


def refused(refusal: Refusal) -> Answer:
    """Return the answer that a refusal becomes; the request id is filled in later."""
    return Answer(refusal.status, {"error": refusal.code, "message": str(refusal)})


def cut(request: web.Request, *, reset: bool = True) -> web.Response:
    """Cut the connection; what is returned is never sent."""
    transport = request.transport
    if transport is None:
        return web.Response()
    if reset and (raw := transport.get_extra_info("socket")) is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort() if reset else transport.close()
    return web.Response()


async def linger(request: web.Request, fault: Fault, seconds: float | None) -> None:
    """Wait until the time is over, the fault removed, or the client gone."""
    end = None if seconds is None else time.monotonic() + seconds
    while not fault.removed.is_set() and (end is None or time.monotonic() < end):
        if request.transport is None or request.transport.is_closing():
            return
        await asyncio.sleep(_WATCH_EVERY)


async def _server_fault(exchange: Exchange) -> web.Response:
    return exchange.refuse(500, "internal_error", "Something went wrong on our side.")


async def _gateway(_: Exchange) -> web.Response:
    return web.Response(status=502, text=GATEWAY_PAGE, content_type="text/html")


async def _unavailable(_: Exchange) -> web.Response:
    return web.Response(status=503)


async def _limited(exchange: Exchange) -> web.Response:
    answer = exchange.refuse(429, "rate_limited", "Too many requests.")
    wait = exchange.param("retry_after", default=1)
    if wait is not None:
        as_date = exchange.param("date", default=False)
        # A date is on the same clock as the header Date.
        date = http_date(exchange.world.clock.now() + wait)
        answer.headers["Retry-After"] = date if as_date else str(wait)
    return answer


async def _unauthorized(exchange: Exchange) -> web.Response:
    return exchange.refuse(401, "invalid_token", "The token is missing, malformed or revoked.")


async def _forbidden(exchange: Exchange) -> web.Response:
    return exchange.refuse(403, "insufficient_scope", "The token lacks the permission.")


async def _missing(exchange: Exchange) -> web.Response:
    return exchange.refuse(404, "not_found", "No such thing.")


async def _refusal(exchange: Exchange) -> web.Response:
    status = exchange.param("status", default=400)
    code = exchange.param("code", default="validation_failed")
    return exchange.refuse(status, code, exchange.param("message", default="Refused."))


async def _reset(exchange: Exchange) -> web.Response:
    return cut(exchange.request)


async def _close(exchange: Exchange) -> web.Response:
    return cut(exchange.request, reset=False)


async def _hang(exchange: Exchange) -> web.Response:
    await linger(exchange.request, exchange.fault, exchange.param("hold", default=None))
    return cut(exchange.request)


async def _slow(exchange: Exchange) -> web.StreamResponse:
    await asyncio.sleep(exchange.param("delay", default=2.0))
    return await exchange.proceed()


async def _held(exchange: Exchange) -> web.StreamResponse:
    done = exchange.param("done", default=False)
    answer = await exchange.carry_out(0.0) if done else None
    await linger(exchange.request, exchange.fault, None)
    if exchange.request.transport is None or exchange.request.transport.is_closing():
        return cut(exchange.request)
    return exchange.render(answer) if answer else await exchange.proceed()


async def _lost_answer(exchange: Exchange) -> web.StreamResponse:
    await exchange.carry_out(0.0)
    ways = {"reset": _reset, "close": _close, "timeout": _hang, "502": _gateway}
    return await ways[exchange.param("how", default="reset")](exchange)


async def _truncated(exchange: Exchange) -> web.StreamResponse:
    whole = json.dumps((await exchange.carry_out(0.0)).body).encode()
    half = whole[: len(whole) // 2]
    if exchange.param("cut", default=False):
        return web.Response(body=half, content_type="application/json")
    answer = web.StreamResponse(headers={"Content-Type": "application/json"})
    answer.content_length = len(whole)
    await answer.prepare(exchange.request)
    await answer.write(half)
    cut(exchange.request, reset=False)
    return answer


async def _mistyped(exchange: Exchange) -> web.Response:
    answer = await exchange.carry_out(0.0)
    body = mistyped(answer.body, exchange.param("shape", default="fields"))
    return web.json_response(body, status=answer.status)


async def _login_page(_: Exchange) -> web.Response:
    return web.Response(text=LOGIN_PAGE, content_type="text/html")


async def _nothing(_: Exchange) -> web.Response:
    return web.Response()


async def _redirect(exchange: Exchange) -> web.Response:
    location = exchange.param("location", default=f"{exchange.world.signer.origin}/elsewhere")
    return web.Response(
        status=exchange.param("status", default=302), headers={"Location": location}
    )


async def _stale(exchange: Exchange) -> web.Response:
    return exchange.render(await exchange.carry_out(exchange.param("lag", default=10.0)))


async def _endless(exchange: Exchange) -> web.Response:
    answer = await exchange.carry_out(0.0)
    if isinstance(answer.body, dict) and "nextCursor" in answer.body:
        again = exchange.request.query.get("cursor") or answer.body["nextCursor"] or "Y3Vyc29yOg"
        answer = replace(answer, body={**answer.body, "nextCursor": again})
    return exchange.render(answer)


TROUBLE: dict[str, Trouble] = {
    "500": _server_fault,
    "502-html": _gateway,
    "503-empty": _unavailable,
    "429": _limited,
    "401": _unauthorized,
    "403": _forbidden,
    "404": _missing,
    "refuse": _refusal,
    "reset": _reset,
    "close": _close,
    "hang": _hang,
    "slow": _slow,
    "held": _held,
    "lost-answer": _lost_answer,
    "truncated-json": _truncated,
    "mistyped-json": _mistyped,
    "html-200": _login_page,
    "empty-200": _nothing,
    "redirect": _redirect,
    "stale": _stale,
    "endless-pages": _endless,
}
