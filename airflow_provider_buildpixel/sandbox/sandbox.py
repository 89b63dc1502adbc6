"""The sandbox as Python sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from airflow_provider_buildpixel.sandbox import life
from airflow_provider_buildpixel.sandbox.clock import Clock
from airflow_provider_buildpixel.sandbox.connection import connection_uri
from airflow_provider_buildpixel.sandbox.control import Control
from airflow_provider_buildpixel.sandbox.dashboard import Dashboard
from airflow_provider_buildpixel.sandbox.faults import Faults
from airflow_provider_buildpixel.sandbox.host import Host
from airflow_provider_buildpixel.sandbox.plans import Plan, plan_from
from airflow_provider_buildpixel.sandbox.records import Records
from airflow_provider_buildpixel.sandbox.seed import plant
from airflow_provider_buildpixel.sandbox.server import Server, Settings
from airflow_provider_buildpixel.sandbox.variants import Variants
from airflow_provider_buildpixel.sandbox.views import build_plain, project_item, setting_view
from airflow_provider_buildpixel.sandbox.webhooks import Webhook
from airflow_provider_buildpixel.sandbox.world import World

if TYPE_CHECKING:
    from types import TracebackType

    from airflow_provider_buildpixel.sandbox.faults import Fault
    from airflow_provider_buildpixel.sandbox.records import Request
    from airflow_provider_buildpixel.sandbox.webhooks import Delivery


LOOPBACK = "127.0.0.1"


class Sandbox:
    """A BuildPixel on this machine, as a context manager.

    It has more methods and parameters than is good for a class, for it is the face of the whole.

    :param port: of the API; 0 takes a free one.
    :param speed: sandbox seconds per real second.
    :param variants: how to read what BuildPixel's documentation leaves open.
    :param plan: what the organization subscribes to; with ``free`` one build runs at a time.
    :param concurrency: another limit of builds that run at a time.
    :param minutes: build minutes left in the month; None for any number.
    :param default: how builds go that nobody planned.
    :param seed: of all chance; the same seed has the same tokens.
    :param ping_interval: real seconds between pings of the live channel.
    :param ping_timeout: real seconds that an answer to a ping may take.
    :param webhook_pause: real seconds before a webhook is tried again; doubled each time.
    """

    def __init__(
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
        self._seeds = plant(self.world, plan, minutes)
        self.world.suspended = lambda token: self._faults.suspend(token.secret, self.token)
        self._faults = Faults()
        self._records = Records()
        self._settings = Settings(LOOPBACK, port, ping_interval, ping_timeout, webhook_pause)
        self._ports = (port, 0)
        self._host: Host | None = None

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
        """Start the server and return when it answers."""
        host = Host(self._make_server)
        host.start()
        self._host, self._ports = host, host.ports
        self.world.signer.origin = self.store_url
        self._faults.on_change = lambda: host.call(host.server.obey())

    def stop(self) -> None:
        """Stop the server; what happened can still be asked."""
        if self._host is not None:
            host, self._host = self._host, None
            self._faults.on_change = lambda: None
            host.stop()

    def _make_server(self) -> Server:
        routes = [*Control(self).routes(), *Dashboard(self.world).routes()]
        return Server(self._settings, self.world, self._faults, self._records, routes)

    @property
    def _running(self) -> Host:
        if self._host is None:
            raise RuntimeError("the sandbox is not running")
        return self._host

    @property
    def url(self) -> str:
        """Return the base URL of the API."""
        return f"http://{LOOPBACK}:{self._ports[0]}"

    @property
    def store_url(self) -> str:
        """Return the origin of the artifacts."""
        return f"http://{LOOPBACK}:{self._ports[1]}"

    @property
    def token(self) -> str:
        """Return a token that may trigger builds."""
        return self._seeds.member.secret

    @property
    def viewer_token(self) -> str:
        """Return a token that may only read."""
        return self._seeds.viewer.secret

    @property
    def stranger_token(self) -> str:
        """Return a token of another organization."""
        return self._seeds.stranger.secret

    @property
    def connection_uri(self) -> str:
        """Return the value of an ``AIRFLOW_CONN_…`` variable that leads here."""
        return connection_uri(self.url, self.token)

    @property
    def projects(self) -> list[dict[str, Any]]:
        """Return the projects as the API lists them."""
        with self.world.lock:
            at = self.world.now()
            return [project_item(Variants(), p, at) for p in self.world.projects.values()]

    def settings(self, project: str) -> list[dict[str, Any]]:
        """Return the build settings of a project, by name or id."""
        with self.world.lock:
            found = self.world.project_named(project).settings.values()
            return [setting_view(Variants(), setting) for setting in found]

    def setting(self, project: str, **fields: str) -> dict[str, Any]:
        """Return the one build setting of a project that has these fields."""
        fitting = [s for s in self.settings(project) if fields.items() <= s.items()]
        if len(fitting) != 1:
            raise LookupError(f"{len(fitting)} build settings of {project} have {fields}")
        return fitting[0]

    def plan(self, times: int = 1, setting_id: str | None = None, **course: Any) -> Plan:
        """Say how the next builds will go; `course` are fields of `Plan`."""
        plan = plan_from(self.world.plans.default, **course)
        with self.world.lock:
            self.world.plans.book(plan, times, setting_id)
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
        """Queue a build that nobody triggered over the API, and return its id."""
        project = self.world.project_with(setting_id)
        setting, author = project.settings[setting_id], triggered_by or "push"
        order = life.Order(project, setting, author, branch, commit, changelist, message)
        return life.queue(self.world, order).id

    def build(self, build_id: str) -> dict[str, Any]:
        """Return a build as the API gives it, without its log."""
        with self.world.lock:
            at = self.world.now()
            return build_plain(Variants(), self.world.builds[build_id], at)

    def builds(self) -> list[dict[str, Any]]:
        """Return all builds, the oldest first."""
        with self.world.lock:
            at = self.world.now()
            return [build_plain(Variants(), build, at) for build in self.world.builds.values()]

    def set_status(self, build_id: str, status: str, *, emit: bool = True) -> None:
        """Change a status by hand; the build then no longer follows its plan."""
        life.set_status(self.world, self.world.builds[build_id], status, emit=emit)

    def log(
        self, build_id: str, message: str, level: str | None = None, *, emit: bool = True
    ) -> None:
        """Add a line to the log of a build."""
        life.log(self.world, self.world.builds[build_id], message, level, emit=emit)

    def remove_artifact(self, build_id: str) -> None:
        """Remove the artifact of a build, as retention does."""
        self.world.builds[build_id].artifact_removed = True

    def set_minutes(self, minutes: float | None) -> None:
        """Set the build minutes left in the month; None means any number."""
        self._seeds.member.organization.minutes_left = minutes

    def set_accessible(self, project: str, *, accessible: bool) -> None:
        """Take the repository or depot of a project away, or give it back."""
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
        """Order trouble; names and parameters are in `faults.KINDS`."""
        fault = self._faults.add(name, route, times, seconds, after, **params)
        if name == "sockets-dropped":
            self.drop_sockets()
        return fault

    def heal(self) -> None:
        """Put an end to all trouble."""
        self._faults.heal()

    def heal_one(self, number: int) -> None:
        """Put an end to one fault, by its number."""
        self._faults.find(number).remove()

    @property
    def requests(self) -> list[Request]:
        """Return all requests so far, those to the live channel and the artifacts included."""
        return self._records.all()

    def requests_to(self, route: str) -> list[Request]:
        """Return the requests to one route."""
        return [request for request in self.requests if request.route == route]

    def forget_requests(self) -> None:
        """Forget the requests so far, to look at those of the next step only."""
        self._records.forget()

    @property
    def sockets(self) -> int:
        """Count the Socket.IO connections."""
        return len(self._running.server.sockets)

    def joined(self, build_id: str) -> int:
        """Count the connections that follow a build."""
        return self._running.server.sockets.joined(build_id)

    def drop_sockets(self) -> None:
        """Cut all Socket.IO connections."""
        self._running.run(self._running.server.gateway.drop)

    def kick_sockets(self) -> None:
        """Disconnect the namespace of all Socket.IO connections, as a deploy would."""
        self._running.call(self._running.server.sockets.kick())

    def webhook(self, url: str, secret: str, events: list[str] | None = None) -> None:
        """Register a webhook, for some types of event or for all."""
        self._running.server.courier.webhooks.append(Webhook(url, secret, tuple(events or ())))

    @property
    def deliveries(self) -> list[Delivery]:
        """Return all attempts to deliver webhooks so far."""
        return list(self._running.server.courier.deliveries)

    def issue_token(self, role: str = "member", seconds: float | None = None) -> str:
        """Return a new token, good for ever or for so many sandbox seconds."""
        with self.world.lock:
            organization = self._seeds.member.organization
            return self.world.issue_token(organization, role, seconds).secret

    def revoke(self, token: str) -> None:
        """Revoke a token."""
        owner = self.world.tokens[token]
        owner.revoked = True
        if self.world.variants.revoked_sockets == "disconnected":
            self._running.call(self._running.server.sockets.kick(owner))

    def now(self) -> float:
        """Return the sandbox's time, in seconds since the epoch."""
        return self.world.now()

    def advance(self, seconds: float) -> None:
        """Put the clock forward; what was due by then has happened when this returns."""
        with self.world.lock:
            self.world.clock.advance(seconds)
            self.world.now()
