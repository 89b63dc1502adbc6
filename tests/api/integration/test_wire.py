"""Malformed responses: whatever a server sends becomes an error of this package."""

from __future__ import annotations

import gzip
import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from airflow_provider_buildpixel.api import endpoints
from airflow_provider_buildpixel.exceptions import (
    BuildPixelError,
    RateLimited,
    ServerFault,
    UnexpectedAnswer,
    Unreachable,
)
from tests.clients.adapters import open_client, short_timeout
from tests.clients.raw_server import http_response, raw_server

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from airflow_provider_buildpixel.api.settings import Settings

BUILD = json.dumps({"id": "b", "status": "complete"}).encode()
JSON = "Content-Type: application/json"
GZIP = "Content-Encoding: gzip"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

MALFORMED_RESPONSES: dict[str, tuple[bytes, type[BuildPixelError]]] = {
    "no-http": (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", Unreachable),
    "nothing": (b"", Unreachable),
    "half-a-head": (b"HTTP/1.1 200 OK\r\nContent-Le", BuildPixelError),
    "status-of-letters": (b"HTTP/1.1 abc OK\r\n\r\n", Unreachable),
    "huge-header": (b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 200_000 + b"\r\n\r\n", Unreachable),
    "short-body": (http_response(BUILD).replace(b"Length: ", b"Length: 9"), Unreachable),
    "chunks-cut": (CHUNKED + b"5\r\nhel", Unreachable),
    "chunk-size-of-letters": (CHUNKED + b"zz\r\nhello\r\n0\r\n\r\n", Unreachable),
    "no-gzip": (http_response(b"this is not gzip", JSON, GZIP), Unreachable),
    "gzip-cut": (http_response(gzip.compress(BUILD * 500)[:-20], JSON, GZIP), BuildPixelError),
    "no-utf8": (http_response(b'{"id": "\xff\xfe"}', JSON), UnexpectedAnswer),
    "utf16": (http_response('{"id": "b"}'.encode("utf-16"), JSON), UnexpectedAnswer),
    "deep-json": (http_response(b"[" * 200_000, JSON), UnexpectedAnswer),
    "nan": (http_response(b"NaN", JSON), UnexpectedAnswer),
    "a-body-of-204": (http_response(b"", status="204 No Content"), UnexpectedAnswer),
    "no-reason": (http_response(BUILD, status="500"), ServerFault),
    "status-299": (http_response(b"[]", status="299 Odd"), UnexpectedAnswer),
    "status-999": (http_response(b"", status="999 Odd"), ServerFault),
    "retry-after-of-letters": (
        http_response(b"", "Retry-After: soon", status="429 Slow"),
        RateLimited,
    ),
}


@pytest.mark.parametrize("broken", MALFORMED_RESPONSES.values(), ids=list(MALFORMED_RESPONSES))
async def test_malformed_response(
    settings: Settings, client_kind: str, broken: tuple[bytes, type[BuildPixelError]]
) -> None:
    """A malformed response raises the error class that fits it."""
    response, expected = broken
    with raw_server(response) as server:
        async with open_client(client_kind, replace(settings, base_url=server.url)) as client:
            with pytest.raises(expected):
                await client.attempt(endpoints.get_build("b"))


LOCATIONS = {
    "elsewhere": b"http://127.0.0.1:9/elsewhere",
    "no-address": b"http://[",
    "no-utf8": b"http://\xff\xfe/",
    "relative": b"//127.0.0.1:9/",
    "empty": b"",
    "file": b"file:///etc/passwd",
}


@pytest.mark.parametrize("location", LOCATIONS.values(), ids=list(LOCATIONS))
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_is_not_followed(
    settings: Settings, client_kind: str, location: bytes, status: int
) -> None:
    """No redirect is followed, wherever it leads, and the error says what to do."""
    response = b"HTTP/1.1 %d Moved\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % (
        status,
        location,
    )
    with raw_server(response) as server:
        async with open_client(client_kind, replace(settings, base_url=server.url)) as client:
            with pytest.raises(UnexpectedAnswer, match="which is not followed") as caught:
                await client.perform(endpoints.get_build("b"))
            assert caught.value.status_code == status
            with pytest.raises(UnexpectedAnswer, match="which is not followed"):
                await client.perform(endpoints.trigger_build("p", "s"))
    assert len(server.request_heads) == 2


async def test_gzip_response(settings: Settings, client_kind: str) -> None:
    """A gzip response is decompressed."""
    with raw_server(http_response(gzip.compress(BUILD), JSON, GZIP)) as server:
        async with open_client(client_kind, replace(settings, base_url=server.url)) as client:
            assert (await client.attempt(endpoints.get_build("b"))).status == "complete"


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
async def test_response_above_the_size_limit(
    settings: Settings, client_kind: str, *, compressed: bool
) -> None:
    """A response above the size limit raises an error, also if only its decompressed size is."""
    body = b" " * (33 * 2**20)
    response = http_response(gzip.compress(body, 1), GZIP) if compressed else http_response(body)
    with raw_server(response) as server:
        roomy = replace(settings, base_url=server.url, request_timeout=20)
        async with open_client(client_kind, roomy) as client:
            with pytest.raises(UnexpectedAnswer, match="longer than"):
                await client.attempt(endpoints.get_build("b"))


@short_timeout
async def test_slow_body(settings: Settings, client_kind: str) -> None:
    """A body that arrives byte by byte is cancelled at the request timeout."""

    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1200\r\n\r\n")
        for _ in range(1200):  # one minute in all
            connection.sendall(b" ")
            if server.stopping.wait(0.05):
                break

    with raw_server(drip) as server:
        async with open_client(client_kind, replace(settings, base_url=server.url)) as client:
            started_at = time.monotonic()
            with pytest.raises(Unreachable) as caught:
                await client.attempt(endpoints.get_build("b"))
            assert caught.value.timed_out
            assert time.monotonic() - started_at < 20


@short_timeout
@pytest.mark.parametrize("what", ["head", "interim", "trailer"])
async def test_endless_headers(settings: Settings, client_kind: str, what: str) -> None:
    """Headers, interim responses or trailers that never end are cancelled in time."""
    begin, more = {
        "head": (b"HTTP/1.1 200 OK\r\nX-A: ", b"a"),
        "interim": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        "trailer": (CHUNKED + b"2\r\n{}\r\n0\r\n", b"X-A: a\r\n"),
    }[what]

    def drip(connection: socket.socket) -> None:
        connection.sendall(begin)
        while not server.stopping.wait(0.05):
            connection.sendall(more)

    with raw_server(drip) as server:
        async with open_client(client_kind, replace(settings, base_url=server.url)) as client:
            with pytest.raises(Unreachable) as caught:
                await client.attempt(endpoints.trigger_build("p", "s"))
            assert caught.value.sent


async def test_host_in_capitals(settings: Settings, client_kind: str) -> None:
    """A host in capital letters gets the token as well."""
    with raw_server(http_response(BUILD)) as server:
        spelt = server.url.replace("http://127.0.0.1", "HTTP://LocalHost")
        async with open_client(client_kind, replace(settings, base_url=spelt)) as client:
            await client.attempt(endpoints.get_build("b"))
    assert f"Authorization: Bearer {settings.token}" in server.request_heads[0]


@pytest.fixture
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create a .netrc with a password for every host."""
    path = tmp_path / "netrc"
    path.write_text("default login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(path))
    return path


async def test_netrc_is_ignored(settings: Settings, client_kind: str, netrc: Path) -> None:
    """A .netrc of the worker's user does not replace the token."""
    assert netrc.name == "netrc"
    with raw_server(http_response(BUILD)) as server:
        async with open_client(client_kind, replace(settings, base_url=server.url)) as client:
            await client.attempt(endpoints.get_build("b"))
            with pytest.raises(BuildPixelError):
                await client.attempt(endpoints.trigger_build("p", "s"))
    assert all(f"Authorization: Bearer {settings.token}" in head for head in server.request_heads)


async def test_base_url_with_a_path(settings: Settings, client_kind: str) -> None:
    """The path of the base URL is kept, and ids are escaped."""
    with raw_server(http_response(BUILD)) as server:
        async with open_client(
            client_kind, replace(settings, base_url=f"{server.url}/api")
        ) as client:
            with pytest.raises(UnexpectedAnswer, match="about build b"):
                await client.attempt(endpoints.get_build("../a b?c=d#e%2f"))
    assert server.request_heads[0].startswith(
        "GET /api/builds/..%2Fa%20b%3Fc%3Dd%23e%252f HTTP/1.1"
    )
