"""The provider's app on Airflow's API server. Every route in it is public unless it is guarded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS
from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.routing import Route

from airflow_provider_buildpixel.plugins.receiver import Receiver

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from airflow_provider_buildpixel.plugins.build_reader import PageReader


HEADERS = {
    # The pages have the origin of Airflow's UI, whose session a foreign script could use.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class SafeHeaders:
    """Puts the same headers on every answer, the framework's refusals included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and its answer back with the headers."""

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self._app(scope, receive, send_safely)


def build_app(receiver: Receiver | None = None, reader: PageReader | None = None) -> FastAPI:
    """Make the app, without the routes that would describe it to everybody."""
    receiver = receiver or Receiver()
    routes = [Route("/webhooks/{conn_id}", receiver.receive, methods=["POST"])]
    app = FastAPI(
        title="BuildPixel", routes=[*routes], docs_url=None, redoc_url=None, openapi_url=None
    )
    if AIRFLOW_V_3_1_PLUS:  # before, no page can tell who is looking: the cookie counts since 3.1
        from airflow_provider_buildpixel.plugins import pages
        from airflow_provider_buildpixel.plugins.build_reader import PageReader

        app.include_router(pages.build_router(reader or PageReader()))
        for refusal in (401, 403):
            app.add_exception_handler(refusal, pages.log_in_first)
    app.add_middleware(SafeHeaders)
    return app
