"""Receives BuildPixel's webhooks.

The signature authenticates a delivery, and the build is read over REST. The database shows whether
a delivery was accepted before, so any other worker process can handle the next request. Nothing
from a request is logged before its signature is verified, except the connection id; headers, bodies
and connections are never logged, because this server's log is not masked.
"""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from airflow_provider_buildpixel.api.endpoints import get_build
from airflow_provider_buildpixel.api.text import sanitize
from airflow_provider_buildpixel.asset_events import webhook
from airflow_provider_buildpixel.exceptions import BuildPixelError, NotFound, UnexpectedAnswer
from airflow_provider_buildpixel.plugins import asset_events
from airflow_provider_buildpixel.plugins.connections import ApiClients, look_up_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from airflow_provider_buildpixel.api.model import Build
    from airflow_provider_buildpixel.api.settings import Settings
    from airflow_provider_buildpixel.asset_events.webhook import Delivery, WebhookAnswer


T = TypeVar("T")

MAX_DELIVERIES = 256
"""Deliveries that one process handles at the same time; further ones are asked to retry."""

THREADS = 4
"""Threads for the database; a flood of deliveries does not use those of Airflow's own routes."""

log = logging.getLogger(__name__)


class Receiver:
    """The webhook endpoint of one worker process of the API server.

    :param body_timeout: seconds within which the body must be received.
    :param work_timeout: seconds after which the sender is asked to retry while the work continues.
    :param reread_pauses: seconds between reads of a build that REST does not report as ended yet.
    """

    def __init__(
        self,
        *,
        body_timeout: float = webhook.BODY_TIMEOUT,
        work_timeout: float = webhook.WORK_TIMEOUT,
        reread_pauses: tuple[float, ...] = webhook.REREAD_PAUSES,
    ) -> None:
        self._body_timeout = body_timeout
        self._work_timeout = work_timeout
        self._reread_pauses = reread_pauses
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="buildpixel-webhooks")
        self._clients = ApiClients()
        self._tasks: dict[tuple[str, ...], asyncio.Task[WebhookAnswer]] = {}

    async def receive(self, request: Request) -> Response:
        """Handle ``POST /buildpixel/webhooks/<connection id>``."""
        try:
            answer = await self._answer(request)
        except ClientDisconnect:
            answer = webhook.TOO_SLOW  # the sender is gone and does not receive it
        return _response(answer)

    async def close(self) -> None:
        """Cancel running work, close the HTTP connections and stop the threads."""
        for task in self._tasks.values():
            task.cancel()
        await self._clients.close()
        self._threads.shutdown(wait=False)

    async def _answer(self, request: Request) -> WebhookAnswer:
        body = await _read_body(request, self._body_timeout)
        if not isinstance(body, bytes):
            return body
        conn_id, started = str(request.path_params["conn_id"]), time.monotonic()
        settings = await self._run_in_thread(look_up_settings, conn_id)
        secrets = settings.webhook_secrets if settings else ()
        signature = request.headers.get("x-buildpixel-signature")
        if not webhook.verify_signature(body, signature, secrets) or settings is None:
            del body  # a flood of forged deliveries must not fill the memory during the pause
            _log_refusal(conn_id, settings)
            await asyncio.sleep(webhook.refusal_delay(time.monotonic() - started))
            return webhook.REFUSED
        return await self._handle(body, conn_id, settings)

    async def _handle(self, body: bytes, conn_id: str, settings: Settings) -> WebhookAnswer:
        try:
            delivery = webhook.Delivery.from_body(body)
        except UnexpectedAnswer as error:
            log.warning("Webhook for connection %s: %s", conn_id, error)
            return webhook.MALFORMED
        if not delivery.reports_end:
            return webhook.IGNORED
        task = self._start_or_join(conn_id, settings, delivery)
        if task is None:
            return webhook.RETRY_LATER
        await asyncio.wait([task], timeout=self._work_timeout)
        return task.result() if task.done() else webhook.RETRY_LATER

    def _start_or_join(
        self, conn_id: str, settings: Settings, delivery: Delivery
    ) -> asyncio.Task[WebhookAnswer] | None:
        """Return the task for a delivery and its retries; None if too many are running."""
        key = (conn_id, *delivery.key)
        task = self._tasks.get(key)
        if task is None and len(self._tasks) < MAX_DELIVERIES:
            task = asyncio.get_running_loop().create_task(
                self._process(conn_id, settings, delivery)
            )
            self._tasks[key] = task
            task.add_done_callback(lambda _: self._tasks.pop(key, None))
        return task

    async def _process(self, conn_id: str, settings: Settings, delivery: Delivery) -> WebhookAnswer:
        try:
            build = await self._read_ended_build(conn_id, settings, delivery.build_id)
        except BuildPixelError as error:
            log.warning("Webhook for connection %s: %s", conn_id, error)
            return webhook.answer_for_error(error, delivery, datetime.now(UTC))
        rejected = webhook.rejection(build, datetime.now(UTC))
        if rejected is not None:
            log.warning(
                "Webhook for connection %s reports the end of %s; the API reports %s since %s",
                conn_id,
                build.title,
                sanitize(build.status, 50),
                build.finished_at or build.created_at,
            )
            return rejected
        return await self._run_in_thread(asset_events.record_end, settings, build)

    async def _read_ended_build(self, conn_id: str, settings: Settings, build_id: str) -> Build:
        """Return the build, read again for some seconds while REST lags behind the webhook."""
        client = await self._clients.get(conn_id, settings)
        for count, pause in enumerate(self._reread_pauses):
            try:
                build = await client.perform(get_build(build_id))
            except NotFound:
                if count >= webhook.MAX_NOT_FOUND_READS:
                    raise
            else:
                if build.status.terminal:
                    return build
            await asyncio.sleep(pause)
        return await client.perform(get_build(build_id))

    async def _run_in_thread(self, work: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)


async def _read_body(request: Request, seconds: float) -> bytes | WebhookAnswer:
    """Return the body, or the answer if it must not be read or does not arrive in time."""
    if not webhook.is_json(request.headers.get("content-type")):
        return webhook.NOT_JSON
    if webhook.is_too_long(request.headers.get("content-length")):
        return webhook.TOO_LARGE
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > webhook.MAX_BODY:
                    return webhook.TOO_LARGE
    except TimeoutError:
        return webhook.TOO_SLOW
    return bytes(body)


def _log_refusal(conn_id: str, settings: Settings | None) -> None:
    reason = "the connection does not exist or cannot be used"
    if settings is not None:
        has_secret = bool(settings.webhook_secrets)
        reason = "the signature is invalid" if has_secret else "it has no webhook_secret"
    log.warning("Refused a webhook for connection %s: %s", sanitize(conn_id, 100), reason)


def _response(answer: WebhookAnswer) -> Response:
    headers = {"Cache-Control": "no-store"}
    if answer.retry_after is not None:
        headers["Retry-After"] = str(answer.retry_after)
    if answer in {webhook.TOO_LARGE, webhook.TOO_SLOW, webhook.NOT_JSON}:
        headers["Connection"] = "close"  # the rest of the body is not read
    return JSONResponse({"outcome": answer.outcome}, answer.status, headers)
