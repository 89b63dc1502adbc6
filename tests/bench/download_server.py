"""A store and the one API route that a download needs, as fast as possible in Python.

Run as ``python -m tests.bench.download_server FILE MD5 [RATE]``; prints its port. RATE limits each
connection to so many MiB per second, as stores on the internet do.
"""

from __future__ import annotations

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

MIB = 1024 * 1024
CHUNK = 4 * MIB


class Handler(BaseHTTPRequestHandler):
    """Sends the file with ``sendfile``: its bytes never enter this process."""

    protocol_version = "HTTP/1.1"
    file: Path
    md5: str
    rate = 0.0

    def do_GET(self) -> None:
        """Send the artifact, or its URL, size and checksum."""
        if self.path.startswith("/builds/"):
            self._send_artifact()
        else:
            self._send_content()

    def _send_artifact(self) -> None:
        url = f"http://{self.headers['Host']}/artifact.tar.gz?Signature=made-up"
        size = self.file.stat().st_size
        artifact = {"url": url, "expiresAt": None, "sizeBytes": size, "checksumMd5": self.md5}
        body = json.dumps(artifact).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send_content(self) -> None:
        size = self.file.stat().st_size
        requested = self.headers.get("Range")
        first, _, last = (requested or "bytes=0-").removeprefix("bytes=").partition("-")
        start, stop = int(first), int(last) + 1 if last else size
        self.send_response(206 if requested else 200)
        self.send_header("Content-Length", str(stop - start))
        self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        self.end_headers()
        self.wfile.flush()
        self._send_file(start, stop)

    def _send_file(self, start: int, stop: int) -> None:
        started_at, offset = time.monotonic(), start
        with self.file.open("rb") as file:
            while offset < stop:
                step = CHUNK if not self.rate else 256 * 1024
                count = min(step, stop - offset)
                offset += os.sendfile(self.connection.fileno(), file.fileno(), offset, count)
                if self.rate:
                    due_at = started_at + (offset - start) / (self.rate * MIB)
                    time.sleep(max(0.0, due_at - time.monotonic()))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # as it is inherited
        """Log nothing."""


class Server(ThreadingHTTPServer):
    """Ignores clients that close the connection."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore the error."""


def main() -> None:
    """Serve until killed."""
    Handler.file, Handler.md5 = Path(sys.argv[1]), sys.argv[2]
    Handler.rate = float(sys.argv[3]) if len(sys.argv) > 3 else 0.0
    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)  # noqa: T201  # the benchmark reads this
    server.serve_forever()


if __name__ == "__main__":
    main()
