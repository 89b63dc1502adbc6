"""The provider's app on Airflow's API server. Each route is public unless it checks the user."""

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
    # The pages share the origin of Airflow's UI: an injected script could use the user's session.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def add_safe_headers(app: ASGIApp) -> ASGIApp:
    """Return the app with the same headers on every response, including the framework's errors."""

    async def wrapper(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await app(scope, receive, send_with_headers)

    return wrapper


def build_app(receiver: Receiver | None = None, reader: PageReader | None = None) -> FastAPI:
    """Return the app, without FastAPI's documentation routes, which would be public."""
    receiver = receiver or Receiver()
    routes = [Route("/webhooks/{conn_id}", receiver.receive, methods=["POST"])]
    app = FastAPI(
        title="BuildPixel", routes=[*routes], docs_url=None, redoc_url=None, openapi_url=None
    )
    if AIRFLOW_V_3_1_PLUS:  # earlier versions ignore the cookie, so a page cannot identify the user
        from airflow_provider_buildpixel.plugins import pages
        from airflow_provider_buildpixel.plugins.build_reader import PageReader

        app.include_router(pages.build_router(reader or PageReader()))
        for refusal in (401, 403):
            app.add_exception_handler(refusal, pages.log_in_first)
    app.add_middleware(add_safe_headers)
    return app
