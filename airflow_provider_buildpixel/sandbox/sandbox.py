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
from airflow_provider_buildpixel.sandbox.variants import Variants
from airflow_provider_buildpixel.sandbox.world import lifecycle, payloads
from airflow_provider_buildpixel.sandbox.world.clock import Clock
from airflow_provider_buildpixel.sandbox.world.plans import Plan, plan_from
from airflow_provider_buildpixel.sandbox.world.seed import seed_world
from airflow_provider_buildpixel.sandbox.world.world import World

if TYPE_CHECKING:
    from types import TracebackType

    from airflow_provider_buildpixel.sandbox.faults.registry import Fault
    from airflow_provider_buildpixel.sandbox.live.webhooks import WebhookDelivery
    from airflow_provider_buildpixel.sandbox.request_log import LoggedRequest


LOOPBACK = "127.0.0.1"


class Sandbox:
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
        self.world = World(
            Clock(speed),
            variants or Variants(),
            default or Plan(),
            concurrency=concurrency or (1 if plan == "free" else None),
            seed=seed,
        )
        self._tokens = seed_world(self.world, plan, minutes)
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
    def token(self) -> str:
        """Return a token that may trigger builds."""
        return self._tokens.member.secret

    @property
    def viewer_token(self) -> str:
        """Return a token that may only read."""
        return self._tokens.viewer.secret

    @property
    def stranger_token(self) -> str:
        """Return a token of another organization."""
        return self._tokens.stranger.secret

    @property
    def connection_uri(self) -> str:
        """Return the value of an ``AIRFLOW_CONN_…`` variable for this sandbox."""
        return connection_uri(self.url, self.token)

    @property
    def projects(self) -> list[dict[str, Any]]:
        """Return the projects as the API lists them."""
        with self.world.lock:
            at = self.world.now()
            return [payloads.project_item(Variants(), p, at) for p in self.world.projects.values()]

    def settings(self, project: str) -> list[dict[str, Any]]:
        """Return the build settings of a project, given its name or id."""
        with self.world.lock:
            settings = self.world.project_named(project).settings.values()
            return [payloads.setting_payload(Variants(), setting) for setting in settings]

    def setting(self, project: str, **fields: str) -> dict[str, Any]:
        """Return the one build setting of a project that has these fields.

        :raises LookupError: if there is none, or more than one.
        """
        matching = [s for s in self.settings(project) if fields.items() <= s.items()]
        if len(matching) != 1:
            raise LookupError(f"{len(matching)} build settings of {project} have {fields}")
        return matching[0]

    def plan(self, times: int = 1, setting_id: str | None = None, **fields: Any) -> Plan:
        """Set how the next `times` builds go; `fields` are those of `Plan`."""
        plan = plan_from(self.world.plans.default, **fields)
        with self.world.lock:
            self.world.plans.add(plan, times, setting_id)
        return plan

    def push(
        self,
        setting_id: str,
        commit: str | None = None,
        branch: str | None = None,
        message: str | None = None,
        triggered_by: str | None = None,
        changelist: int | None = None,
    ) -> str:
        """Queue a build that was not triggered over the API, and return its id."""
        project = self.world.project_with(setting_id)
        setting, author = project.settings[setting_id], triggered_by or "push"
        spec = lifecycle.BuildSpec(project, setting, author, branch, commit, changelist, message)
        return lifecycle.queue_build(self.world, spec).id

    def build(self, build_id: str) -> dict[str, Any]:
        """Return a build as the API returns it, without its log."""
        with self.world.lock:
            at = self.world.now()
            return payloads.build_without_log(Variants(), self.world.builds[build_id], at)

    def builds(self) -> list[dict[str, Any]]:
        """Return all builds, the oldest first."""
        with self.world.lock:
            at = self.world.now()
            builds = self.world.builds.values()
            return [payloads.build_without_log(Variants(), build, at) for build in builds]

    def set_status(self, build_id: str, status: str, *, emit: bool = True) -> None:
        """Change a status by hand; the build then no longer follows its plan."""
        lifecycle.set_status(self.world, self.world.builds[build_id], status, emit=emit)

    def log(
        self, build_id: str, message: str, level: str | None = None, *, emit: bool = True
    ) -> None:
        """Append a line to the log of a build."""
        build = self.world.builds[build_id]
        lifecycle.add_log_line(self.world, build, message, level, emit=emit)

    def remove_artifact(self, build_id: str) -> None:
        """Remove the artifact of a build, as retention does."""
        self.world.builds[build_id].artifact_removed = True

    def set_minutes(self, minutes: float | None) -> None:
        """Set the build minutes left in this month; None for no limit."""
        self._tokens.member.organization.minutes_left = minutes

    def set_accessible(self, project: str, *, accessible: bool) -> None:
        """Set whether the service can access the repository or depot of a project."""
        self.world.project_named(project).accessible = accessible

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

    def issue_token(self, role: str = "member", seconds: float | None = None) -> str:
        """Return a new token that expires after so many sandbox seconds, or never."""
        with self.world.lock:
            organization = self._tokens.member.organization
            return self.world.issue_token(organization, role, seconds).secret

    def revoke(self, token: str) -> None:
        """Revoke a token."""
        revoked = self.world.tokens[token]
        revoked.revoked = True
        if self.world.variants.revoked_sockets == "disconnected":
            self._running.call(self._running.server.sockets.disconnect(revoked))

    def now(self) -> float:
        """Return the sandbox time, in seconds since the epoch."""
        return self.world.now()

    def advance(self, seconds: float) -> None:
        """Move the clock forward, and run everything that was due by then."""
        with self.world.lock:
            self.world.clock.advance(seconds)
            self.world.now()
