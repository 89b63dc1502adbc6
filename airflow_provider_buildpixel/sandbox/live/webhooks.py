"""Webhooks: signed deliveries, retried a few times until the receiver accepts them."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp

from airflow_provider_buildpixel.sandbox.artifacts.signing import URL_LIFETIME
from airflow_provider_buildpixel.sandbox.world.clock import iso
from airflow_provider_buildpixel.sandbox.world.payloads import build_without_log

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox.faults.registry import Fault, FaultRegistry
    from airflow_provider_buildpixel.sandbox.world.model import StoredBuild
    from airflow_provider_buildpixel.sandbox.world.world import BuildEvent, World

TYPES = {"pending": "build.created"} | {
    status: f"build.{status}" for status in ("running", "complete", "failed", "superseded")
}
ATTEMPTS = 5
TIMEOUT = 10.0
_ACCEPTED = range(200, 300)
_BUILD_FIELDS = ("id", "status", "platform", "buildType", "branch", "commit", "durationMs")


@dataclass(frozen=True)
class Webhook:
    """A registered webhook; no `events` means all types."""

    url: str
    secret: str
    events: tuple[str, ...] = ()

    def subscribes_to(self, event_type: str) -> bool:
        """Whether deliveries of this type are sent to it."""
        return not self.events or event_type in self.events


@dataclass(frozen=True)
class WebhookDelivery:
    """One delivery attempt; the status is 0 if there was no response."""

    url: str
    type: str
    build_id: str
    attempt: int
    status: int
    at: float
    body: bytes


class WebhookSender:
    """Delivers changes of builds to the registered webhooks, from the server's event loop.

    :param pause: real seconds before the second attempt; doubled for each further one.
    """

    def __init__(
        self, world: World, faults: FaultRegistry, loop: asyncio.AbstractEventLoop, pause: float
    ) -> None:
        self._world, self._faults, self._loop, self._pause = world, faults, loop, pause
        self.webhooks: list[Webhook] = []
        self.deliveries: list[WebhookDelivery] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None
        world.listeners.append(self._on_event)

    async def stop(self) -> None:
        """Cancel the deliveries in progress."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def _on_event(self, event: BuildEvent) -> None:
        event_type = TYPES.get(event.status)
        if not self.webhooks or event.line is not None or event_type is None:
            return
        body = _envelope(self._world, event, event_type)
        for webhook in self.webhooks:
            if webhook.subscribes_to(event_type):
                self._loop.call_soon_threadsafe(
                    self._start_delivery, webhook, event_type, event.build.id, body
                )

    def _start_delivery(
        self, webhook: Webhook, event_type: str, build_id: str, body: bytes
    ) -> None:
        fault = self._faults.apply("webhook", "*")
        copies = _copies(fault)
        forged = fault is not None and fault.name == "webhooks-forged"
        delay = fault.params.get("delay", 1.0) if fault and fault.name == "webhooks-late" else 0.0
        signature = "0" * 64 if forged else sign(webhook.secret, body)
        for _ in range(copies):
            work = self._deliver(webhook.url, event_type, build_id, body, signature, delay)
            task = self._loop.create_task(work)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _deliver(
        self, url: str, event_type: str, build_id: str, body: bytes, signature: str, delay: float
    ) -> None:
        await asyncio.sleep(delay)
        for attempt in range(1, ATTEMPTS + 1):
            status = await self._post(url, body, signature)
            self.deliveries.append(
                WebhookDelivery(url, event_type, build_id, attempt, status, time.monotonic(), body)
            )
            if status in _ACCEPTED:
                return
            await asyncio.sleep(self._pause * 2 ** (attempt - 1))

    async def _post(self, url: str, body: bytes, signature: str) -> int:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=TIMEOUT)
            self._session = aiohttp.ClientSession(timeout=timeout)
        headers = {
            "Content-Type": "application/json",
            "X-BuildPixel-Signature": f"sha256={signature}",
        }
        try:
            async with self._session.post(url, data=body, headers=headers) as response:
                return response.status
        except (aiohttp.ClientError, TimeoutError):
            return 0


def sign(secret: str, body: bytes) -> str:
    """Return the signature of a body."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def _copies(fault: Fault | None) -> int:
    match fault and fault.name:
        case "webhooks-lost":
            return 0
        case "webhooks-duplicated":
            return int(fault.params.get("copies", 2)) if fault else 1
        case _:
            return 1


def _envelope(world: World, event: BuildEvent, event_type: str) -> bytes:
    build = event.build
    project = build.project
    fields = build_without_log(world.variants, build, event.at)
    shown = {name: fields.get(name) for name in _BUILD_FIELDS} | {"status": event.status}
    envelope: dict[str, Any] = {
        "type": event_type,
        "createdAt": iso(event.at),
        "organizationId": project.organization.id,
        "data": {
            "build": {**shown, "artifactUrl": _artifact_url(world, build, event)},
            "project": {"id": project.id, "name": project.name},
        },
    }
    return json.dumps(envelope).encode()


def _artifact_url(world: World, build: StoredBuild, event: BuildEvent) -> str | None:
    if event.status != "complete" or build.artifact_bytes is None:
        return None
    folder = build.project.organization.slug
    return world.signer.url(folder, build.id, event.at + URL_LIFETIME)
