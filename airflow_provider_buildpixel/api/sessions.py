"""Sessions of requests that restrict redirects, size and time; logs of rows that are left out."""

from __future__ import annotations

import contextlib
import io
import logging
import socket
import threading
import zlib
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakSet

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool

from airflow_provider_buildpixel.api.endpoints import Page
from airflow_provider_buildpixel.api.errors import UnexpectedAnswer
from airflow_provider_buildpixel.api.http_messages import BodyReader

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from airflow_provider_buildpixel.api.endpoints import Call


log = logging.getLogger(__name__)


class ApiSession(requests.Session):
    """Follows no redirect of a request that carried the token."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return the address to follow, None to stop."""
        if "Authorization" in resp.request.headers:
            return None
        return super().get_redirect_target(resp)

    def merge_environment_settings(
        self,
        url: str | bytes | None,
        proxies: MutableMapping[str, str] | None,
        stream: bool | None,  # noqa: FBT001  # the signature of requests
        verify: bool | str | None,  # noqa: FBT001
        cert: str | tuple[str, str] | None,
    ) -> Any:
        """Use the CA bundle of the environment only if the connection names none."""
        if verify is None and self.verify is not True:
            verify = self.verify
        return super().merge_environment_settings(url, proxies, stream, verify, cert)


CHUNK = 64 * 1024


class InterruptibleAdapter(HTTPAdapter):
    """Keeps track of its sockets, so that another thread can interrupt a blocked request."""

    def __init__(self) -> None:
        self.sockets: WeakSet[socket.socket] = WeakSet()
        self._pools = {
            "http": _tracking_pool(HTTPConnectionPool, self.sockets),
            "https": _tracking_pool(HTTPSConnectionPool, self.sockets),
        }
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Create the pools of direct connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Create the pools of connections through a proxy."""
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = self._pools
        return manager

    def interrupt(self) -> None:
        """Shut all connections down, which unblocks their readers; safe in a signal handler."""
        for connection in tuple(self.sockets):
            with contextlib.suppress(OSError, AttributeError):
                connection.shutdown(socket.SHUT_RDWR)


def _tracking_pool(
    pool: type[HTTPConnectionPool], sockets: WeakSet[socket.socket]
) -> type[HTTPConnectionPool]:
    """Return a pool class whose connections add their sockets to the set."""
    connection_class: Any = pool.ConnectionCls

    class Connection(connection_class):  # type: ignore[misc]  # urllib3's HTTP or HTTPS class
        def connect(self) -> None:
            super().connect()
            sockets.add(self.sock)

    return type("Pool", (pool,), {"ConnectionCls": Connection})


class TimeLimit:
    """Context manager that shuts a session's connections down after a time limit.

    The timeout of requests applies to the pause between two bytes. A server that sends the headers
    slowly, byte by byte, would block without a limit.

    :param seconds: maximum time inside the context.
    """

    def __init__(self, session: requests.Session, seconds: float) -> None:
        self._session = session
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True
        self.expired = False

    def __enter__(self) -> Self:
        """Start the timer."""
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Cancel the timer."""
        self._timer.cancel()

    def _expire(self) -> None:
        self.expired = True
        for adapter in self._session.adapters.values():
            if isinstance(adapter, InterruptibleAdapter):
                adapter.interrupt()


class HandshakeSession(ApiSession):
    """The session of the Socket.IO library, whose requests carry the token in their bodies.

    It follows no redirect and reads no response above the size limit of the REST client.
    """

    def __init__(self) -> None:
        super().__init__()
        self.headers["Accept-Encoding"] = "gzip"
        self.hooks["response"].append(_read_bounded)

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002
        """Return None: no redirect is followed."""
        return None


def _read_bounded(response: requests.Response, **_: object) -> requests.Response:
    """Read the body within the size limit, before requests reads it without one."""
    raw = response.raw
    try:
        body = BodyReader(response.headers.get("Content-Encoding"))
        while chunk := raw.read1(CHUNK, decode_content=False):
            body.add(chunk)
    except (UnexpectedAnswer, zlib.error) as error:
        response.close()
        raise requests.exceptions.ContentDecodingError(str(error)) from None
    response.raw = io.BytesIO(body.content())
    return response


class UnreadableRows:
    """Logs that a list has unreadable rows, once for each list and client."""

    def __init__(self) -> None:
        self._logged: set[str] = set()

    def log(self, call: Call[Any], answer: Any) -> None:
        """Log unreadable rows of an answer, if it is a page that has some."""
        if not isinstance(answer, Page) or not answer.unreadable or call.route in self._logged:
            return
        self._logged.add(call.route)
        log.warning(
            "%s: %d rows of BuildPixel's list cannot be read and are left out; further ones are "
            "not logged",
            call.title,
            answer.unreadable,
        )
