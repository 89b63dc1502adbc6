"""A store and the one API route that a download needs, as fast as a Python process can be.

Run as ``python -m tests.bench.download_server FILE MD5 [RATE]``; prints its port. With a rate, each
connection gets at most so many MiB in a second, as from a store across the internet.
"""

from __future__ import annotations

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

MIB = 1024 * 1024
PIECE = 4 * MIB


class Handler(BaseHTTPRequestHandler):
    """Answers with the kernel's help: the bytes never enter this process."""

    protocol_version = "HTTP/1.1"
    path_of_file: Path
    md5: str
    rate = 0.0

    def do_GET(self) -> None:
        """Give the artifact, or where it is."""
        if self.path.startswith("/builds/"):
            self._tell()
        else:
            self._give()

    def _tell(self) -> None:
        url = f"http://{self.headers['Host']}/artifact.tar.gz?Signature=made-up"
        size = self.path_of_file.stat().st_size
        facts = {"url": url, "expiresAt": None, "sizeBytes": size, "checksumMd5": self.md5}
        body = json.dumps(facts).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _give(self) -> None:
        size = self.path_of_file.stat().st_size
        asked = self.headers.get("Range")
        first, _, last = (asked or "bytes=0-").removeprefix("bytes=").partition("-")
        start, stop = int(first), int(last) + 1 if last else size
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(stop - start))
        self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        self.end_headers()
        self.wfile.flush()
        self._send(start, stop)

    def _send(self, at: int, stop: int) -> None:
        began, first = time.monotonic(), at
        with self.path_of_file.open("rb") as file:
            while at < stop:
                step = PIECE if not self.rate else 256 * 1024
                at += os.sendfile(self.connection.fileno(), file.fileno(), at, min(step, stop - at))
                if self.rate:
                    due = began + (at - first) / (self.rate * MIB)
                    time.sleep(max(0.0, due - time.monotonic()))

    def log_message(self, format: str, *args: object) -> None:  # as it is inherited
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """Lets clients break off."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing."""


def main() -> None:
    """Serve until killed."""
    Handler.path_of_file, Handler.md5 = Path(sys.argv[1]), sys.argv[2]
    Handler.rate = float(sys.argv[3]) if len(sys.argv) > 3 else 0.0
    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)  # whoever started it reads this
    server.serve_forever()


if __name__ == "__main__":
    main()
