"""A server that answers with given bytes, for answers that no framework would send."""

from __future__ import annotations

import socketserver
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Iterator


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = False
    block_on_close = True


class Wire:
    """What the server says, and what it was asked.

    :param answer: takes the connection once a request's head has come.
    """

    def __init__(self, answer: Callable[[socket.socket], None]) -> None:
        self.heads: list[str] = []
        self.answer = answer
        self.over = threading.Event()
        self.url = ""

    def serve(self, connection: socket.socket) -> None:
        """Answer one connection."""
        connection.settimeout(5)
        head = b""
        while b"\r\n\r\n" not in head:
            more = connection.recv(65536)
            if not more:
                return
            head += more
        self.heads.append(head.decode("latin-1"))
        self.answer(connection)


@contextmanager
def wire(
    answer: bytes | Callable[[socket.socket], None], context: ssl.SSLContext | None = None
) -> Iterator[Wire]:
    """Run such a server on a port of its own."""
    if isinstance(answer, bytes):
        said = answer
        line = Wire(lambda connection: connection.sendall(said))
    else:
        line = Wire(answer)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            connection = self.request
            try:
                if context is not None:
                    connection = context.wrap_socket(connection, server_side=True)
                line.serve(connection)
            except OSError:
                return
            finally:
                connection.close()

    with _Server(("127.0.0.1", 0), Handler) as server:
        scheme = "http" if context is None else "https"
        line.url = f"{scheme}://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), name="wire")
        thread.start()
        try:
            yield line
        finally:
            line.over.set()
            server.shutdown()
            thread.join()


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """Make the bytes of an ordinary answer."""
    length = f"Content-Length: {len(body)}"
    head = "\r\n".join([f"HTTP/1.1 {status}", length, *headers, "Connection: close"])
    return head.encode() + b"\r\n\r\n" + body
