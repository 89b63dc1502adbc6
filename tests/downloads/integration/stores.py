"""A store whose answers the tests write, for what the sandbox's never says."""

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
from airflow_provider_buildpixel.downloads.job import DownloadJob, DownloadOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_buildpixel.downloads.job import Destination

SIGNATURE = "Signature=s3cr3tsignature"


@dataclass
class Shop:
    """What the server gives and how; what it was asked."""

    content: bytes = b""
    etag: str | None = '"one"'
    ranges: bool = True
    headers: dict[str, str] = field(default_factory=dict)
    redirect: str | None = None
    lengths: bool = True
    pause: float = 0.0
    cut: int | None = None
    asked: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    before: Callable[[Shop], int | None] = lambda _: None
    """Called with each request; may change what is given, or give the status of a refusal."""

    url: str = ""
    size: int | None = -1
    md5: str | None = "right"
    fetched: int = 0

    def artifact(self) -> Artifact:
        """Give what the API would say; by default the truth."""
        self.fetched += 1
        size = len(self.content) if self.size == -1 else self.size
        md5 = hashlib.md5(self.content, usedforsecurity=False)
        spelt = base64.b64encode(md5.digest()).decode() if self.md5 == "right" else self.md5
        return Artifact(f"{self.url}/a.tar.gz?{SIGNATURE}", None, size, spelt)

    def download(
        self,
        destination: Destination,
        cancel_token: CancelToken | None = None,
        tell: Callable[[str], None] = lambda _: None,
        **options: object,
    ) -> DownloadJob:
        """Make a download from here."""
        chosen = DownloadOptions(**options)  # type: ignore[arg-type]  # names and values as in the tests
        settings = Settings(self.url, "bp_token", request_timeout=5.0)
        return DownloadJob(
            "b1",
            self.artifact,
            destination,
            settings,
            chosen,
            tell,
            cancel_token or CancelToken(),
            lambda: 0.0,
        )


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    shop: Shop

    def do_GET(self) -> None:
        shop = self.shop
        shop.asked.append(dict(self.headers.items()))
        shop.paths.append(self.path)
        if (status := shop.before(shop)) is not None:
            self._refuse(status)
        elif shop.redirect and not self.path.startswith("/there"):
            self.send_response(307)
            self.send_header("Location", shop.redirect)
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self._give(shop)

    def _refuse(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _give(self, shop: Shop) -> None:
        size, asked = len(shop.content), self.headers.get("Range")
        start, stop = 0, size
        if asked and shop.ranges:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, stop = int(first), int(last) + 1 if last else size
            if start >= size:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{size}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
        self.send_response(206 if asked and shop.ranges else 200)
        if asked and shop.ranges:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        if shop.etag:
            self.send_header("ETag", shop.etag)
        for name, value in shop.headers.items():
            self.send_header(name, value)
        self._body(shop, shop.content[start:stop])

    def _body(self, shop: Shop, body: bytes) -> None:
        if shop.lengths:
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self._slowly(shop, body[: shop.cut])
            self.close_connection = shop.cut is not None
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for at in range(0, len(body), 10_000):
            piece = body[at : at + 10_000]
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def _slowly(self, shop: Shop, body: bytes) -> None:
        step = len(body) if not shop.pause else 1_000_000
        for at in range(0, len(body), max(1, step)):
            self.wfile.write(body[at : at + step])
            time.sleep(shop.pause)

    def log_message(self, format: str, *args: object) -> None:  # as it is inherited
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing when a client breaks off."""


@contextmanager
def opened() -> Iterator[Shop]:
    """Run a shop."""
    shop = Shop()
    handler = type("Handler", (_Handler,), {"shop": shop})
    with _Server(("127.0.0.1", 0), handler) as server:
        shop.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield shop
        server.shutdown()
        thread.join()


def tarball(*members: tarfile.TarInfo | tuple[str, bytes], compress: int = 1) -> bytes:
    """Pack files, and whatever else a test thinks of."""
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
