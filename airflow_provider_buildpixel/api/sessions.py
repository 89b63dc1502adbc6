"""A requests session that trusts, and goes, only where the connection says."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
import zlib
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakSet

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool

from airflow_provider_buildpixel.api.errors import UnexpectedAnswer
from airflow_provider_buildpixel.api.http_messages import BodyReader

if TYPE_CHECKING:
    from collections.abc import MutableMapping


class ApiSession(requests.Session):
    """Follows no redirect of a request that carried the token, nor even looks where it leads."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Give the address to follow, None for none."""
        if "Authorization" in resp.request.headers:
            return None
        return super().get_redirect_target(resp)

    def merge_environment_settings(
        self,
        url: str | bytes | None,
        proxies: MutableMapping[str, str] | None,
        stream: bool | None,
        verify: bool | str | None,
        cert: str | tuple[str, str] | None,
    ) -> Any:
        """Let the environment's CA bundle stand in only for what the connection does not say."""
        if verify is None and self.verify is not True:
            verify = self.verify
        return super().merge_environment_settings(url, proxies, stream, verify, cert)


CHUNK = 64 * 1024


class InterruptibleAdapter(HTTPAdapter):
    """Remembers the sockets: who waits for an answer can then be woken."""

    def __init__(self) -> None:
        self.sockets: WeakSet[socket.socket] = WeakSet()
        self._pools = {
            "http": _remembering(HTTPConnectionPool, self.sockets),
            "https": _remembering(HTTPSConnectionPool, self.sockets),
        }
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools of direct connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Make the pools of connections through a proxy."""
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = self._pools
        return manager

    def interrupt(self) -> None:
        """Break all connections, and so wake who waits for one; safe in a signal handler."""
        for connection in tuple(self.sockets):
            with contextlib.suppress(OSError, AttributeError):
                connection.shutdown(socket.SHUT_RDWR)


def _remembering(
    pool: type[HTTPConnectionPool], sockets: WeakSet[socket.socket]
) -> type[HTTPConnectionPool]:
    plain: Any = pool.ConnectionCls

    class Connection(plain):  # type: ignore[misc]  # urllib3's, of either kind
        def connect(self) -> None:
            super().connect()
            sockets.add(self.sock)

    return type("Pool", (pool,), {"ConnectionCls": Connection})


class TimeLimit:
    """A time after which a session's connections are broken; a context manager.

    Between two bytes requests waits as long as it is told to, but for ever if they keep coming:
    headers can do so for weeks.

    :param seconds: for everything between entering and leaving.
    """

    def __init__(self, session: requests.Session, seconds: float) -> None:
        self._session = session
        self._timer = threading.Timer(seconds, self._pass)
        self._timer.daemon = True
        self.passed = False

    def __enter__(self) -> Self:
        """Start the clock."""
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the clock."""
        self._timer.cancel()

    def _pass(self) -> None:
        self.passed = True
        for adapter in self._session.adapters.values():
            if isinstance(adapter, InterruptibleAdapter):
                adapter.interrupt()


class HandshakeSession(ApiSession):
    """What the Socket.IO library makes requests with; they carry the token in their bodies.

    No redirect is followed, and no answer read that is longer than one of ours may be.
    """

    def __init__(self) -> None:
        super().__init__()
        self.headers["Accept-Encoding"] = "gzip"
        self.hooks["response"].append(_read_within_bounds)

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Follow none."""
        return None


def _read_within_bounds(response: requests.Response, **_: object) -> requests.Response:
    """Read the body before requests would read all of it."""
    raw = response.raw
    try:
        body = BodyReader(response.headers.get("Content-Encoding"))
        while chunk := raw.read1(CHUNK, decode_content=False):
            body.add(chunk)
    except (UnexpectedAnswer, zlib.error) as error:
        response.close()
        raise requests.exceptions.ContentDecodingError(str(error)) from None
    response.raw = io.BytesIO(body.whole())
    return response
