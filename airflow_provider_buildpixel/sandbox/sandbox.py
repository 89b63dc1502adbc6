"""The sandbox as a Python object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from airflow_provider_buildpixel.sandbox.connection import connection_uri
from airflow_provider_buildpixel.sandbox.faults.registry import FaultRegistry
from airflow_provider_buildpixel.sandbox.live.webhooks import Webhook
from airflow_provider_buildpixel.sandbox.request_log import RequestLog
from airflow_provider_buildpixel.sandbox.server.control import ControlRoutes
from airflow_provider_buildpixel.sandbox.server.dashboard import Dashboard
from airflow_provider_buildpixel.sandbox.server.server import Server, ServerSettings
from airflow_provider_buildpixel.sandbox.server.server_thread import ServerThread
from airflow_provider_buildpixel.sandbox.service import Service
from airflow_provider_buildpixel.sandbox.variants import Variants
from airflow_provider_buildpixel.sandbox.world.clock import Clock
from airflow_provider_buildpixel.sandbox.world.plans import Plan
from airflow_provider_buildpixel.sandbox.world.world import World

if TYPE_CHECKING:
    from types import TracebackType

    from airflow_provider_buildpixel.sandbox.faults.registry import Fault
    from airflow_provider_buildpixel.sandbox.live.webhooks import WebhookDelivery
    from airflow_provider_buildpixel.sandbox.request_log import LoggedRequest


LOOPBACK = "127.0.0.1"


class Sandbox(Service):
    """A BuildPixel service on this machine, as a context manager.

    It is the public interface to every part of the sandbox, hence the many methods and parameters.

    :param port: port of the API; 0 for a free one.
    :param speed: sandbox seconds per real second.
    :param variants: how the sandbox behaves where BuildPixel's documentation is not specific.
    :param plan: subscription plan of the organization; with ``free`` one build runs at a time.
    :param concurrency: how many builds run at a time; None for no limit other than the plan's.
    :param minutes: build minutes left in this month; None for no limit.
    :param default: how builds go for which no plan was set.
    :param seed: seed of all random values; the same seed results in the same tokens.
    :param ping_interval: real seconds between pings of the live channel.
    :param ping_timeout: real seconds within which a client must answer a ping.
    :param webhook_pause: real seconds before the second attempt to deliver a webhook; doubled for
        each further one.
    """

    def __init__(  # noqa: PLR0913  # see above
        self,
        port: int = 0,
        speed: float = 1.0,
        variants: Variants | None = None,
        *,
        plan: str = "team",
        concurrency: int | None = None,
        minutes: float | None = None,
        default: Plan | None = None,
        seed: int = 0,
        ping_interval: float = 25.0,
        ping_timeout: float = 20.0,
        webhook_pause: float = 1.0,
    ) -> None:
        variants = variants or Variants()
        world = World(
            Clock(speed, skew=variants.clock_skew),
            variants,
            default or Plan(),
            concurrency=concurrency or (1 if plan == "free" else None),
            seed=seed,
        )
        super().__init__(world, plan, minutes)
        self._faults = FaultRegistry()
        self.world.token_refused = lambda token: self._faults.revokes(token.secret, self.token)
        self._log = RequestLog()
        self._settings = ServerSettings(LOOPBACK, port, ping_interval, ping_timeout, webhook_pause)
        self._ports = (port, 0)
        self._thread: ServerThread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and wait until it accepts connections."""
        thread = ServerThread(self._make_server)
        thread.start()
        self._thread, self._ports = thread, thread.ports
        self.world.signer.origin = self.store_url
        self._faults.on_change = lambda: thread.call(thread.server.apply_faults())

    def stop(self) -> None:
        """Stop the server; builds and requests can still be read."""
        if self._thread is not None:
            thread, self._thread = self._thread, None
            self._faults.on_change = lambda: None
            thread.stop()

    def _make_server(self) -> Server:
        routes = [*ControlRoutes(self).routes(), *Dashboard(self.world).routes()]
        return Server(self._settings, self.world, self._faults, self._log, routes)

    @property
    def _running(self) -> ServerThread:
        if self._thread is None:
            raise RuntimeError("the sandbox is not running")
        return self._thread

    @property
    def url(self) -> str:
        """Return the base URL of the API."""
        return f"http://{LOOPBACK}:{self._ports[0]}"

    @property
    def store_url(self) -> str:
        """Return the origin of the artifact store."""
        return f"http://{LOOPBACK}:{self._ports[1]}"

    @property
    def connection_uri(self) -> str:
        """Return the value of an ``AIRFLOW_CONN_…`` variable for this sandbox."""
        return connection_uri(self.url, self.token)

    def fault(
        self,
        name: str,
        route: str | None = None,
        times: int | None = None,
        seconds: float | None = None,
        after: int = 0,
        **params: Any,
    ) -> Fault:
        """Order a fault; ``buildpixel-sandbox faults`` lists the names and parameters.

        :param route: the route it applies to, such as ``GET /builds``; None for all.
        :param times: how often it applies; None for no limit.
        :param seconds: real seconds after which it ends; None for no end.
        :param after: how many matching requests pass before it applies.
        """
        fault = self._faults.add(name, route, times, seconds, after, **params)
        if name == "sockets-dropped":
            self.drop_sockets()
        return fault

    def heal(self) -> None:
        """End all faults."""
        self._faults.heal()

    def heal_one(self, number: int) -> None:
        """End one fault, given its number."""
        self._faults.find(number).remove()

    @property
    def requests(self) -> list[LoggedRequest]:
        """Return all requests so far, including those to the live channel and the artifacts."""
        return self._log.all()

    def requests_to(self, route: str) -> list[LoggedRequest]:
        """Return the requests to one route."""
        return [request for request in self.requests if request.route == route]

    def forget_requests(self) -> None:
        """Remove the requests so far from `requests`."""
        self._log.clear()

    @property
    def sockets(self) -> int:
        """Return the number of Socket.IO connections."""
        return len(self._running.server.sockets)

    def joined(self, build_id: str) -> int:
        """Return the number of connections that have joined a build."""
        return self._running.server.sockets.joined(build_id)

    def drop_sockets(self) -> None:
        """Drop all Socket.IO connections."""
        self._running.run(self._running.server.socket_middleware.drop)

    def kick_sockets(self) -> None:
        """Disconnect the namespace of all Socket.IO connections, as a deployment does."""
        self._running.call(self._running.server.sockets.disconnect())

    def webhook(self, url: str, secret: str, events: list[str] | None = None) -> None:
        """Register a webhook, for some types of event or for all."""
        self._running.server.webhooks.webhooks.append(Webhook(url, secret, tuple(events or ())))

    @property
    def deliveries(self) -> list[WebhookDelivery]:
        """Return all attempts to deliver webhooks so far."""
        return list(self._running.server.webhooks.deliveries)

    def revoke(self, token: str) -> None:
        """Revoke a token."""
        revoked = self.world.tokens[token]
        revoked.revoked = True
        if self.world.variants.revoked_sockets == "disconnected":
            self._running.call(self._running.server.sockets.disconnect(revoked))
