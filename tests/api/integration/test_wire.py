"""Answers that are no answers: whatever comes over the wire becomes one of our errors."""

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
from tests.clients.shells import brief, opened
from tests.clients.wire import answer, wire

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from airflow_provider_buildpixel.api.settings import Settings

BUILD = json.dumps({"id": "b", "status": "complete"}).encode()
JSON = "Content-Type: application/json"
GZIP = "Content-Encoding: gzip"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

BROKEN: dict[str, tuple[bytes, type[BuildPixelError]]] = {
    "no-http": (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", Unreachable),
    "nothing": (b"", Unreachable),
    "half-a-head": (b"HTTP/1.1 200 OK\r\nContent-Le", BuildPixelError),
    "status-of-letters": (b"HTTP/1.1 abc OK\r\n\r\n", Unreachable),
    "huge-header": (b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 200_000 + b"\r\n\r\n", Unreachable),
    "short-body": (answer(BUILD).replace(b"Length: ", b"Length: 9"), Unreachable),
    "chunks-cut": (CHUNKED + b"5\r\nhel", Unreachable),
    "chunk-size-of-letters": (CHUNKED + b"zz\r\nhello\r\n0\r\n\r\n", Unreachable),
    "no-gzip": (answer(b"this is not gzip", JSON, GZIP), Unreachable),
    "gzip-cut": (answer(gzip.compress(BUILD * 500)[:-20], JSON, GZIP), BuildPixelError),
    "no-utf8": (answer(b'{"id": "\xff\xfe"}', JSON), UnexpectedAnswer),
    "utf16": (answer('{"id": "b"}'.encode("utf-16"), JSON), UnexpectedAnswer),
    "deep-json": (answer(b"[" * 200_000, JSON), UnexpectedAnswer),
    "nan": (answer(b"NaN", JSON), UnexpectedAnswer),
    "a-body-of-204": (answer(b"", status="204 No Content"), UnexpectedAnswer),
    "no-reason": (answer(BUILD, status="500"), ServerFault),
    "status-299": (answer(b"[]", status="299 Odd"), UnexpectedAnswer),
    "status-999": (answer(b"", status="999 Odd"), ServerFault),
    "retry-after-of-letters": (
        answer(b"", "Retry-After: soon", status="429 Slow"),
        RateLimited,
    ),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=list(BROKEN))
async def test_broken_answers(
    settings: Settings, kind: str, broken: tuple[bytes, type[BuildPixelError]]
) -> None:
    """Bytes that make no sense become an error of ours, of a class that fits."""
    said, expected = broken
    with wire(said) as line:
        async with opened(kind, replace(settings, base_url=line.url)) as shell:
            with pytest.raises(expected):
                await shell.attempt(endpoints.get_build("b"))


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
async def test_redirects(settings: Settings, kind: str, location: bytes, status: int) -> None:
    """No redirect is followed, wherever it leads; the error says what to do."""
    said = b"HTTP/1.1 %d Moved\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % (status, location)
    with wire(said) as line:
        async with opened(kind, replace(settings, base_url=line.url)) as shell:
            with pytest.raises(UnexpectedAnswer, match="which is not followed") as caught:
                await shell.perform(endpoints.get_build("b"))
            assert caught.value.status_code == status
            with pytest.raises(UnexpectedAnswer, match="which is not followed"):
                await shell.perform(endpoints.trigger_build("p", "s"))
    assert len(line.heads) == 2


async def test_a_gzipped_answer(settings: Settings, kind: str) -> None:
    """A compressed answer is read."""
    with wire(answer(gzip.compress(BUILD), JSON, GZIP)) as line:
        async with opened(kind, replace(settings, base_url=line.url)) as shell:
            assert (await shell.attempt(endpoints.get_build("b"))).status == "complete"


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
async def test_an_endless_answer(settings: Settings, kind: str, *, compressed: bool) -> None:
    """An answer above any sensible size is given up, also one that only unpacks to it."""
    body = b" " * (33 * 2**20)
    said = answer(gzip.compress(body, 1), GZIP) if compressed else answer(body)
    with wire(said) as line:
        roomy = replace(settings, base_url=line.url, request_timeout=20)
        async with opened(kind, roomy) as shell:
            with pytest.raises(UnexpectedAnswer, match="longer than"):
                await shell.attempt(endpoints.get_build("b"))


@brief
async def test_a_dripping_answer(settings: Settings, kind: str) -> None:
    """An answer that comes byte by byte is given up when the time of the request is over."""

    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1200\r\n\r\n")
        for _ in range(1200):  # which takes a minute
            connection.sendall(b" ")
            if line.over.wait(0.05):
                break

    with wire(drip) as line:
        async with opened(kind, replace(settings, base_url=line.url)) as shell:
            begun = time.monotonic()
            with pytest.raises(Unreachable) as caught:
                await shell.attempt(endpoints.get_build("b"))
            assert caught.value.timed_out
            assert time.monotonic() - begun < 20


@brief
@pytest.mark.parametrize("what", ["head", "interim", "trailer"])
async def test_a_head_without_an_end(settings: Settings, kind: str, what: str) -> None:
    """An answer whose head, or what is around it, goes on for ever is given up in time."""
    begin, more = {
        "head": (b"HTTP/1.1 200 OK\r\nX-A: ", b"a"),
        "interim": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        "trailer": (CHUNKED + b"2\r\n{}\r\n0\r\n", b"X-A: a\r\n"),
    }[what]

    def drip(connection: socket.socket) -> None:
        connection.sendall(begin)
        while not line.over.wait(0.05):
            connection.sendall(more)

    with wire(drip) as line:
        async with opened(kind, replace(settings, base_url=line.url)) as shell:
            with pytest.raises(Unreachable) as caught:
                await shell.attempt(endpoints.trigger_build("p", "s"))
            assert caught.value.sent


async def test_another_spelling_of_the_host(settings: Settings, kind: str) -> None:
    """A host in capitals and a port that is the default one lead to the same place."""
    with wire(answer(BUILD)) as line:
        spelt = line.url.replace("http://127.0.0.1", "HTTP://LocalHost")
        async with opened(kind, replace(settings, base_url=spelt)) as shell:
            await shell.attempt(endpoints.get_build("b"))
    assert f"Authorization: Bearer {settings.token}" in line.heads[0]


@pytest.fixture
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put down a .netrc that has a password for every host."""
    path = tmp_path / "netrc"
    path.write_text("default login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(path))
    return path


async def test_a_netrc(settings: Settings, kind: str, netrc: Path) -> None:
    """A .netrc of the worker's user has no say in who we are."""
    assert netrc.name == "netrc"
    with wire(answer(BUILD)) as line:
        async with opened(kind, replace(settings, base_url=line.url)) as shell:
            await shell.attempt(endpoints.get_build("b"))
            with pytest.raises(BuildPixelError):
                await shell.attempt(endpoints.trigger_build("p", "s"))
    assert all(f"Authorization: Bearer {settings.token}" in head for head in line.heads)


async def test_a_path_below_the_host(settings: Settings, kind: str) -> None:
    """A base URL with a path keeps it, and ids cannot leave their segment."""
    with wire(answer(BUILD)) as line:
        async with opened(kind, replace(settings, base_url=f"{line.url}/api")) as shell:
            with pytest.raises(UnexpectedAnswer, match="about build b"):
                await shell.attempt(endpoints.get_build("../a b?c=d#e%2f"))
    assert line.heads[0].startswith("GET /api/builds/..%2Fa%20b%3Fc%3Dd%23e%252f HTTP/1.1")
