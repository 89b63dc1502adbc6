"""The artifact store: another origin, which knows signed addresses and no tokens."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from airflow_provider_buildpixel.sandbox.answers import Answer, Refusal
from airflow_provider_buildpixel.sandbox.clock import http_date
from airflow_provider_buildpixel.sandbox.faults import ARTIFACT
from airflow_provider_buildpixel.sandbox.ranges import Span, Unsatisfiable, span_asked
from airflow_provider_buildpixel.sandbox.records import recorded
from airflow_provider_buildpixel.sandbox.rest.artifacts import tarball_of
from airflow_provider_buildpixel.sandbox.trouble import cut, disturbed, linger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from airflow_provider_buildpixel.sandbox.faults import Fault, Faults
    from airflow_provider_buildpixel.sandbox.records import Records
    from airflow_provider_buildpixel.sandbox.tarball import Tarball
    from airflow_provider_buildpixel.sandbox.world import World

ELSEWHERE = "elsewhere"
# While an answer is slowed down, it is sent in so many pieces per second.
_BEATS = 20


@dataclass(frozen=True)
class Parcel:
    """What is going to be sent: a tarball, the span of it, and what befalls it on the way."""

    tarball: Tarball
    span: Span
    etag: str
    modified: str
    fault: Fault | None

    @property
    def status(self) -> int:
        """Return the HTTP status of its answer."""
        return 206 if self.span.partial else 200

    def struck_by(self, name: str) -> bool:
        """Say whether this fault befalls it."""
        return self.fault is not None and self.fault.name == name

    def param(self, name: str, default: int) -> int:
        """Return a parameter of the fault."""
        return int(self.fault.params.get(name, default)) if self.fault else default


class Store:
    """Serves artifacts by their signed addresses."""

    def __init__(self, world: World, faults: Faults, records: Records) -> None:
        """Take the world whose artifacts these are."""
        self._world, self._faults, self._records = world, faults, records

    def app(self) -> web.Application:
        """Return the application that serves them."""
        app = web.Application()
        app.router.add_get("/{folder}/{file}", self._serve)
        app.router.add_route("*", "/{path:.*}", self._elsewhere)
        return app

    async def _elsewhere(self, request: web.Request) -> web.Response:
        place = self._records.open(recorded(request, ELSEWHERE, await request.read()))
        self._records.close(place, web.HTTPNotFound.status_code)
        return _refusal(Refusal(404, "NoSuchKey", "The key does not exist."))

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        place = self._records.open(recorded(request, ARTIFACT))

        async def proceed() -> web.StreamResponse:
            return await self._deliver(request, place)

        async def carry_out(_: float) -> Answer:
            return Answer(200, {})

        fault = self._faults.strike("http", ARTIFACT)
        response = await disturbed(fault, request, carry_out, _render, proceed, self._world)
        self._records.close(place, response.status)
        return response

    async def _deliver(self, request: web.Request, place: int) -> web.StreamResponse:
        fault = self._faults.strike("store", ARTIFACT)
        try:
            parcel = self._parcel(request, fault)
        except Refusal as refusal:
            return _refusal(refusal)
        except Unsatisfiable as beyond:
            headers = {"Content-Range": f"bytes */{beyond.size}"}
            return web.Response(status=416, headers=headers)
        if unchanged := _unchanged(request, parcel):
            return unchanged
        # Noted before the client can have it all.
        self._records.close(place, parcel.status)
        return await _send(request, parcel)

    def _parcel(self, request: web.Request, fault: Fault | None) -> Parcel:
        build_id = self._allowed(request, fault)
        with self._world.lock:
            build = self._world.builds[build_id]
            tarball = tarball_of(build, self._world.now())
            modified = http_date(build.finished_at or build.created_at)
        digest = hashlib.sha256(f"{build_id} {tarball.size}".encode()).hexdigest()
        etag = f'"{digest[:32]}-1"'
        span = span_asked(request.headers, tarball.size, etag, modified)
        return Parcel(tarball, _misread(span, tarball.size, fault), etag, modified, fault)

    def _allowed(self, request: web.Request, fault: Fault | None) -> str:
        if "Authorization" in request.headers:
            raise Refusal(400, "InvalidArgument", "Only one auth mechanism allowed.")
        expires = request.query.get("Expires", "")
        if not self._world.signer.good(
            request.path, expires, request.query.get("Signature", "")
        ) or (request.method == "HEAD" and self._world.variants.signed_head == "refused"):
            raise Refusal(403, "SignatureDoesNotMatch", "The signature is not valid.")
        if self._world.now() > int(expires) or (fault and fault.name == "artifact-expired"):
            raise Refusal(403, "AccessDenied", "Request has expired.")
        build_id = request.match_info["file"].removesuffix(".tar.gz")
        if build_id not in self._world.builds or (fault and fault.name == "artifact-gone"):
            raise Refusal(404, "NoSuchKey", "The key does not exist.")
        return build_id


def _misread(span: Span, size: int, fault: Fault | None) -> Span:
    """Return the span that is really sent."""
    if fault and span.partial and fault.name == "artifact-ignores-range":
        return Span(0, size, partial=False)
    if fault and span.partial and fault.name == "artifact-wrong-range":
        return span.shifted(fault.params.get("shift", 1), size)
    return span


def _unchanged(request: web.Request, parcel: Parcel) -> web.Response | None:
    headers = {"ETag": parcel.etag}
    if request.headers.get("If-None-Match") in {parcel.etag, "*"}:
        return web.Response(status=304, headers=headers)
    if request.headers.get("If-Match", parcel.etag) not in {parcel.etag, "*"}:
        return web.Response(status=412, headers=headers)
    return None


async def _send(request: web.Request, parcel: Parcel) -> web.StreamResponse:
    response = _opening(parcel)
    await response.prepare(request)
    if request.method != "HEAD":
        async for piece in _paced(_spoilt(parcel), parcel):
            await response.write(piece)
        await _ending(request, parcel)
    return response


def _opening(parcel: Parcel) -> web.StreamResponse:
    span = parcel.span
    headers = {
        "ETag": parcel.etag,
        "Last-Modified": parcel.modified,
        "Accept-Ranges": "bytes",
        "Content-Type": "application/gzip",
    }
    if span.partial:
        size = parcel.tarball.size
        headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{size}"
    response = web.StreamResponse(status=parcel.status, headers=headers)
    lacking = parcel.param("by", 1) if parcel.struck_by("artifact-short") else 0
    response.content_length = max(span.stop - span.start - lacking, 0)
    return response


def _spoilt(parcel: Parcel) -> Iterator[bytes]:
    """Yield the content as far as it is sent, and with its wrong byte."""
    start, stop = parcel.span.start, parcel.span.stop
    if parcel.struck_by("artifact-short"):
        stop -= parcel.param("by", 1)
    if parcel.struck_by("artifact-breaks") or parcel.struck_by("artifact-stalls"):
        stop = min(stop, start + parcel.param("at", 1000))
    wrong = parcel.param("at", 1000) if parcel.struck_by("artifact-corrupt") else -1
    for piece in parcel.tarball.pieces(start, stop):
        yield _with_wrong_byte(piece, wrong - start)
        start += len(piece)


def _with_wrong_byte(piece: bytes, at: int) -> bytes:
    if not 0 <= at < len(piece):
        return piece
    return piece[:at] + bytes([piece[at] ^ 0xFF]) + piece[at + 1 :]


async def _paced(pieces: Iterator[bytes], parcel: Parcel) -> AsyncIterator[bytes]:
    step = max(1, parcel.param("rate", 100_000) // _BEATS)
    for piece in pieces:
        if not parcel.struck_by("artifact-slow"):
            yield piece
            continue
        for cut_at in range(0, len(piece), step):
            yield piece[cut_at : cut_at + step]
            await asyncio.sleep(1 / _BEATS)


async def _ending(request: web.Request, parcel: Parcel) -> None:
    if parcel.fault is not None and parcel.struck_by("artifact-stalls"):
        await linger(request, parcel.fault, parcel.fault.params.get("hold"))
    if parcel.struck_by("artifact-stalls") or parcel.struck_by("artifact-breaks"):
        cut(request, reset=False)


def _render(answer: Answer) -> web.Response:
    return _refusal(Refusal(answer.status, answer.body["error"], answer.body["message"]))


def _refusal(refusal: Refusal) -> web.Response:
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f"<Error><Code>{refusal.code}</Code><Message>{refusal}</Message></Error>"
    )
    return web.Response(status=refusal.status, text=text, content_type="application/xml")
