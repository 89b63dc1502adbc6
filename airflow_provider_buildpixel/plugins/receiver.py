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

from airflow_provider_buildpixel.core import webhooks
from airflow_provider_buildpixel.core.calls import get_build
from airflow_provider_buildpixel.core.text import plain
from airflow_provider_buildpixel.exceptions import BuildPixelError, NotFound, UnexpectedAnswer
from airflow_provider_buildpixel.plugins import events
from airflow_provider_buildpixel.plugins.connections import Clients, look_up

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from airflow_provider_buildpixel.core.model import Build
    from airflow_provider_buildpixel.core.settings import Settings
    from airflow_provider_buildpixel.core.webhooks import Answer, Delivery

T = TypeVar("T")

AT_ONCE = 256
"""Deliveries that one process works on; more are told to come again."""

THREADS = 4
"""For the database: a flood here must leave the threads of Airflow's own routes alone."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Patience:
    """How long to wait for what, in seconds.

    :param body: for a sender's body.
    :param work: until the sender is told to come back, while the work goes on.
    :param rereads: between looks at a build that REST does not yet show as finished.
    """

    body: float = webhooks.BODY_PATIENCE
    work: float = webhooks.PATIENCE
    rereads: tuple[float, ...] = webhooks.REREADS


class Receiver:
    """The receiving end of one worker process of the API server."""

    def __init__(self, patience: Patience | None = None) -> None:
        self._patience = patience or Patience()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="buildpixel-webhooks")
        self._clients = Clients()
        self._under_way: dict[tuple[str, ...], asyncio.Task[Answer]] = {}

    async def receive(self, request: Request) -> Response:
        """Answer ``POST /buildpixel/webhooks/<connection id>``."""
        try:
            answer = await self._answer(request)
        except ClientDisconnect:
            answer = webhooks.TOO_SLOW  # nobody reads it
        return _response(answer)

    async def close(self) -> None:
        """Give up what is under way, and give back threads and connections."""
        for task in self._under_way.values():
            task.cancel()
        await self._clients.close()
        self._threads.shutdown(wait=False)

    async def _answer(self, request: Request) -> Answer:
        body = await _body(request, self._patience.body)
        if not isinstance(body, bytes):
            return body
        conn_id, started = str(request.path_params["conn_id"]), time.monotonic()
        settings = await self._in_thread(look_up, conn_id)
        secrets = settings.webhook_secrets if settings else ()
        signature = request.headers.get("x-buildpixel-signature")
        if not webhooks.genuine(body, signature, secrets) or settings is None:
            del body  # a flood of forgeries shall not be kept while it waits
            _log_refusal(conn_id, settings)
            await asyncio.sleep(webhooks.refusal_pause(time.monotonic() - started))
            return webhooks.REFUSED
        return await self._act_on(body, conn_id, settings)

    async def _act_on(self, body: bytes, conn_id: str, settings: Settings) -> Answer:
        try:
            delivery = webhooks.Delivery.from_body(body)
        except UnexpectedAnswer as error:
            log.warning("Webhook for connection %s: %s", conn_id, error)
            return webhooks.UNREADABLE
        if not delivery.finished:
            return webhooks.IGNORED
        task = self._task(conn_id, settings, delivery)
        if task is None:
            return webhooks.LATER
        await asyncio.wait([task], timeout=self._patience.work)
        return task.result() if task.done() else webhooks.LATER

    def _task(
        self, conn_id: str, settings: Settings, delivery: Delivery
    ) -> asyncio.Task[Answer] | None:
        """Give the work on a delivery: retries that come meanwhile share it."""
        key = (conn_id, *delivery.key)
        task = self._under_way.get(key)
        if task is None and len(self._under_way) < AT_ONCE:
            task = asyncio.get_running_loop().create_task(self._take(conn_id, settings, delivery))
            self._under_way[key] = task
            task.add_done_callback(lambda _: self._under_way.pop(key, None))
        return task

    async def _take(self, conn_id: str, settings: Settings, delivery: Delivery) -> Answer:
        try:
            build = await self._finished(conn_id, settings, delivery.build_id)
        except BuildPixelError as error:
            log.warning("Webhook for connection %s: %s", conn_id, error)
            return webhooks.answer_to(error, delivery, datetime.now(UTC))
        objection = webhooks.objection(build, datetime.now(UTC))
        if objection is not None:
            log.warning(
                "Webhook for connection %s says that %s has ended; BuildPixel says %s since %s",
                conn_id,
                build.title,
                plain(build.status, 50),
                build.finished_at or build.created_at,
            )
            return objection
        return await self._in_thread(events.record, settings, build)

    async def _finished(self, conn_id: str, settings: Settings, build_id: str) -> Build:
        """Read the build; again for some seconds where REST lags behind the webhook."""
        client = await self._clients.of(conn_id, settings)
        for count, pause in enumerate(self._patience.rereads):
            try:
                build = await client.perform(get_build(build_id))
            except NotFound:
                if count >= webhooks.ABSENT_REREADS:
                    raise
            else:
                if build.status.terminal:
                    return build
            await asyncio.sleep(pause)
        return await client.perform(get_build(build_id))

    async def _in_thread(self, work: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)


async def _body(request: Request, patience: float) -> bytes | Answer:
    """Read the body, as far as it may be read."""
    if not webhooks.json_announced(request.headers.get("content-type")):
        return webhooks.NOT_JSON
    if webhooks.too_long(request.headers.get("content-length")):
        return webhooks.TOO_LARGE
    body = bytearray()
    try:
        async with asyncio.timeout(patience):
            async for chunk in request.stream():
                body += chunk
                if len(body) > webhooks.MAX_BODY:
                    return webhooks.TOO_LARGE
    except TimeoutError:
        return webhooks.TOO_SLOW
    return bytes(body)


def _log_refusal(conn_id: str, settings: Settings | None) -> None:
    reason = "there is no such connection that can be used"
    if settings is not None:
        known = bool(settings.webhook_secrets)
        reason = "the signature is not ours" if known else "it has no webhook_secret"
    log.warning("Refused a webhook for connection %s: %s", plain(conn_id, 100), reason)


def _response(answer: Answer) -> Response:
    headers = {"Cache-Control": "no-store"}
    if answer.retry_after is not None:
        headers["Retry-After"] = str(answer.retry_after)
    if answer in {webhooks.TOO_LARGE, webhooks.TOO_SLOW, webhooks.NOT_JSON}:
        headers["Connection"] = "close"  # the rest of the body is not read
    return JSONResponse({"outcome": answer.outcome}, answer.status, headers)
