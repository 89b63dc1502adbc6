"""Receives BuildPixel's webhooks: the signature decides, REST is the truth, the database remembers.

Nothing here outlives a request that another worker process, or the next, could need: whether a
build was taken before says the database. Nothing that came in is logged before its signature was
found good, and no header, body or connection ever: this server's log is not masked.
"""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from airflow_provider_buildpixel.api.endpoints import get_build
from airflow_provider_buildpixel.api.text import plain
from airflow_provider_buildpixel.asset_events import webhook
from airflow_provider_buildpixel.exceptions import BuildPixelError, NotFound, UnexpectedAnswer
from airflow_provider_buildpixel.plugins import asset_events
from airflow_provider_buildpixel.plugins.connections import ApiClients, look_up

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from airflow_provider_buildpixel.api.model import Build
    from airflow_provider_buildpixel.api.settings import Settings
    from airflow_provider_buildpixel.asset_events.webhook import Delivery, WebhookAnswer


T = TypeVar("T")

MAX_DELIVERIES = 256
"""Deliveries that one process works on; more are told to come again."""

THREADS = 4
"""For the database: a flood here must leave the threads of Airflow's own routes alone."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Timeouts:
    """How long to wait for what, in seconds.

    :param body: for a sender's body.
    :param work: until the sender is told to come back, while the work goes on.
    :param rereads: between looks at a build that REST does not yet show as finished.
    """

    body: float = webhook.BODY_TIMEOUT
    work: float = webhook.WORK_TIMEOUT
    rereads: tuple[float, ...] = webhook.REREAD_PAUSES


class Receiver:
    """The receiving end of one worker process of the API server."""

    def __init__(self, patience: Timeouts | None = None) -> None:
        self._patience = patience or Timeouts()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="buildpixel-webhooks")
        self._clients = ApiClients()
        self._under_way: dict[tuple[str, ...], asyncio.Task[WebhookAnswer]] = {}

    async def receive(self, request: Request) -> Response:
        """Answer ``POST /buildpixel/webhooks/<connection id>``."""
        try:
            answer = await self._answer(request)
        except ClientDisconnect:
            answer = webhook.TOO_SLOW  # nobody reads it
        return _response(answer)

    async def close(self) -> None:
        """Give up what is under way, and give back threads and connections."""
        for task in self._under_way.values():
            task.cancel()
        await self._clients.close()
        self._threads.shutdown(wait=False)

    async def _answer(self, request: Request) -> WebhookAnswer:
        body = await _body(request, self._patience.body)
        if not isinstance(body, bytes):
            return body
        conn_id, started = str(request.path_params["conn_id"]), time.monotonic()
        settings = await self._in_thread(look_up, conn_id)
        secrets = settings.webhook_secrets if settings else ()
        signature = request.headers.get("x-buildpixel-signature")
        if not webhook.verify_signature(body, signature, secrets) or settings is None:
            del body  # a flood of forgeries shall not be kept while it waits
            _log_refusal(conn_id, settings)
            await asyncio.sleep(webhook.refusal_pause(time.monotonic() - started))
            return webhook.REFUSED
        return await self._act_on(body, conn_id, settings)

    async def _act_on(self, body: bytes, conn_id: str, settings: Settings) -> WebhookAnswer:
        try:
            delivery = webhook.Delivery.from_body(body)
        except UnexpectedAnswer as error:
            log.warning("Webhook for connection %s: %s", conn_id, error)
            return webhook.UNREADABLE
        if not delivery.finished:
            return webhook.IGNORED
        task = self._task(conn_id, settings, delivery)
        if task is None:
            return webhook.LATER
        await asyncio.wait([task], timeout=self._patience.work)
        return task.result() if task.done() else webhook.LATER

    def _task(
        self, conn_id: str, settings: Settings, delivery: Delivery
    ) -> asyncio.Task[WebhookAnswer] | None:
        """Give the work on a delivery: retries that come meanwhile share it."""
        key = (conn_id, *delivery.key)
        task = self._under_way.get(key)
        if task is None and len(self._under_way) < MAX_DELIVERIES:
            task = asyncio.get_running_loop().create_task(self._take(conn_id, settings, delivery))
            self._under_way[key] = task
            task.add_done_callback(lambda _: self._under_way.pop(key, None))
        return task

    async def _take(self, conn_id: str, settings: Settings, delivery: Delivery) -> WebhookAnswer:
        try:
            build = await self._finished(conn_id, settings, delivery.build_id)
        except BuildPixelError as error:
            log.warning("Webhook for connection %s: %s", conn_id, error)
            return webhook.answer_to(error, delivery, datetime.now(UTC))
        objection = webhook.rejection(build, datetime.now(UTC))
        if objection is not None:
            log.warning(
                "Webhook for connection %s says that %s has ended; BuildPixel says %s since %s",
                conn_id,
                build.title,
                plain(build.status, 50),
                build.finished_at or build.created_at,
            )
            return objection
        return await self._in_thread(asset_events.record, settings, build)

    async def _finished(self, conn_id: str, settings: Settings, build_id: str) -> Build:
        """Read the build; again for some seconds where REST lags behind the webhook."""
        client = await self._clients.of(conn_id, settings)
        for count, pause in enumerate(self._patience.rereads):
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

    async def _in_thread(self, work: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)


async def _body(request: Request, patience: float) -> bytes | WebhookAnswer:
    """Read the body, as far as it may be read."""
    if not webhook.is_json(request.headers.get("content-type")):
        return webhook.NOT_JSON
    if webhook.is_too_long(request.headers.get("content-length")):
        return webhook.TOO_LARGE
    body = bytearray()
    try:
        async with asyncio.timeout(patience):
            async for chunk in request.stream():
                body += chunk
                if len(body) > webhook.MAX_BODY:
                    return webhook.TOO_LARGE
    except TimeoutError:
        return webhook.TOO_SLOW
    return bytes(body)


def _log_refusal(conn_id: str, settings: Settings | None) -> None:
    reason = "there is no such connection that can be used"
    if settings is not None:
        known = bool(settings.webhook_secrets)
        reason = "the signature is not ours" if known else "it has no webhook_secret"
    log.warning("Refused a webhook for connection %s: %s", plain(conn_id, 100), reason)


def _response(answer: WebhookAnswer) -> Response:
    headers = {"Cache-Control": "no-store"}
    if answer.retry_after is not None:
        headers["Retry-After"] = str(answer.retry_after)
    if answer in {webhook.TOO_LARGE, webhook.TOO_SLOW, webhook.NOT_JSON}:
        headers["Connection"] = "close"  # the rest of the body is not read
    return JSONResponse({"outcome": answer.outcome}, answer.status, headers)
