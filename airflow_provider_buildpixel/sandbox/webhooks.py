"""Webhooks: signed deliveries, sent again a few times when they are not taken."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp

from airflow_provider_buildpixel.sandbox.clock import iso
from airflow_provider_buildpixel.sandbox.signing import GOOD_FOR
from airflow_provider_buildpixel.sandbox.views import build_plain

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox.faults import Fault, Faults
    from airflow_provider_buildpixel.sandbox.model import Build
    from airflow_provider_buildpixel.sandbox.world import Happening, World

TYPES = {"pending": "build.created"} | {
    status: f"build.{status}" for status in ("running", "complete", "failed", "superseded")
}
ATTEMPTS = 5
PATIENCE = 10.0
_TAKEN = range(200, 300)
_TOLD = ("id", "status", "platform", "buildType", "branch", "commit", "durationMs")


@dataclass(frozen=True)
class Webhook:
    """Where to post what; no events means all."""

    url: str
    secret: str
    events: tuple[str, ...] = ()

    def wants(self, kind: str) -> bool:
        """Say whether it is told of this."""
        return not self.events or kind in self.events


@dataclass(frozen=True)
class Delivery:
    """One attempt to deliver; status 0 if there was no answer."""

    url: str
    type: str
    build_id: str
    attempt: int
    status: int
    at: float
    body: bytes


class Courier:
    """Posts what happens to those who registered; lives in the server's event loop."""

    def __init__(
        self, world: World, faults: Faults, loop: asyncio.AbstractEventLoop, pause: float
    ) -> None:
        """Listen to the world; the first pause before a second attempt is in real seconds."""
        self._world, self._faults, self._loop, self._pause = world, faults, loop, pause
        self.webhooks: list[Webhook] = []
        self.deliveries: list[Delivery] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None
        world.listeners.append(self._hear)

    async def stop(self) -> None:
        """Give up what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def _hear(self, happening: Happening) -> None:
        kind = TYPES.get(happening.status)
        if not self.webhooks or happening.line is not None or kind is None:
            return
        body = _envelope(self._world, happening, kind)
        for webhook in self.webhooks:
            if webhook.wants(kind):
                self._loop.call_soon_threadsafe(
                    self._dispatch, webhook, kind, happening.build.id, body
                )

    def _dispatch(self, webhook: Webhook, kind: str, build_id: str, body: bytes) -> None:
        fault = self._faults.strike("webhook", "*")
        copies = _copies(fault)
        forged = fault is not None and fault.name == "webhooks-forged"
        delay = fault.params.get("delay", 1.0) if fault and fault.name == "webhooks-late" else 0.0
        signature = "0" * 64 if forged else sign(webhook.secret, body)
        for _ in range(copies):
            work = self._deliver(webhook.url, kind, build_id, body, signature, delay)
            task = self._loop.create_task(work)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _deliver(
        self, url: str, kind: str, build_id: str, body: bytes, signature: str, delay: float
    ) -> None:
        await asyncio.sleep(delay)
        for attempt in range(1, ATTEMPTS + 1):
            status = await self._post(url, body, signature)
            delivery = Delivery(url, kind, build_id, attempt, status, time.monotonic(), body)
            self.deliveries.append(delivery)
            if status in _TAKEN:
                return
            await asyncio.sleep(self._pause * 2 ** (attempt - 1))

    async def _post(self, url: str, body: bytes, signature: str) -> int:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=PATIENCE)
            self._session = aiohttp.ClientSession(timeout=timeout)
        headers = {
            "Content-Type": "application/json",
            "X-BuildPixel-Signature": f"sha256={signature}",
        }
        try:
            async with self._session.post(url, data=body, headers=headers) as answer:
                return answer.status
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


def _envelope(world: World, happening: Happening, kind: str) -> bytes:
    build = happening.build
    project = build.project
    fields = build_plain(world.variants, build, happening.at)
    told = {name: fields.get(name) for name in _TOLD} | {"status": happening.status}
    envelope: dict[str, Any] = {
        "type": kind,
        "createdAt": iso(happening.at),
        "organizationId": project.organization.id,
        "data": {
            "build": {**told, "artifactUrl": _artifact_url(world, build, happening)},
            "project": {"id": project.id, "name": project.name},
        },
    }
    return json.dumps(envelope).encode()


def _artifact_url(world: World, build: Build, happening: Happening) -> str | None:
    if happening.status != "complete" or build.artifact_bytes is None:
        return None
    folder = build.project.organization.slug
    return world.signer.url(folder, build.id, happening.at + GOOD_FOR)
