"""PostgreSQL, Redis and HAProxy, as Debian packages them: on loopback, with data of their own."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_buildpixel.sandbox.demo.home import LOOPBACK, free_ports
from airflow_provider_buildpixel.sandbox.demo.processes import Component, stop

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PACKAGES = "postgresql redis-server haproxy"
UNPRIVILEGED = "postgres"
"""Who runs PostgreSQL where we are root, which it refuses to be run by."""

BALANCER = """\
defaults
    mode tcp
    retries 5
    option redispatch
    timeout connect 2s
    timeout client 5m
    timeout server 5m
    timeout check 2s
frontend airflow
    bind {host}:{port}
    default_backend servers
backend servers
    balance leastconn
    option httpchk GET /api/v2/version
    default-server check inter 1s fall 2 rise 1 on-marked-down shutdown-sessions
{servers}
"""


class NotInstalled(Exception):
    """A program of the cluster is not on this machine."""


def program(name: str) -> str:
    """Find a program, also where Debian keeps those of PostgreSQL.

    :raises NotInstalled: it is not there.
    """
    places = [os.environ.get("PATH", os.defpath), "/usr/sbin"]
    places += map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True))
    found = shutil.which(name, path=os.pathsep.join(places))
    if found is None:
        raise NotInstalled(f"{name} is missing: apt-get install {PACKAGES}")
    return found


@dataclass(frozen=True)
class Services:
    """What Airflow's processes share.

    :param path: a folder of ours.
    :param password: of the database and of the broker.
    :param servers: the ports of Airflow's API servers.
    """

    path: Path
    password: str
    servers: Sequence[int]
    ports: list[int] = field(default_factory=lambda: free_ports(3))

    @property
    def database(self) -> str:
        """Where PostgreSQL is, as ``user:password@host:port/database``."""
        return f"airflow:{self.password}@{LOOPBACK}:{self.ports[0]}/postgres"

    @property
    def broker(self) -> str:
        """Where Redis is."""
        return f"redis://:{self.password}@{LOOPBACK}:{self.ports[1]}/0"

    @property
    def url(self) -> str:
        """Where the API servers are, behind the balancer."""
        return f"http://{LOOPBACK}:{self.ports[2]}"

    def components(self) -> list[Component]:
        """Give the processes, ready to be started."""
        return [self._postgres(), self._redis(), self._haproxy()]

    def furnish(self) -> None:
        """Create their data.

        :raises NotInstalled: a program is missing.
        """
        folder, secret = self.path / "postgres", self.path / "postgres-password"
        folder.mkdir(mode=0o700)
        _private(secret, self.password)
        if os.geteuid() == 0:
            user = pwd.getpwnam(UNPRIVILEGED)
            for path in (folder, secret):
                os.chown(path, user.pw_uid, user.pw_gid)
        initdb = (program("initdb"), "-D", str(folder), "-U", "airflow", "-E", "UTF8")
        subprocess.run(
            (*_lowered(), *initdb, "-A", "scram-sha-256", f"--pwfile={secret}", "--no-sync"),
            check=True,
            capture_output=True,
            cwd=self.path,
        )
        _private(self.path / "redis.conf", self._redis_settings())
        _private(self.path / "haproxy.cfg", self._balancer())

    def _postgres(self) -> Component:
        settings: Mapping[str, object] = {
            "listen_addresses": LOOPBACK,
            "port": self.ports[0],
            "unix_socket_directories": "",
            "max_connections": 400,
            "shared_buffers": "256MB",
            "fsync": "off",  # it is not PostgreSQL that is killed
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command = (program("postgres"), "-D", str(self.path / "postgres"), *options)
        return self._component("postgres", (*_lowered(), *command))

    def _redis(self) -> Component:
        return self._component("redis", (program("redis-server"), str(self.path / "redis.conf")))

    def _redis_settings(self) -> str:
        return (
            f"bind {LOOPBACK}\nport {self.ports[1]}\nrequirepass {self.password}\n"
            f'dir {self.path}\nsave ""\nappendonly no\n'
        )

    def _haproxy(self) -> Component:
        return self._component(
            "haproxy", (program("haproxy"), "-db", "-f", str(self.path / "haproxy.cfg"))
        )

    def _balancer(self) -> str:
        servers = "\n".join(f"    server api-{port} {LOOPBACK}:{port}" for port in self.servers)
        return BALANCER.format(host=LOOPBACK, port=self.ports[2], servers=servers)

    def _component(self, name: str, command: tuple[str, ...]) -> Component:
        return Component(name, command, os.environ, self.path / f"{name}.log")


def _private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def _lowered() -> tuple[str, ...]:
    """Give the words before a command of PostgreSQL, which nobody may run as root."""
    if os.geteuid() != 0:
        return ()
    return (
        program("setpriv"),
        f"--reuid={UNPRIVILEGED}",
        f"--regid={UNPRIVILEGED}",
        "--init-groups",
    )


__all__ = ["NotInstalled", "Services", "stop"]
