"""A server that only records what is posted to it."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

Received = list[tuple[bytes, str | None]]


@contextmanager
def recording_server() -> Iterator[tuple[str, Received]]:
    """Run the server; yield its URL, and the list of received bodies and signatures."""
    received: Received = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the base class requires this name
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((body, self.headers["X-BuildPixel-Signature"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Log nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
