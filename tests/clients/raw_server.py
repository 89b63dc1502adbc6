"""A server that answers with raw bytes, for answers that no framework would send."""

from __future__ import annotations

import socketserver
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Iterator


class _ThreadingServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = False
    block_on_close = True


class RawServer:
    """The state of a running server.

    :param answer: called with each connection after the head of its request was read.
    """

    def __init__(self, answer: Callable[[socket.socket], None]) -> None:
        self.request_heads: list[str] = []
        self.answer = answer
        self.stopping = threading.Event()
        self.url = ""

    def serve(self, connection: socket.socket) -> None:
        """Serve one connection."""
        connection.settimeout(5)
        head = b""
        while b"\r\n\r\n" not in head:
            more = connection.recv(65536)
            if not more:
                return
            head += more
        self.request_heads.append(head.decode("latin-1"))
        self.answer(connection)


@contextmanager
def raw_server(
    answer: bytes | Callable[[socket.socket], None], context: ssl.SSLContext | None = None
) -> Iterator[RawServer]:
    """Run a server on a free port.

    :param answer: the bytes of each answer, or a function that sends them.
    :param context: for TLS.
    """
    if isinstance(answer, bytes):
        data = answer
        raw = RawServer(lambda connection: connection.sendall(data))
    else:
        raw = RawServer(answer)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            connection = self.request
            try:
                if context is not None:
                    connection = context.wrap_socket(connection, server_side=True)
                raw.serve(connection)
            except OSError:
                return
            finally:
                connection.close()

    with _ThreadingServer(("127.0.0.1", 0), Handler) as server:
        scheme = "http" if context is None else "https"
        raw.url = f"{scheme}://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), name="raw-server")
        thread.start()
        try:
            yield raw
        finally:
            raw.stopping.set()
            server.shutdown()
            thread.join()


def http_response(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """Return the bytes of an ordinary HTTP response."""
    length = f"Content-Length: {len(body)}"
    head = "\r\n".join([f"HTTP/1.1 {status}", length, *headers, "Connection: close"])
    return head.encode() + b"\r\n\r\n" + body
