"""The artifact store: a separate origin that accepts signed URLs and no tokens."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from airflow_provider_buildpixel.sandbox.artifacts.ranges import (
    ByteRange,
    RangeNotSatisfiable,
    requested_range,
)
from airflow_provider_buildpixel.sandbox.faults.catalog import ARTIFACT
from airflow_provider_buildpixel.sandbox.faults.http_faults import (
    close_connection,
    respond_with_fault,
    wait_for_removal,
)
from airflow_provider_buildpixel.sandbox.request_log import logged_request
from airflow_provider_buildpixel.sandbox.rest.artifacts import tarball_of
from airflow_provider_buildpixel.sandbox.rest.messages import ApiResponse
from airflow_provider_buildpixel.sandbox.world.clock import http_date
from airflow_provider_buildpixel.sandbox.world.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from airflow_provider_buildpixel.sandbox.artifacts.tarball import Tarball
    from airflow_provider_buildpixel.sandbox.faults.registry import Fault, FaultRegistry
    from airflow_provider_buildpixel.sandbox.request_log import RequestLog
    from airflow_provider_buildpixel.sandbox.world.world import World

ELSEWHERE = "elsewhere"
# A slowed-down response is sent in this many writes per second.
_WRITES_PER_SECOND = 20


@dataclass(frozen=True)
class ArtifactResponse:
    """The response to a download request: a range of a tarball, and the fault that changes it."""

    tarball: Tarball
    byte_range: ByteRange
    etag: str
    modified: str
    fault: Fault | None

    @property
    def status(self) -> int:
        """Return the HTTP status."""
        return 206 if self.byte_range.partial else 200

    def has_fault(self, name: str) -> bool:
        """Whether this fault applies to it."""
        return self.fault is not None and self.fault.name == name

    def param(self, name: str, default: int) -> int:
        """Return a parameter of the fault."""
        return int(self.fault.params.get(name, default)) if self.fault else default


class StoreApp:
    """Serves artifacts by their signed URLs."""

    def __init__(self, world: World, faults: FaultRegistry, log: RequestLog) -> None:
        self._world, self._faults, self._log = world, faults, log

    def app(self) -> web.Application:
        """Return the application."""
        app = web.Application()
        app.router.add_get("/{folder}/{file}", self._serve)
        app.router.add_route("*", "/{path:.*}", self._elsewhere)
        return app

    async def _elsewhere(self, request: web.Request) -> web.Response:
        number = self._log.add(logged_request(request, ELSEWHERE, await request.read()))
        self._log.set_status(number, web.HTTPNotFound.status_code)
        return _error(ApiError(404, "NoSuchKey", "The key does not exist."))

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        number = self._log.add(logged_request(request, ARTIFACT))

        async def respond() -> web.StreamResponse:
            return await self._send_artifact(request, number)

        async def execute(_: float) -> ApiResponse:
            return ApiResponse(200, {})

        fault = self._faults.apply("http", ARTIFACT)
        response = await respond_with_fault(fault, request, execute, _render, respond, self._world)
        self._log.set_status(number, response.status)
        return response

    async def _send_artifact(self, request: web.Request, number: int) -> web.StreamResponse:
        fault = self._faults.apply("store", ARTIFACT)
        try:
            artifact = self._artifact(request, fault)
        except ApiError as error:
            return _error(error)
        except RangeNotSatisfiable as error:
            headers = {"Content-Range": f"bytes */{error.size}"}
            return web.Response(status=416, headers=headers)
        if (without_body := _conditional_response(request, artifact)) is not None:
            return without_body
        # The status is logged before the client can have received the whole response.
        self._log.set_status(number, artifact.status)
        return await _send(request, artifact)

    def _artifact(self, request: web.Request, fault: Fault | None) -> ArtifactResponse:
        build_id = self._authorized_build_id(request, fault)
        with self._world.lock:
            build = self._world.builds[build_id]
            tarball = tarball_of(build, self._world.now())
            modified = http_date(build.finished_at or build.created_at)
        digest = hashlib.sha256(f"{build_id} {tarball.size}".encode()).hexdigest()
        etag = f'"{digest[:32]}-1"'
        requested = requested_range(request.headers, tarball.size, etag, modified)
        byte_range = _range_with_fault(requested, tarball.size, fault)
        return ArtifactResponse(tarball, byte_range, etag, modified, fault)

    def _authorized_build_id(self, request: web.Request, fault: Fault | None) -> str:
        if "Authorization" in request.headers:
            raise ApiError(400, "InvalidArgument", "Only one auth mechanism allowed.")
        expires = request.query.get("Expires", "")
        if not self._world.signer.is_valid(
            request.path, expires, request.query.get("Signature", "")
        ) or (request.method == "HEAD" and self._world.variants.signed_head == "refused"):
            raise ApiError(403, "SignatureDoesNotMatch", "The signature is not valid.")
        if self._world.now() > int(expires) or (fault and fault.name == "artifact-expired"):
            raise ApiError(403, "AccessDenied", "Request has expired.")
        build_id = request.match_info["file"].removesuffix(".tar.gz")
        if build_id not in self._world.builds or (fault and fault.name == "artifact-gone"):
            raise ApiError(404, "NoSuchKey", "The key does not exist.")
        return build_id


def _range_with_fault(requested: ByteRange, size: int, fault: Fault | None) -> ByteRange:
    """Return the range that is sent."""
    if fault and requested.partial and fault.name == "artifact-ignores-range":
        return ByteRange(0, size, partial=False)
    if fault and requested.partial and fault.name == "artifact-wrong-range":
        return requested.shifted(fault.params.get("shift", 1), size)
    return requested


def _conditional_response(request: web.Request, artifact: ArtifactResponse) -> web.Response | None:
    headers = {"ETag": artifact.etag}
    if request.headers.get("If-None-Match") in {artifact.etag, "*"}:
        return web.Response(status=304, headers=headers)
    if request.headers.get("If-Match", artifact.etag) not in {artifact.etag, "*"}:
        return web.Response(status=412, headers=headers)
    return None


async def _send(request: web.Request, artifact: ArtifactResponse) -> web.StreamResponse:
    response = _headers_only(artifact)
    await response.prepare(request)
    if request.method != "HEAD":
        async for chunk in _throttled(_body(artifact), artifact):
            await response.write(chunk)
        await _end(request, artifact)
    return response


def _headers_only(artifact: ArtifactResponse) -> web.StreamResponse:
    byte_range = artifact.byte_range
    headers = {
        "ETag": artifact.etag,
        "Last-Modified": artifact.modified,
        "Accept-Ranges": "bytes",
        "Content-Type": "application/gzip",
    }
    if byte_range.partial:
        size = artifact.tarball.size
        headers["Content-Range"] = f"bytes {byte_range.start}-{byte_range.stop - 1}/{size}"
    response = web.StreamResponse(status=artifact.status, headers=headers)
    missing = artifact.param("by", 1) if artifact.has_fault("artifact-short") else 0
    response.content_length = max(byte_range.stop - byte_range.start - missing, 0)
    return response


def _body(artifact: ArtifactResponse) -> Iterator[bytes]:
    """Yield the content that is sent, shortened or corrupted by the fault."""
    start, stop = artifact.byte_range.start, artifact.byte_range.stop
    if artifact.has_fault("artifact-short"):
        stop -= artifact.param("by", 1)
    if artifact.has_fault("artifact-breaks") or artifact.has_fault("artifact-stalls"):
        stop = min(stop, start + artifact.param("at", 1000))
    corrupt_at = artifact.param("at", 1000) if artifact.has_fault("artifact-corrupt") else -1
    for chunk in artifact.tarball.chunks(start, stop):
        yield _with_wrong_byte(chunk, corrupt_at - start)
        start += len(chunk)


def _with_wrong_byte(chunk: bytes, at: int) -> bytes:
    if not 0 <= at < len(chunk):
        return chunk
    return chunk[:at] + bytes([chunk[at] ^ 0xFF]) + chunk[at + 1 :]


async def _throttled(chunks: Iterator[bytes], artifact: ArtifactResponse) -> AsyncIterator[bytes]:
    step = max(1, artifact.param("rate", 100_000) // _WRITES_PER_SECOND)
    for chunk in chunks:
        if not artifact.has_fault("artifact-slow"):
            yield chunk
            continue
        for offset in range(0, len(chunk), step):
            yield chunk[offset : offset + step]
            await asyncio.sleep(1 / _WRITES_PER_SECOND)


async def _end(request: web.Request, artifact: ArtifactResponse) -> None:
    if artifact.fault is not None and artifact.has_fault("artifact-stalls"):
        await wait_for_removal(request, artifact.fault, artifact.fault.params.get("hold"))
    if artifact.has_fault("artifact-stalls") or artifact.has_fault("artifact-breaks"):
        close_connection(request, reset=False)


def _render(response: ApiResponse) -> web.Response:
    return _error(ApiError(response.status, response.body["error"], response.body["message"]))


def _error(error: ApiError) -> web.Response:
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f"<Error><Code>{error.code}</Code><Message>{error}</Message></Error>"
    )
    return web.Response(status=error.status, text=text, content_type="application/xml")
