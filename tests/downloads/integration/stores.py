"""A store whose responses the tests define, for what the sandbox's store never sends."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import tarfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from airflow_provider_buildpixel.api.model import Artifact
from airflow_provider_buildpixel.api.settings import Settings
from airflow_provider_buildpixel.downloads.cancel import CancelToken
from airflow_provider_buildpixel.downloads.job import DownloadJob

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_buildpixel.downloads.job import Destination

SIGNATURE = "Signature=s3cr3tsignature"


@dataclass
class FakeStore:
    """What the server sends, what the API announces, and the requests that came.

    :param pause: seconds to wait after each megabyte.
    :param cut_at: bytes of a body after which the connection is closed.
    :param announced_size: -1 is the right size.
    :param announced_md5: ``right`` is the right checksum.
    """

    content: bytes = b""
    etag: str | None = '"one"'
    ranges: bool = True
    headers: dict[str, str] = field(default_factory=dict)
    redirect: str | None = None
    lengths: bool = True
    pause: float = 0.0
    cut_at: int | None = None
    requests: list[dict[str, str]] = field(default_factory=list)
    """The headers of each request."""

    paths: list[str] = field(default_factory=list)
    on_request: Callable[[FakeStore], int | None] = lambda _: None
    """Called with each request; may change what is sent, or return the status of a refusal."""

    url: str = ""
    announced_size: int | None = -1
    announced_md5: str | None = "right"

    def artifact(self) -> Artifact:
        """Return what the API announces."""
        size = len(self.content) if self.announced_size == -1 else self.announced_size
        digest = hashlib.md5(self.content, usedforsecurity=False).digest()
        right = self.announced_md5 == "right"
        md5 = base64.b64encode(digest).decode() if right else self.announced_md5
        return Artifact(f"{self.url}/a.tar.gz?{SIGNATURE}", None, size, md5)

    def job(
        self,
        destination: Destination,
        cancel_token: CancelToken | None = None,
        report: Callable[[str], None] = lambda _: None,
        **options: object,
    ) -> DownloadJob:
        """Return a job that downloads from this store."""
        return DownloadJob(
            "b1",
            self.artifact,
            destination,
            Settings(self.url, "bp_token", request_timeout=5.0),
            report,
            cancel_token or CancelToken(),
            lambda: 0.0,
            **options,  # type: ignore[arg-type]  # names and values as in the tests
        )


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: FakeStore

    def do_GET(self) -> None:
        store = self.store
        store.requests.append(dict(self.headers.items()))
        store.paths.append(self.path)
        if (status := store.on_request(store)) is not None:
            self._send_empty(status)
        elif store.redirect and not self.path.startswith("/there"):
            self._send_empty(307, Location=store.redirect)
        else:
            self._send_content(store)

    def _send_empty(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send_content(self, store: FakeStore) -> None:
        size, requested = len(store.content), self.headers.get("Range")
        start, stop = 0, size
        ranged = requested is not None and store.ranges
        if requested is not None and store.ranges:
            first, _, last = requested.removeprefix("bytes=").partition("-")
            start, stop = int(first), int(last) + 1 if last else size
            if start >= size:
                self._send_empty(416, **{"Content-Range": f"bytes */{size}"})
                return
        self.send_response(206 if ranged else 200)
        if ranged:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        if store.etag:
            self.send_header("ETag", store.etag)
        for name, value in store.headers.items():
            self.send_header(name, value)
        self._send_body(store, store.content[start:stop])

    def _send_body(self, store: FakeStore, body: bytes) -> None:
        if store.lengths:
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self._write_slowly(store, body[: store.cut_at])
            self.close_connection = store.cut_at is not None
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for offset in range(0, len(body), 10_000):
            chunk = body[offset : offset + 10_000]
            self.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def _write_slowly(self, store: FakeStore, body: bytes) -> None:
        step = len(body) if not store.pause else 1_000_000
        for offset in range(0, len(body), max(1, step)):
            self.wfile.write(body[offset : offset + step])
            time.sleep(store.pause)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # as it is inherited
        """Log nothing."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that close the connection."""


@contextmanager
def running_store() -> Iterator[FakeStore]:
    """Run a store."""
    store = FakeStore()
    handler = type("Handler", (_Handler,), {"store": store})
    with _Server(("127.0.0.1", 0), handler) as server:
        store.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield store
        server.shutdown()
        thread.join()


def tarball(*members: tarfile.TarInfo | tuple[str, bytes], compress: int = 1) -> bytes:
    """Return a gzip tarball of the given files and other members."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
                continue
            entry = tarfile.TarInfo(member[0])
            entry.size = len(member[1])
            tar.addfile(entry, io.BytesIO(member[1]))
    return gzip.compress(raw.getvalue(), compress)
